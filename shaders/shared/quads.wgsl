// How many neighbouring elements of a map a kernel reads or writes at once: four, for maps whose planes are whole numbers of fours. With
// singles.wgsl in its place the same kernel does other maps.

alias Few = vec4<f32>;

const WIDTH = 4u;

fn sum_of(few: Few) -> f32 {
    return (few.x + few.y) + (few.z + few.w);
}

