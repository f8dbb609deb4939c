// How both kernels of batch norm's gradient turn a channel's sums into dx, dgamma and dbeta; see src/ops/batch_norm.rs.

override TRAINING: u32;
override RELU: u32; // x is what a ReLU made, and dx the gradient before it

// The channel's sums of dy, of dy (x - mean) and of x - mean. Writes dgamma and dbeta if `leads`, and dx from `first` to `end`, `step` apart.
fn write_gradients(channel: u32, all: vec3<f32>, leads: bool, first: u32, end: u32, step: u32) {
    let mean = saved[channel];
    let inverse = saved[CHANNELS + channel];
    var product = all.y;
    if (TRAINING == 1u) {
        // The differences from the mean add up to zero, but for its rounding: take that out again.
        product -= all.x * (all.z / elements());
    }
    product *= inverse;
    if (leads) {
        dgamma[channel] = product;
        dbeta[channel] = all.x;
    }
    var shift = 0.0;
    var slope = 0.0;
    if (TRAINING == 1u) {
        shift = all.x / elements();
        slope = product * inverse / elements();
    }
    let scale = gamma[channel] * inverse;
    for (var e = first; e < end; e += step) {
        let at = place(channel, e);
        var d = scale * dy[at];
        if (TRAINING == 1u) {
            d = scale * (dy[at] - shift - (x[at] - mean) * slope);
        }
        if (RELU == 1u) {
            d = select(d, Vector(0.0), x[at] <= Vector(0.0));
        }
        dx[at] = d;
    }
}

