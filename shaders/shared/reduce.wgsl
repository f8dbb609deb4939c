// What the kernels of sums and maxima share; see src/ops/reduce.rs. K are the extents of the axes that stay and KS their strides in x, G
// and GS those of the axes that go.

override MAXIMUM: u32;
override COUNT: u32;
override SLICES: u32;
override SLICE: u32;
override LENGTH: u32;
override FACTOR: f32;
override K0: u32; override K1: u32; override K2: u32; override KS0: u32; override KS1: u32; override KS2: u32;
override G0: u32; override G1: u32; override G2: u32; override GS0: u32; override GS1: u32; override GS2: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

// A NaN stays.
fn combine(a: f32, b: f32) -> f32 {
    if (MAXIMUM == 1u) {
        return select(b, a, a >= b || is_nan(a));
    }
    return a + b;
}

// Where in x the elements of result `o` begin.
fn start(o: u32) -> u32 {
    return (o % K2) * KS2 + (o / K2 % K1) * KS1 + (o / (K2 * K1) % K0) * KS0;
}

// How far from there element `i` lies.
fn place(i: u32) -> u32 {
    return (i % G2) * GS2 + (i / G2 % G1) * GS1 + (i / (G2 * G1) % G0) * GS0;
}

