// For each channel and each part of its elements: the sums of dy, of dy (x - mean) and of x - mean; see src/ops/batch_norm.rs.

@group(0) @binding(0) var<storage, read> dy: array<Vector>;
@group(0) @binding(1) var<storage, read> x: array<Vector>;
@group(0) @binding(2) var<storage, read> saved: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

alias Sum = vec3<f32>;

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
    let mean = saved[channel];

    var sum = Vector(0.0);
    var product = Vector(0.0);
    var rest = Vector(0.0);
    for (var e = first + lane; e < end; e += 64u) {
        let at = place(channel, e);
        let difference = x[at] - mean;
        sum += dy[at];
        product += dy[at] * difference;
        rest += difference;
    }
    let all = total(lane, vec3(sum_of(sum), sum_of(product), sum_of(rest)));
    if (lane == 0u) {
        parts[number * 3u] = all.x;
        parts[number * 3u + 1u] = all.y;
        parts[number * 3u + 2u] = all.z;
    }
}
