// Sums of squares of stretches of CHUNK elements, one per workgroup, added in a fixed order; see src/ops/adam.rs.

override LEN: u32;
override CHUNK: u32;
override PARTIALS: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;

alias Sum = f32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= PARTIALS) {
        return;
    }
    let end = min((number + 1u) * CHUNK, LEN);
    var sum = 0.0;
    for (var i = number * CHUNK + lane; i < end; i += 64u) {
        sum += x[i] * x[i];
    }
    let all = total(lane, sum);
    if (lane == 0u) {
        partials[number] = all;
    }
}
