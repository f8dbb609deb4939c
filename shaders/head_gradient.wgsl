// The gradients of head.wgsl with respect to x, w and b; see src/fusion/head.rs. One invocation for each plane of x, each
// weight and each bias; what they need of the scores' gradient they work out themselves.

override N: u32; // items
override C: u32; // channels
override PLANE: u32; // pixels of a channel
override K: u32; // classes
override SMOOTHING: f32;

@group(0) @binding(0) var<storage, read> dloss: array<f32>;
@group(0) @binding(1) var<storage, read> log_probabilities: array<f32>;
@group(0) @binding(2) var<storage, read> classes: array<u32>;
@group(0) @binding(3) var<storage, read> pooled: array<f32>;
@group(0) @binding(4) var<storage, read> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> dw: array<f32>;
@group(0) @binding(7) var<storage, read_write> db: array<f32>;

// The gradient of the loss with respect to a score.
fn score_gradient(item: u32, k: u32) -> f32 {
    let spread = SMOOTHING / f32(K);
    let goal = select(spread, 1.0 - SMOOTHING + spread, classes[item] == k);
    return dloss[0] / f32(N) * (exp(log_probabilities[item * K + k]) - goal);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if (i < N * C) {
        var sum = 0.0;
        for (var k = 0u; k < K; k++) {
            sum += score_gradient(i / C, k) * w[k * C + i % C];
        }
        for (var p = 0u; p < PLANE; p++) {
            dx[i * PLANE + p] = sum / f32(PLANE);
        }
    } else if (i < N * C + K * C) {
        let at = i - N * C;
        var sum = 0.0;
        for (var item = 0u; item < N; item++) {
            sum += score_gradient(item, at / C) * pooled[item * C + at % C];
        }
        dw[at] = sum;
    } else if (i < N * C + K * C + K) {
        let k = i - N * C - K * C;
        var sum = 0.0;
        for (var item = 0u; item < N; item++) {
            sum += score_gradient(item, k);
        }
        db[k] = sum;
    }
}
