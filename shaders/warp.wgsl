// y[n, c, b, t] = x[n, c, b - by[n, 0], t * by[n, 1]], linear in both, the item's minimum outside; see src/ops/warp.rs.

override BANDS: u32;
override FRAMES: u32;
override PARTIALS: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> by: array<f32>;
@group(0) @binding(2) var<storage, read> partial: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> onward: array<f32>;

// A place outside the axis, or NaN, becomes -2, whose neighbours are both outside.
fn inside(at: f32, axis: u32) -> f32 {
    return select(-2.0, at, at > -1.0 && at < f32(axis) && !is_nan(at));
}

fn cell(plane: u32, band: i32, frame: i32, outside: f32) -> f32 {
    if (band < 0 || band >= i32(BANDS) || frame < 0 || frame >= i32(FRAMES)) {
        return outside;
    }
    return x[(plane * BANDS + u32(band)) * FRAMES + u32(frame)];
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
    var least = partial[start + lane % PARTIALS];
    for (var p = lane + 64u; p < PARTIALS; p += 64u) {
        least = join(MIN, least, partial[start + p]);
    }
    let outside = across(MIN, lane, least);
    let shift = by[2u * part.item];
    let stretch = by[2u * part.item + 1u];
    for (var k = lane; k < part.count; k += 64u) {
        let i = part.first + k;
        let plane = i / (BANDS * FRAMES);
        let b = inside(f32((i / FRAMES) % BANDS) - shift, BANDS);
        let t = inside(f32(i % FRAMES) * stretch, FRAMES);
        let band = i32(floor(b));
        let frame = i32(floor(t));
        let after = t - floor(t);
        let l0 = cell(plane, band, frame, outside);
        let l1 = cell(plane, band, frame + 1, outside);
        let h0 = cell(plane, band + 1, frame, outside);
        let h1 = cell(plane, band + 1, frame + 1, outside);
        let low = l0 + (l1 - l0) * after;
        let high = h0 + (h1 - h0) * after;
        y[i] = low + (high - low) * (b - floor(b));
    }
    if (HANDS_ON != NOTHING) {
        hand_on(number, lane);
    }
}
