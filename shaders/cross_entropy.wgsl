// Log-probabilities and losses, one item per invocation, and the sum of a workgroup's losses times FACTOR; see
// src/ops/cross_entropy.rs.

override N: u32;
override C: u32;
override SMOOTHING: f32;
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> classes: array<u32>;
@group(0) @binding(2) var<storage, read_write> log_probabilities: array<f32>;
@group(0) @binding(3) var<storage, read_write> items: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

alias Sum = f32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let item = number * 64u + lane;
    var loss = 0.0;
    if (item < N) {
        let start = item * C;
        var greatest = x[start];
        for (var k = 1u; k < C; k++) {
            greatest = max(greatest, x[start + k]);
        }
        var sum = 0.0;
        for (var k = 0u; k < C; k++) {
            sum += exp(x[start + k] - greatest);
        }
        // The sum is at least 1, that of the greatest score.
        let logarithm = log(sum);
        let label = classes[item];
        var spread = 0.0;
        for (var k = 0u; k < C; k++) {
            let lp = x[start + k] - greatest - logarithm;
            log_probabilities[start + k] = lp;
            spread += lp;
            loss -= select(0.0, (1.0 - SMOOTHING) * lp, k == label);
        }
        if (SMOOTHING > 0.0) {
            loss -= SMOOTHING / f32(C) * spread;
        }
        items[item] = loss;
    }
    let all = total(lane, loss);
    if (lane == 0u && number * 64u < N) {
        sums[number] = all * FACTOR;
    }
}
