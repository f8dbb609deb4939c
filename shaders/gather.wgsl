// y[o, k, i] = x[o, index, i], or 0 where the index is SKIP; see src/ops/gather.rs. y is [.., COUNT, INNER] and x [.., LEN, INNER];
// there is an index for EACH element, or one for each k.

override ELEMENTS: u32;
override LEN: u32;
override INNER: u32;
override COUNT: u32;
override EACH: u32;
override SKIP: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var n = 0u; n < 4u; n++) {
        let at = first + n * 64u;
        if (at < ELEMENTS) {
            let index = indices[select(at / INNER % COUNT, at, EACH == 1u)];
            var value = 0.0;
            if (index != SKIP) {
                value = x[(at / (COUNT * INNER) * LEN + index) * INNER + at % INNER];
            }
            y[at] = value;
        }
    }
}
