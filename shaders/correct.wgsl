// How many items have their greatest score (the first of equal ones) at their label, in one workgroup; see
// src/ops/cross_entropy.rs. Comparisons with NaN are false, so an item with one is not counted.

override N: u32;
override C: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> classes: array<u32>;
@group(0) @binding(2) var<storage, read_write> count: array<f32>;

alias Sum = u32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var right = 0u;
    for (var item = lane; item < N; item += 64u) {
        let start = item * C;
        let label = classes[item];
        let score = x[start + label];
        var beaten = 0u;
        for (var k = 0u; k < C; k++) {
            let other = x[start + k];
            beaten += select(0u, 1u, other < score || (other == score && k >= label));
        }
        right += select(0u, 1u, beaten == C);
    }
    let all = total(lane, right);
    if (lane == 0u) {
        count[0] = f32(all);
    }
}
