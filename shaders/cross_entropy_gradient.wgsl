// dx = dloss / N * (exp(lp) - target); see src/ops/cross_entropy.rs.

override N: u32;
override C: u32;
override SMOOTHING: f32;

@group(0) @binding(0) var<storage, read> dloss: array<f32>;
@group(0) @binding(1) var<storage, read> log_probabilities: array<f32>;
@group(0) @binding(2) var<storage, read> classes: array<u32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    let factor = dloss[0] / f32(N);
    let spread = SMOOTHING / f32(C);
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i < N * C) {
            let is_class = classes[i / C] == i % C;
            let goal = select(spread, 1.0 - SMOOTHING + spread, is_class);
            dx[i] = factor * (exp(log_probabilities[i]) - goal);
        }
    }
}
