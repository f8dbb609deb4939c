// One step of gradient descent with momentum over flat buffers of parameters p and velocities v, in place; see src/ops/sgd.rs.

override LEN: u32;
override NESTEROV: u32;

@group(0) @binding(0) var<storage, read> gradient: array<f32>;
// Learning rate, momentum, weight decay.
@group(0) @binding(1) var<storage, read> step: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i < LEN) {
            let g = gradient[i] + step[2] * p[i];
            let velocity = step[1] * v[i] + g;
            v[i] = velocity;
            p[i] = p[i] - step[0] * select(velocity, g + step[1] * velocity, NESTEROV == 1u);
        }
    }
}
