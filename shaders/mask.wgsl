// Cells in a masked band or frame take FILL, or (PARTIALS > 0) the mean of their item; see src/ops/mask.rs.

override BANDS: u32;
override FRAMES: u32;
override FREQUENCY_MASKS: u32;
override TIME_MASKS: u32;
override PARTIALS: u32;
override FILL: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> frequency: array<u32>;
@group(0) @binding(2) var<storage, read> time: array<u32>;
@group(0) @binding(3) var<storage, read> partial: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> onward: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= ITEMS * CHUNKS) {
        return;
    }
    let part = chunk(number);
    var fill = FILL;
    if (PARTIALS > 0u) {
        var sum = 0.0;
        for (var p = lane; p < PARTIALS; p += 64u) {
            sum += partial[part.item * PARTIALS + p];
        }
        fill = across(SUM, lane, sum) / f32(LEN);
    }
    for (var k = lane; k < part.count; k += 64u) {
        let i = part.first + k;
        let frame = i % FRAMES;
        let band = (i / FRAMES) % BANDS;
        // start <= place < start + width, in one comparison of unsigned numbers.
        var masked = false;
        for (var m = 0u; m < FREQUENCY_MASKS; m++) {
            let at = 2u * (part.item * FREQUENCY_MASKS + m);
            masked = masked || band - frequency[at] < frequency[at + 1u];
        }
        for (var m = 0u; m < TIME_MASKS; m++) {
            let at = 2u * (part.item * TIME_MASKS + m);
            masked = masked || frame - time[at] < time[at + 1u];
        }
        y[i] = select(x[i], fill, masked);
    }
    if (HANDS_ON != NOTHING) {
        hand_on(number, lane);
    }
}
