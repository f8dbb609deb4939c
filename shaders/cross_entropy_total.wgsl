// The sum of the workgroups' sums times FACTOR, in one workgroup; see src/ops/cross_entropy.rs.

override LEN: u32;
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;

var<workgroup> lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < LEN; i += 64u) {
        sum += sums[i];
    }
    lanes[lane] = sum;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (lane < width) {
            lanes[lane] += lanes[lane + width];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        loss[0] = lanes[0] * FACTOR;
    }
}
