// The sum over a workgroup's LANES invocations, which are a power of two; the kernel says how many there are, and what a Sum is.

var<workgroup> lane_sums: array<Sum, LANES>;

// The sum of every invocation's value, for all of them.
fn total(lane: u32, value: Sum) -> Sum {
    workgroupBarrier();
    lane_sums[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if (lane < width) {
            lane_sums[lane] += lane_sums[lane + width];
        }
        workgroupBarrier();
    }
    return lane_sums[0];
}

