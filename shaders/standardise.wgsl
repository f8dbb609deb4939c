// y = (x - mean) / (sd + EPS), 0 where sd + EPS is 0, from the moments of the chunks of the item, or (BATCH) of all items; see
// src/ops/standardise.rs.

override BATCH: u32;
override EPS: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> moments: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> onward: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= ITEMS * CHUNKS) {
        return;
    }
    let part = chunk(number);
    let whole = select(1u, ITEMS, BATCH == 1u);
    let start = select(part.item * CHUNKS, 0u, BATCH == 1u);
    let end = start + whole * CHUNKS;
    var sum = 0.0;
    for (var c = start + lane; c < end; c += 64u) {
        sum += moments[2u * c] * f32(chunk(c).count);
    }
    let mean = across(SUM, lane, sum) / f32(whole * LEN);
    var squares = 0.0;
    for (var c = start + lane; c < end; c += 64u) {
        let d = moments[2u * c] - mean;
        squares += moments[2u * c + 1u] + d * d * f32(chunk(c).count);
    }
    let sd = sqrt(across(SUM, lane, squares) / f32(whole * LEN - 1u)) + EPS;
    let scale = select(1.0 / sd, 0.0, sd == 0.0);
    for (var k = lane; k < part.count; k += 64u) {
        let i = part.first + k;
        y[i] = (x[i] - mean) * scale;
    }
    if (HANDS_ON != NOTHING) {
        hand_on(number, lane);
    }
}
