// Sums or maxima, one workgroup for each result and slice of the elements it is made of; see src/ops/reduce.rs.
// K are the extents of the axes that stay and KS their strides in x, G and GS those of the axes that go. Invocation l
// takes elements l, l + 64, ... of the slice, and the 64 results are combined as a tree: the order is fixed.

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

var<workgroup> lanes: array<f32, 64>;

fn combine(a: f32, b: f32) -> f32 {
    if (MAXIMUM == 1u) {
        let a_is_nan = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
        return select(b, a, a >= b || a_is_nan);
    }
    return a + b;
}

fn start(o: u32) -> u32 {
    return (o % K2) * KS2 + (o / K2 % K1) * KS1 + (o / (K2 * K1) % K0) * KS0;
}

fn place(i: u32) -> u32 {
    return (i % G2) * GS2 + (i / G2 % G1) * GS1 + (i / (G2 * G1) % G0) * GS0;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = group.y * groups.x + group.x;
    if (task >= COUNT * SLICES) {
        return;
    }
    let base = start(task % COUNT);
    let first = (task / COUNT) * SLICE;
    let last = min(first + SLICE, LENGTH);
    // A maximum may take an element twice; a sum starts at 0.
    var total = select(0.0, x[base + place(first)], MAXIMUM == 1u);
    for (var i = first + lane; i < last; i += 64u) {
        total = combine(total, x[base + place(i)]);
    }
    lanes[lane] = total;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (lane < width) {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        y[task] = lanes[0] * FACTOR;
    }
}
