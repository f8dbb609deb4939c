// dx, dgamma and dbeta from the parts' sums; see src/ops/batch_norm.rs. Every workgroup adds up the parts of its channel
// itself, in the same order.

override TRAINING: u32;
override RELU: u32; // x is what a ReLU made, and dx the gradient before it

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= CHANNELS * blocks()) {
        return;
    }
    let channel = number / blocks();
    let block = number % blocks();
    var sum = 0.0;
    var product = 0.0;
    var rest = 0.0;
    for (var p = 0u; p < PARTS; p++) {
        sum += parts[(channel * PARTS + p) * 3u];
        product += parts[(channel * PARTS + p) * 3u + 1u];
        rest += parts[(channel * PARTS + p) * 3u + 2u];
    }
    if (TRAINING == 1u) {
        // The differences from the mean add up to zero, but for its rounding: take that out again.
        product -= sum * (rest / f32(count()));
    }
    let mean = saved[channel];
    let inverse = saved[CHANNELS + channel];
    product *= inverse;
    if (block == 0u && lane == 0u) {
        dgamma[channel] = product;
        dbeta[channel] = sum;
    }
    var shift = 0.0;
    var slope = 0.0;
    if (TRAINING == 1u) {
        shift = sum / f32(count());
        slope = product * inverse / f32(count());
    }
    let scale = gamma[channel] * inverse;
    for (var k = 0u; k < 16u; k++) {
        let e = block * BLOCK + k * 64u + lane;
        if (e < count()) {
            let at = place(channel, e);
            var d = scale * dy[at];
            if (TRAINING == 1u) {
                d = scale * (dy[at] - shift - (x[at] - mean) * slope);
            }
            dx[at] = select(d, 0.0, RELU == 1u && x[at] <= 0.0);
        }
    }
}
