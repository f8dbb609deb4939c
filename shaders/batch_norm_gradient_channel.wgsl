// The gradients of batch norm by one workgroup a channel, for channels of few elements; see src/ops/batch_norm.rs.

override TRAINING: u32;
override RELU: u32; // x is what a ReLU made, and dx the gradient before it

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(6) var<storage, read_write> dbeta: array<f32>;

var<workgroup> sums: array<vec3<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = group.y * groups.x + group.x;
    if (channel >= CHANNELS) {
        return;
    }
    let mean = saved[channel];
    let inverse = saved[CHANNELS + channel];
    var sum = vec3(0.0, 0.0, 0.0);
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        let difference = x[at] - mean;
        sum += vec3(dy[at], dy[at] * difference, difference);
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width >>= 1u) {
        if (lane < width) {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    let all = sums[0];
    var product = all.y;
    if (TRAINING == 1u) {
        // The differences from the mean add up to zero, but for its rounding: take that out again.
        product -= all.x * (all.z / f32(count()));
    }
    product *= inverse;
    if (lane == 0u) {
        dgamma[channel] = product;
        dbeta[channel] = all.x;
    }
    var shift = 0.0;
    var slope = 0.0;
    if (TRAINING == 1u) {
        shift = all.x / f32(count());
        slope = product * inverse / f32(count());
    }
    let scale = gamma[channel] * inverse;
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        var d = scale * dy[at];
        if (TRAINING == 1u) {
            d = scale * (dy[at] - shift - (x[at] - mean) * slope);
        }
        dx[at] = select(d, 0.0, RELU == 1u && x[at] <= 0.0);
    }
}
