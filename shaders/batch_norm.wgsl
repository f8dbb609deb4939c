// Normalises with the batch's statistics and moves the running ones; see src/ops/batch_norm.rs. Every workgroup combines
// the parts of its channel itself, in the same order: mean and sum of squares of a union (Chan, Golub and LeVeque, 1979).

override MOMENTUM: f32;
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(7) var<storage, read_write> running_var: array<f32>;

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

    // The parts' means are nearly equal: adding up what they differ by rounds less than adding up the means.
    let first = parts[channel * PARTS * 2u];
    var rest = 0.0;
    for (var p = 1u; p < PARTS; p++) {
        let size = part_start(p + 1u) - part_start(p);
        rest += (parts[(channel * PARTS + p) * 2u] - first) * (f32(size) / f32(count()));
    }
    let mean = first + rest;
    var squares = 0.0;
    for (var p = 0u; p < PARTS; p++) {
        let size = part_start(p + 1u) - part_start(p);
        let d = parts[(channel * PARTS + p) * 2u] - mean;
        squares += parts[(channel * PARTS + p) * 2u + 1u] + f32(size) * d * d;
    }
    let variance = squares / f32(count());
    let inverse = 1.0 / sqrt(variance + EPSILON);
    if (block == 0u && lane == 0u) {
        saved[channel] = mean;
        saved[CHANNELS + channel] = inverse;
        running_mean[channel] = running_mean[channel] * (1.0 - MOMENTUM) + mean * MOMENTUM;
        let unbiased = squares / f32(count() - 1u);
        running_var[channel] = running_var[channel] * (1.0 - MOMENTUM) + unbiased * MOMENTUM;
    }
    let scale = inverse * gamma[channel];
    let shift = beta[channel];
    for (var k = 0u; k < 16u; k++) {
        let e = block * BLOCK + k * 64u + lane;
        if (e < count()) {
            let at = place(channel, e);
            y[at] = (x[at] - mean) * scale + shift;
        }
    }
}
