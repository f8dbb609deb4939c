// y[n, c] = 1 where c is the index of n, else 0; see src/ops/gather.rs.

override ELEMENTS: u32;
override CLASSES: u32;

@group(0) @binding(0) var<storage, read> indices: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i < ELEMENTS) {
            y[i] = select(0.0, 1.0, indices[i / CLASSES] == i % CLASSES);
        }
    }
}
