// Batch norm in training by one workgroup a channel, for channels of few elements; see src/ops/batch_norm.rs. The channel
// is read twice for its mean and its squares, as in batch_norm_statistics.wgsl, and once more to normalise it.

override MOMENTUM: f32;
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<Vector>;
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Vector>;
@group(0) @binding(4) var<storage, read_write> saved: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> running_var: array<f32>;

alias Sum = vec2<f32>;

const LANES = 256u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = group.y * groups.x + group.x;
    if (channel >= CHANNELS) {
        return;
    }
    var sum = Vector(0.0);
    for (var e = lane; e < count(); e += 256u) {
        sum += x[place(channel, e)];
    }
    let first = total(lane, vec2(sum_of(sum), 0.0)).x / elements();
    var distances = Vector(0.0);
    var their_squares = Vector(0.0);
    for (var e = lane; e < count(); e += 256u) {
        let d = x[place(channel, e)] - first;
        distances += d;
        their_squares += d * d;
    }
    let all = total(lane, vec2(sum_of(distances), sum_of(their_squares)));
    let rest = all.x / elements();
    let mean = first + rest;
    // Squares beyond f32 leave an infinite variance, not a NaN.
    let squares = select(all.y, all.y - rest * all.x, all.y < 3e38);
    let inverse = 1.0 / sqrt(squares / elements() + EPSILON);
    if (lane == 0u) {
        saved[channel] = mean;
        saved[CHANNELS + channel] = inverse;
        running_mean[channel] = running_mean[channel] * (1.0 - MOMENTUM) + mean * MOMENTUM;
        let unbiased = squares / (elements() - 1.0);
        running_var[channel] = running_var[channel] * (1.0 - MOMENTUM) + unbiased * MOMENTUM;
    }
    let scale = inverse * gamma[channel];
    let shift = beta[channel];
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        y[at] = (x[at] - mean) * scale + shift;
    }
}
