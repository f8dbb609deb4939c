// onward[i] = sum, maximum, minimum or moments (HANDS_ON) of the i-th chunk of y; see src/ops/items.rs.

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read_write> onward: array<f32>;

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
    hand_on(number, lane);
}
