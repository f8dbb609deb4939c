// moments[2 i], moments[2 i + 1] = mean and sum of squared distances from it of the i-th 4096 elements of a group; see
// src/ops/standardise.rs.

override GROUPS: u32;
override LEN: u32;
override CHUNKS: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> moments: array<f32>;

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
    if (number >= GROUPS * CHUNKS) {
        return;
    }
    let first = (number % CHUNKS) * 4096u;
    let count = min(4096u, LEN - first);
    let base = (number / CHUNKS) * LEN + first;
    var sum = 0.0;
    for (var i = lane; i < count; i += 64u) {
        sum += x[base + i];
    }
    let mean = total(lane, sum) / f32(count);
    var squares = 0.0;
    for (var i = lane; i < count; i += 64u) {
        let d = x[base + i] - mean;
        squares += d * d;
    }
    let spread = total(lane, squares);
    if (lane == 0u) {
        moments[2u * number] = mean;
        moments[2u * number + 1u] = spread;
    }
}
