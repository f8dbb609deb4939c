// Mean over each plane, linear layer, log-softmax and cross-entropy, for PER items a workgroup; see src/ops/head.rs. The
// stages hand over through storage, which only this workgroup touches at these items.

override N: u32; // items
override C: u32; // channels
override PLANE: u32; // pixels of a channel
override K: u32; // classes
override PER: u32;
override SMOOTHING: f32;
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> classes: array<u32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
@group(0) @binding(5) var<storage, read_write> log_probabilities: array<f32>;
@group(0) @binding(6) var<storage, read_write> pooled: array<f32>;
@group(0) @binding(7) var<storage, read_write> scores: array<f32>;

var<workgroup> losses: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let first = number * PER;
    if (first >= N) {
        return;
    }
    let count = min(PER, N - first);
    for (var i = first * C + lane; i < (first + count) * C; i += 256u) {
        var sum = 0.0;
        for (var p = 0u; p < PLANE; p++) {
            sum += x[i * PLANE + p];
        }
        pooled[i] = sum / f32(PLANE);
    }
    storageBarrier();
    for (var i = first * K + lane; i < (first + count) * K; i += 256u) {
        let item = i / K;
        let k = i % K;
        var sum = 0.0;
        for (var c = 0u; c < C; c++) {
            sum += pooled[item * C + c] * w[k * C + c];
        }
        scores[i] = sum + b[k];
    }
    storageBarrier();
    var total = 0.0;
    for (var item = first + lane; item < first + count; item += 256u) {
        let start = item * K;
        var greatest = scores[start];
        for (var k = 1u; k < K; k++) {
            greatest = max(greatest, scores[start + k]);
        }
        var sum = 0.0;
        for (var k = 0u; k < K; k++) {
            sum += exp(scores[start + k] - greatest);
        }
        // The sum is at least 1, that of the greatest score.
        let logarithm = log(sum);
        let label = classes[item];
        var spread = 0.0;
        var loss = 0.0;
        for (var k = 0u; k < K; k++) {
            let lp = scores[start + k] - greatest - logarithm;
            log_probabilities[start + k] = lp;
            spread += lp;
            loss -= select(0.0, (1.0 - SMOOTHING) * lp, k == label);
        }
        if (SMOOTHING > 0.0) {
            loss -= SMOOTHING / f32(K) * spread;
        }
        total += loss;
    }
    losses[lane] = total;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if (lane < width) {
            losses[lane] += losses[lane + width];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        sums[number] = losses[0] * FACTOR;
    }
}
