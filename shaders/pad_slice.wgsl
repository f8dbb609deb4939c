// y[i] = x[(START + i STEP) / SPREAD] along each axis where that is a whole number below LEN0..LEN5, else the fill; see
// src/ops/pad_slice.rs. D0..D5 are the output's extents, FILL the bits of what stands where nothing is read.

override LEN: u32;
override FILL: u32;
override D0: u32; override D1: u32; override D2: u32; override D3: u32; override D4: u32; override D5: u32;
override START0: i32; override START1: i32; override START2: i32;
override START3: i32; override START4: i32; override START5: i32;
override STEP0: i32; override STEP1: i32; override STEP2: i32; override STEP3: i32; override STEP4: i32; override STEP5: i32;
override SPREAD0: i32; override SPREAD1: i32; override SPREAD2: i32;
override SPREAD3: i32; override SPREAD4: i32; override SPREAD5: i32;
override LEN0: i32; override LEN1: i32; override LEN2: i32; override LEN3: i32; override LEN4: i32; override LEN5: i32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

fn of_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

// The place along an axis, times the distance of its elements; negative where there is none, which no later axis changes.
fn place(before: i32, i: u32, start: i32, step: i32, spread: i32, len: i32, stride: i32) -> i32 {
    let at = start + i32(i) * step;
    if (before < 0 || at < 0 || at % spread != 0 || at / spread >= len) {
        return -1;
    }
    return before + at / spread * stride;
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
            var rest = i;
            var stride = 1;
            var at = place(0, rest % D5, START5, STEP5, SPREAD5, LEN5, stride);
            rest /= D5;
            stride *= LEN5;
            at = place(at, rest % D4, START4, STEP4, SPREAD4, LEN4, stride);
            rest /= D4;
            stride *= LEN4;
            at = place(at, rest % D3, START3, STEP3, SPREAD3, LEN3, stride);
            rest /= D3;
            stride *= LEN3;
            at = place(at, rest % D2, START2, STEP2, SPREAD2, LEN2, stride);
            rest /= D2;
            stride *= LEN2;
            at = place(at, rest % D1, START1, STEP1, SPREAD1, LEN1, stride);
            rest /= D1;
            stride *= LEN1;
            at = place(at, rest % D0, START0, STEP0, SPREAD0, LEN0, stride);
            var value = of_bits(FILL);
            if (at >= 0) {
                value = x[at];
            }
            y[i] = value;
        }
    }
}
