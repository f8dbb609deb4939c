// partial[item * PARTIALS + p] = sum (KIND 0), maximum (1) or minimum (2) of the p-th 4096 elements of an item; see
// src/ops/items.rs. A NaN among the elements comes through.

override ITEMS: u32;
override LEN: u32;
override PARTIALS: u32;
override KIND: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;

var<workgroup> shared_values: array<f32, 64>;

fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

fn join(a: f32, b: f32) -> f32 {
    if (KIND == 0u) {
        return a + b;
    }
    let better = select((b < a), (b > a), KIND == 1u);
    return select(a, b, (better || is_nan(b)) && !is_nan(a));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let item = number / PARTIALS;
    let first = (number % PARTIALS) * 4096u;
    if (item >= ITEMS) {
        return;
    }
    // Every lane of a chunk has a first element or takes the chunk's: repeating an element changes no maximum.
    let base = item * LEN;
    var value = select(x[base + min(first + lane, LEN - 1u)], 0.0, KIND == 0u && first + lane >= LEN);
    for (var k = 1u; k < 64u; k++) {
        let i = first + lane + k * 64u;
        if (i < LEN) {
            value = join(value, x[base + i]);
        }
    }
    shared_values[lane] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            shared_values[lane] = join(shared_values[lane], shared_values[lane + half]);
        }
    }
    if (lane == 0u) {
        partial[number] = shared_values[0];
    }
}
