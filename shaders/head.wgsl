// Mean over each plane, linear layer, log-softmax and cross-entropy, for PER items a workgroup; see src/fusion/head.rs. The
// stages hand over through storage, which only this workgroup touches at these items.

override N: u32; // items
override C: u32; // channels
override PLANE: u32; // pixels of a channel
override K: u32; // classes
override PER: u32;
override SMOOTHING: f32;
override FACTOR: f32;

// Rows are read four numbers at a time: naga checks the bounds of every access, and of single numbers that costs more than their sum.
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> classes: array<u32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
@group(0) @binding(5) var<storage, read_write> log_probabilities: array<f32>;
@group(0) @binding(6) var<storage, read_write> pooled: array<f32>;
@group(0) @binding(7) var<storage, read_write> scores: array<f32>;

var<workgroup> partial: array<f32, 256>;
// Of each item: the greatest score, and the logarithm of the sum of exp(score - greatest).
var<workgroup> norms: array<vec2<f32>, PER>;

// How many quads a row of this length touches at most.
fn quads_of(length: u32) -> u32 {
    return length / 4u + select(2u, 0u, length % 4u == 0u);
}

// The quad without what lies outside of row `row`, of this length.
fn of_row(value: vec4<f32>, quad: u32, row: u32, length: u32) -> vec4<f32> {
    if (length % 4u == 0u) {
        return value;
    }
    let at = vec4(quad * 4u) + vec4(0u, 1u, 2u, 3u);
    return select(vec4(0.0), value, (at >= vec4(row * length)) & (at < vec4((row + 1u) * length)));
}

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
        var sums = vec4(0.0);
        for (var q = 0u; q < quads_of(PLANE); q++) {
            let quad = i * PLANE / 4u + q;
            sums += of_row(x[quad], quad, i, PLANE);
        }
        pooled[i] = (sums.x + sums.y + sums.z + sums.w) / f32(PLANE);
    }
    storageBarrier();
    // Eight invocations share a score.
    for (var i = 0u; i < count * K; i += 32u) {
        let score = i + lane / 8u;
        if (score < count * K) {
            let item = first + score / K;
            let k = score % K;
            var sums = vec4(0.0);
            for (var q = lane % 8u; q < quads_of(C); q += 8u) {
                let quad = k * C / 4u + q;
                let c = quad * 4u + item * C - k * C;
                let means = vec4(pooled[c], pooled[c + 1u], pooled[c + 2u], pooled[c + 3u]);
                sums += of_row(means * w[quad], quad, k, C);
            }
            partial[lane] = sums.x + sums.y + sums.z + sums.w;
        }
        workgroupBarrier();
        if (lane < 32u && i + lane < count * K) {
            var sum = 0.0;
            for (var part = 0u; part < 8u; part++) {
                sum += partial[lane * 8u + part];
            }
            scores[first * K + i + lane] = sum + b[(i + lane) % K];
        }
        workgroupBarrier();
    }
    storageBarrier();
    for (var item = lane; item < count; item += 256u) {
        let start = (first + item) * K;
        var greatest = scores[start];
        for (var k = 1u; k < K; k++) {
            greatest = max(greatest, scores[start + k]);
        }
        var sum = 0.0;
        for (var k = 0u; k < K; k++) {
            sum += exp(scores[start + k] - greatest);
        }
        // The sum is at least 1, that of the greatest score.
        norms[item] = vec2(greatest, log(sum));
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = first * K + lane; i < (first + count) * K; i += 256u) {
        let item = i / K;
        let norm = norms[item - first];
        let lp = scores[i] - norm.x - norm.y;
        log_probabilities[i] = lp;
        total -= select(0.0, (1.0 - SMOOTHING) * lp, i - item * K == classes[item]);
        if (SMOOTHING > 0.0) {
            total -= SMOOTHING / f32(K) * lp;
        }
    }
    partial[lane] = total;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if (lane < width) {
            partial[lane] += partial[lane + width];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        sums[number] = partial[0] * FACTOR;
    }
}
