// The gradients of batch norm by one workgroup a channel, for channels of few elements; see src/ops/batch_norm.rs.

override TRAINING: u32;
override RELU: u32; // x is what a ReLU made, and dx the gradient before it

@group(0) @binding(0) var<storage, read> dy: array<Few>;
@group(0) @binding(1) var<storage, read> x: array<Few>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<Few>;
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
    var sum = Few(0.0);
    var product = Few(0.0);
    var rest = Few(0.0);
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        let difference = x[at] - mean;
        sum += dy[at];
        product += dy[at] * difference;
        rest += difference;
    }
    sums[lane] = vec3(sum_of(sum), sum_of(product), sum_of(rest));
    workgroupBarrier();
    for (var width = 128u; width > 0u; width >>= 1u) {
        if (lane < width) {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    let all = sums[0];
    var along = all.y;
    if (TRAINING == 1u) {
        // The differences from the mean add up to zero, but for its rounding: take that out again.
        along -= all.x * (all.z / elements());
    }
    along *= inverse;
    if (lane == 0u) {
        dgamma[channel] = along;
        dbeta[channel] = all.x;
    }
    var shift = 0.0;
    var slope = 0.0;
    if (TRAINING == 1u) {
        shift = all.x / elements();
        slope = along * inverse / elements();
    }
    let scale = gamma[channel] * inverse;
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        var d = scale * dy[at];
        if (TRAINING == 1u) {
            d = scale * (dy[at] - shift - (x[at] - mean) * slope);
        }
        if (RELU == 1u) {
            d = select(d, Few(0.0), x[at] <= Few(0.0));
        }
        dx[at] = d;
    }
}
