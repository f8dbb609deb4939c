// Adds the partial results of conv2d_weight_gradient.wgsl in the order of their numbers; the last column of each row is
// the bias's gradient where there is a bias. See src/ops/conv2d/gpu.rs.

override LEN: u32; // elements of one partial result
override COLUMNS: u32; // of a partial result
override WEIGHTS: u32; // columns of dw
override PARTIALS: u32;

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> dw: array<f32>;
@group(0) @binding(2) var<storage, read_write> db: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if (i >= LEN) {
        return;
    }
    var sum = 0.0;
    for (var s = 0u; s < PARTIALS; s++) {
        sum += partials[s * LEN + i];
    }
    let row = i / COLUMNS;
    let column = i % COLUMNS;
    if (column < WEIGHTS) {
        dw[row * WEIGHTS + column] = sum;
    } else {
        db[row] = sum;
    }
}
