// Sums or maxima, one workgroup for each result and slice of the elements it is made of; see src/ops/reduce.rs. Invocation l
// takes elements l, l + 64, ... of the slice, and the 64 results are combined as a tree: the order is fixed.

var<workgroup> lanes: array<f32, 64>;

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
