// dx, dgamma and dbeta from the parts' sums; see src/ops/batch_norm.rs. Every workgroup adds up the parts of its channel
// itself, in the same order.

override TRAINING: u32;
override RELU: u32; // x is what a ReLU made, and dx the gradient before it

@group(0) @binding(0) var<storage, read> dy: array<Few>;
@group(0) @binding(1) var<storage, read> x: array<Few>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<Few>;
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>;

var<workgroup> sums: array<vec3<f32>, 64>;

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
    let mine = (channel * PARTS + min(lane, PARTS - 1u)) * 3u;
    sums[lane] = select(vec3(0.0), vec3(parts[mine], parts[mine + 1u], parts[mine + 2u]), lane < PARTS);
    workgroupBarrier();
    for (var width = 32u; width > 0u; width >>= 1u) {
        if (lane < width) {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    let sum = sums[0].x;
    var product = sums[0].y;
    if (TRAINING == 1u) {
        // The differences from the mean add up to zero, but for its rounding: take that out again.
        product -= sum * (sums[0].z / elements());
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
        shift = sum / elements();
        slope = product * inverse / elements();
    }
    let scale = gamma[channel] * inverse;
    for (var e = block * BLOCK + lane; e < min((block + 1u) * BLOCK, count()); e += 64u) {
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
