// Normalises with the batch's statistics and moves the running ones; see src/ops/batch_norm.rs. Every workgroup combines
// the parts of its channel itself, in the same order: mean and sum of squares of a union (Chan, Golub and LeVeque, 1979).

override MOMENTUM: f32;
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<Vector>;
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<Vector>;
@group(0) @binding(5) var<storage, read_write> saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(7) var<storage, read_write> running_var: array<f32>;

alias Sum = f32;

const LANES = 64u;

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
    let mine = (channel * PARTS + min(lane, PARTS - 1u)) * 2u;
    let part = vec2(parts[mine], parts[mine + 1u]);
    let size = f32((part_start(lane + 1u) - part_start(lane)) * WIDTH);
    let mean = first + total(lane, select(0.0, (part.x - first) * (size / elements()), lane < PARTS));
    let d = part.x - mean;
    let squares = total(lane, select(0.0, part.y + size * d * d, lane < PARTS));
    let variance = squares / elements();
    let inverse = 1.0 / sqrt(variance + EPSILON);
    if (block == 0u && lane == 0u) {
        saved[channel] = mean;
        saved[CHANNELS + channel] = inverse;
        running_mean[channel] = running_mean[channel] * (1.0 - MOMENTUM) + mean * MOMENTUM;
        let unbiased = squares / (elements() - 1.0);
        running_var[channel] = running_var[channel] * (1.0 - MOMENTUM) + unbiased * MOMENTUM;
    }
    let scale = inverse * gamma[channel];
    let shift = beta[channel];
    for (var e = block * BLOCK + lane; e < min((block + 1u) * BLOCK, count()); e += 64u) {
        let at = place(channel, e);
        y[at] = (x[at] - mean) * scale + shift;
    }
}
