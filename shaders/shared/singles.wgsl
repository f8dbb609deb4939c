// What quads.wgsl is for four elements at once, for one.

alias Vector = f32;

const WIDTH = 1u;

fn sum_of(vector: Vector) -> f32 {
    return vector;
}

