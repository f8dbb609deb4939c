// How many neighbouring elements of a map a kernel reads or writes at once: four, for maps whose planes are whole numbers of fours. With
// singles.wgsl in its place the same kernel does other maps.

alias Vector = vec4<f32>;

const WIDTH = 4u;

fn sum_of(vector: Vector) -> f32 {
    return (vector.x + vector.y) + (vector.z + vector.w);
}

