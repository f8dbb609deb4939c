// What quads.wgsl is for four elements at once, for one.

alias Few = f32;

const WIDTH = 1u;

fn sum_of(few: Few) -> f32 {
    return few;
}

