// What the kernels on items of spectrograms share; see src/ops/items.rs. A workgroup of 64 lanes goes through one chunk of an
// item, 16 elements a lane, and may hand a reduction of what it made on to the next kernel: of `y` to `onward`.

override ITEMS: u32;
override LEN: u32;
override CHUNKS: u32;
override HANDS_ON: u32;

const CHUNK = 1024u;
const SUM = 0u;
const MAX = 1u;
const MIN = 2u;
const MOMENTS = 3u;
const NOTHING = 4u;

var<workgroup> slots: array<f32, 64>;

// A NaN stays.
fn join(kind: u32, a: f32, b: f32) -> f32 {
    if (kind == SUM || kind == MOMENTS) {
        return a + b;
    }
    let better = select((b < a), (b > a), kind == MAX);
    return select(a, b, (better || is_nan(b)) && !is_nan(a));
}

// The values of all lanes joined, for every lane.
fn across(kind: u32, lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    slots[lane] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            slots[lane] = join(kind, slots[lane], slots[lane + half]);
        }
    }
    workgroupBarrier();
    return slots[0];
}

struct Chunk {
    item: u32,
    // The first element, counted over all items, and how many there are.
    first: u32,
    count: u32,
}

fn chunk(number: u32) -> Chunk {
    let item = number / CHUNKS;
    let first = (number % CHUNKS) * CHUNK;
    return Chunk(item, item * LEN + first, min(CHUNK, LEN - first));
}

// Each lane reads only what it wrote itself.
fn hand_on(number: u32, lane: u32) {
    let part = chunk(number);
    // A lane without an element repeats another's, which changes no extreme, or adds 0.
    let adds = HANDS_ON == SUM || HANDS_ON == MOMENTS;
    var value = select(y[part.first + lane % part.count], 0.0, adds && lane >= part.count);
    for (var i = lane + 64u; i < part.count; i += 64u) {
        value = join(HANDS_ON, value, y[part.first + i]);
    }
    let all = across(HANDS_ON, lane, value);
    if (HANDS_ON != MOMENTS) {
        if (lane == 0u) {
            onward[number] = all;
        }
        return;
    }
    let mean = all / f32(part.count);
    var squares = 0.0;
    for (var i = lane; i < part.count; i += 64u) {
        let d = y[part.first + i] - mean;
        squares += d * d;
    }
    let spread = across(MOMENTS, lane, squares);
    if (lane == 0u) {
        onward[2u * number] = mean;
        onward[2u * number + 1u] = spread;
    }
}
