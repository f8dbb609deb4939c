// y[i] = x[place of i]; see src/ops/rearrange.rs. D0..D5 are the output's extents with axes merged where the input allows
// it, A0..A5 the input's strides along them, 0 where it repeats.

override LEN: u32;
override D0: u32; override D1: u32; override D2: u32; override D3: u32; override D4: u32; override D5: u32;
override A0: u32; override A1: u32; override A2: u32; override A3: u32; override A4: u32; override A5: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
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
        if (i < LEN) {
            var rest = i;
            var at = (rest % D5) * A5;
            rest /= D5;
            at += (rest % D4) * A4;
            rest /= D4;
            at += (rest % D3) * A3;
            rest /= D3;
            at += (rest % D2) * A2;
            rest /= D2;
            at += (rest % D1) * A1;
            rest /= D1;
            y[i] = x[at + (rest % D0) * A0];
        }
    }
}
