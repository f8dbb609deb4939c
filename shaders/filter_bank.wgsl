// y[row, band, frame] = sum over the band's bins of weight * x[row, frame, bin]; see src/ops/filter_bank.rs.

override TOTAL: u32;
override BINS: u32;
override BANDS: u32;
override FRAMES: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> first_bin: array<u32>;
@group(0) @binding(2) var<storage, read> offset: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i >= TOTAL) {
            return;
        }
        let frame = i % FRAMES;
        let band = (i / FRAMES) % BANDS;
        let row = i / (FRAMES * BANDS);
        let begin = offset[band];
        let base = (row * FRAMES + frame) * BINS + first_bin[band];
        var sum = 0.0;
        for (var w = begin; w < offset[band + 1u]; w++) {
            sum += weight[w] * x[base + w - begin];
        }
        y[i] = sum;
    }
}
