// y = (x - mean) / (sd + EPS), 0 where sd + EPS is 0, from the moments of the group's chunks; see src/ops/standardise.rs.

override GROUPS: u32;
override LEN: u32;
override CHUNKS: u32;
override PIECES: u32;
override EPS: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> moments: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 64>;

fn total(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    sums[lane] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            sums[lane] += sums[lane + half];
        }
    }
    workgroupBarrier();
    return sums[0];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= GROUPS * PIECES) {
        return;
    }
    let member = number / PIECES;
    var sum = 0.0;
    for (var c = lane; c < CHUNKS; c += 64u) {
        let count = f32(min(4096u, LEN - c * 4096u));
        sum += moments[2u * (member * CHUNKS + c)] * count;
    }
    let mean = total(lane, sum) / f32(LEN);
    var squares = 0.0;
    for (var c = lane; c < CHUNKS; c += 64u) {
        let count = f32(min(4096u, LEN - c * 4096u));
        let at = 2u * (member * CHUNKS + c);
        let d = moments[at] - mean;
        squares += moments[at + 1u] + d * d * count;
    }
    let sd = sqrt(total(lane, squares) / f32(LEN - 1u)) + EPS;
    let scale = select(1.0 / sd, 0.0, sd == 0.0);
    let first = (number % PIECES) * 1024u;
    let base = member * LEN;
    let last = min(first + 1024u, LEN);
    for (var i = first + lane; i < last; i += 64u) {
        y[base + i] = (x[base + i] - mean) * scale;
    }
}
