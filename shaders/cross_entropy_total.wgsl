// The sum of the workgroups' sums times FACTOR, in one workgroup; see src/ops/cross_entropy.rs.

override LEN: u32;
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;

alias Sum = f32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < LEN; i += 64u) {
        sum += sums[i];
    }
    let all = total(lane, sum);
    if (lane == 0u) {
        loss[0] = all * FACTOR;
    }
}
