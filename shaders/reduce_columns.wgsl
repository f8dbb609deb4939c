// Sums or maxima, one invocation for each result and slice of the elements it is made of; see src/ops/reduce.rs.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = (group.y * groups.x + group.x) * 64u + lane;
    if (task < COUNT * SLICES) {
        let base = start(task % COUNT);
        let first = (task / COUNT) * SLICE;
        let last = min(first + SLICE, LENGTH);
        var total = x[base + place(first)];
        for (var i = first + 1u; i < last; i++) {
            total = combine(total, x[base + place(i)]);
        }
        y[task] = total * FACTOR;
    }
}
