// c = a op b with broadcasting; see src/ops/elementwise.rs. D0..D5 are the output's extents with axes merged where both
// inputs allow it, A and B the strides of the inputs along them, 0 where an input repeats.

override LEN: u32;
override OP: u32;
override SAME: u32;
override D0: u32; override D1: u32; override D2: u32; override D3: u32; override D4: u32; override D5: u32;
override A0: u32; override A1: u32; override A2: u32; override A3: u32; override A4: u32; override A5: u32;
override B0: u32; override B1: u32; override B2: u32; override B3: u32; override B4: u32; override B5: u32;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

// The places in a and b of output element i.
fn places(i: u32) -> vec2<u32> {
    if (SAME == 1u) {
        return vec2<u32>(i, i);
    }
    var rest = i;
    var at = (rest % D5) * vec2<u32>(A5, B5);
    rest /= D5;
    at += (rest % D4) * vec2<u32>(A4, B4);
    rest /= D4;
    at += (rest % D3) * vec2<u32>(A3, B3);
    rest /= D3;
    at += (rest % D2) * vec2<u32>(A2, B2);
    rest /= D2;
    at += (rest % D1) * vec2<u32>(A1, B1);
    rest /= D1;
    return at + (rest % D0) * vec2<u32>(A0, B0);
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
            let at = places(i);
            let x = a[at.x];
            let y = b[at.y];
            var z = 0.0;
            switch OP {
                case 0u: { z = x + y; }
                case 1u: { z = x - y; }
                case 2u: { z = x * y; }
                case 3u: { z = x / y; }
                case 4u: { z = select(0.0, 1.0, x == y); }
                case 5u: { z = select(select(max(x, y), y, is_nan(y)), x, is_nan(x)); }
                case 6u: { z = select(select(min(x, y), y, is_nan(y)), x, is_nan(x)); }
                case 8u: { z = select(x, 0.0, y == 0.0); }
                case 9u: { z = select(x * y, 0.0, y == 0.0); }
                default: {
                    let some_nan = is_nan(x) || is_nan(y);
                    z = select(select(select(1.0, 0.0, x < y), 0.5, x == y), 1.0, some_nan);
                }
            }
            c[i] = z;
        }
    }
}
