// y = max(10 log10(max(x, FLOOR)), top - TOP_DB), top from the item's partial maxima; see src/ops/decibels.rs. A NaN, which
// max() would hide, comes through.

override TOTAL: u32;
override LEN: u32;
override PARTIALS: u32;
override FLOOR: f32;
override TOP_DB: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

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
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i >= TOTAL) {
            return;
        }
        let start = (i / LEN) * PARTIALS;
        var top = partial[start];
        for (var p = 1u; p < PARTIALS; p++) {
            let v = partial[start + p];
            top = select(max(top, v), top, is_nan(top));
            top = select(top, v, is_nan(v));
        }
        let lowest = decibels(top) - TOP_DB;
        let db = decibels(x[i]);
        y[i] = select(select(max(db, lowest), db, is_nan(db)), lowest, is_nan(lowest));
    }
}
