// Normalises with the running statistics; see src/ops/batch_norm.rs.

override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<Vector>;
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read> running_var: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<Vector>;
@group(0) @binding(6) var<storage, read_write> saved: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= CHANNELS * blocks()) {
        return;
    }
    let channel = number / blocks();
    let block = number % blocks();
    let mean = running_mean[channel];
    let inverse = 1.0 / sqrt(running_var[channel] + EPSILON);
    if (block == 0u && lane == 0u) {
        saved[channel] = mean;
        saved[CHANNELS + channel] = inverse;
    }
    let scale = inverse * gamma[channel];
    let shift = beta[channel];
    for (var e = block * BLOCK + lane; e < min((block + 1u) * BLOCK, count()); e += 64u) {
        let at = place(channel, e);
        y[at] = (x[at] - mean) * scale + shift;
    }
}
