// y = FACTOR * x; see src/ops/scale.rs.

override LEN: u32;
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

fn scaled(x: f32) -> f32 {
    if (FACTOR != 0.0) {
        return x * FACTOR;
    }
    // A compiler that sees the factor makes 0 of any product with it, but NaN and the infinities times 0 are NaN.
    let bits = bitcast<u32>(x);
    let finite = (bits & 0x7f800000u) != 0x7f800000u;
    return bitcast<f32>(select(bits | 0x7fc00000u, bits & 0x80000000u, finite));
}

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
            y[i] = scaled(x[i]);
        }
    }
}
