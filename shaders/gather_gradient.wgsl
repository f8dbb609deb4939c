// dx[o, r, i]: the sum of dy[o, k, i] over those k from FIRST to END whose index is r, added to what the launch before left; see
// src/ops/gather.rs and shaders/gather.wgsl.

override ELEMENTS: u32;
override LEN: u32;
override INNER: u32;
override COUNT: u32;
override EACH: u32;
override SKIP: u32;
override FIRST: u32;
override END: u32;

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if (at >= ELEMENTS) {
        return;
    }
    let row = at / INNER % LEN;
    let start = at / (LEN * INNER) * COUNT * INNER + at % INNER;
    var sum = 0.0;
    if (FIRST > 0u) {
        sum = dx[at];
    }
    if (row != SKIP) {
        for (var k = FIRST; k < END; k++) {
            let place = start + k * INNER;
            if (indices[select(k, place, EACH == 1u)] == row) {
                sum += dy[place];
            }
        }
    }
    dx[at] = sum;
}
