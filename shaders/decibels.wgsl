// y = max(10 log10(max(x, FLOOR)), top - TOP_DB), top from the item's partial maxima; see src/ops/decibels.rs. A NaN, which
// max() would hide, comes through.

override PARTIALS: u32;
override FLOOR: f32;
override TOP_DB: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> onward: array<f32>;

fn decibels(power: f32) -> f32 {
    // 10 / ln(10)
    let db = 4.3429448 * log(max(power, FLOOR));
    return select(db, power, is_nan(power));
}

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
    let start = part.item * PARTIALS;
    var greatest = partial[start + lane % PARTIALS];
    for (var p = lane + 64u; p < PARTIALS; p += 64u) {
        greatest = join(MAX, greatest, partial[start + p]);
    }
    // Nothing is cut off with 1e30, not even beside an infinite level or a NaN.
    let top = decibels(across(MAX, lane, greatest));
    let lowest = select(top - TOP_DB, -TOP_DB, TOP_DB == 1e30);
    for (var k = lane; k < part.count; k += 64u) {
        let i = part.first + k;
        let db = decibels(x[i]);
        y[i] = select(select(max(db, lowest), db, is_nan(db)), lowest, is_nan(lowest));
    }
    if (HANDS_ON != NOTHING) {
        hand_on(number, lane);
    }
}
