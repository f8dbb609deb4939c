// One step of Adam over flat buffers of parameters p and moments m, v, in place; see src/ops/adam.rs.

override LEN: u32;

@group(0) @binding(0) var<storage, read> gradient: array<f32>;
// With c = sqrt(1 - b2^t): lr c / (1 - b1^t), 1 - b1, b2, 1 - b2, eps c, 1 - lr wd.
@group(0) @binding(1) var<storage, read> step: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;

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
            let g = gradient[i];
            let mean = m[i] + step[1] * (g - m[i]);
            let square = step[2] * v[i] + step[3] * g * g;
            m[i] = mean;
            v[i] = square;
            p[i] = p[i] * step[5] - step[0] * (mean / (sqrt(square) + step[4]));
        }
    }
}
