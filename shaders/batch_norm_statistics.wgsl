// For each channel and each part of its elements: their mean, and their sum of squared distances from it; see
// src/ops/batch_norm.rs. One workgroup a part; the part is read twice, so that nothing cancels, and the second
// reading corrects the rounding error of the first.

@group(0) @binding(0) var<storage, read> x: array<Vector>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;

alias Sum = vec2<f32>;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= CHANNELS * PARTS) {
        return;
    }
    let channel = number / PARTS;
    let part = number % PARTS;
    let first = part_start(part);
    let end = part_start(part + 1u);

    var sum = Vector(0.0);
    for (var e = first + lane; e < end; e += 64u) {
        sum += x[place(channel, e)];
    }
    let size = f32(max(end - first, 1u) * WIDTH);
    let mean = total(lane, vec2(sum_of(sum), 0.0)).x / size;
    var distances = Vector(0.0);
    var their_squares = Vector(0.0);
    for (var e = first + lane; e < end; e += 64u) {
        let d = x[place(channel, e)] - mean;
        distances += d;
        their_squares += d * d;
    }
    let all = total(lane, vec2(sum_of(distances), sum_of(their_squares)));
    if (lane == 0u) {
        let rest = all.x / size;
        parts[number * 2u] = mean + rest;
        // Squares beyond f32 leave an infinite variance, not a NaN.
        parts[number * 2u + 1u] = select(all.y, all.y - rest * all.x, all.y < 3e38);
    }
}
