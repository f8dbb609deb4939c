// Convolution and its gradient with respect to the input, as one matrix product per group whose right factor is read
// straight from the map ("implicit GEMM"); see src/ops/conv2d/gpu.rs.
//
//   result[n, m, i, j] = bias[m] + sum over c, u, v of source[n, c, row, column] * w[m, c, u, v],
//   row = a * MUL_H + start + q * STEP_H,  i = residue + a * CLASSES_H,  u = first + q * TAP_STEP_H,  likewise columns.
//
// Forward there is one class. In the gradient of a strided convolution the pixels of the result fall into
// CLASSES_H x CLASSES_W classes, each of which meets every TAP_STEP-th tap only; each class is a product of its own, so
// that no invocation multiplies by the zeros between the strides. A workgroup makes a tile of THREAD_ROWS * 4 (or 8)
// channels by (64 / THREAD_ROWS) * 4 (or 8) pixels of one class, of one group.

override ITEMS: u32;
override GROUPS: u32;
override ROWS: u32; // result channels of a group
override CHANNELS: u32; // source channels of a group
override SOURCE_H: u32;
override SOURCE_W: u32;
override RESULT_H: u32;
override RESULT_W: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override CLASSES_H: u32;
override CLASSES_W: u32;
override TAP_STEP_H: u32;
override TAP_STEP_W: u32;
override MUL_H: i32;
override MUL_W: i32;
override STEP_H: i32;
override STEP_W: i32;
override OFFSET_H: i32; // start = (residue + OFFSET - first * DILATION) / CLASSES
override OFFSET_W: i32;
override DILATION_H: i32;
override DILATION_W: i32;
override W_ROW: u32; // distance between the weights of neighbouring result channels
override W_CHANNEL: u32; // and of neighbouring source channels
override MASKED: bool; // there are at most 32 taps, so that a word has a bit for each
override BIAS: bool;
override RELU: bool;

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

// The first tap that meets pixels of this residue class, or `taps` where none does.
fn first_tap(residue: u32, offset: i32, dilation: i32, classes: u32, tap_step: u32, taps: u32) -> u32 {
    for (var u = 0u; u < tap_step; u++) {
        if ((i32(residue) + offset - i32(u) * dilation) % i32(classes) == 0) {
            return min(u, taps);
        }
    }
    return taps;
}

// A residue class of a group's results.
struct Place {
    group: u32,
    residue: vec2<u32>,
    pixels: vec2<u32>, // rows and columns of the result's map that are in the class
    count: u32, // their number, over all items
    reciprocals: vec2<f32>, // of the pixels of an item, and of a row
}

// Item, row and column within the class of result pixel `q`.
fn locate(pick: Place, q: u32) -> vec3<u32> {
    let area = pick.pixels.x * pick.pixels.y;
    let item = divide(q, area, pick.reciprocals.x);
    let rest = q - item * area;
    let row = divide(rest, pick.pixels.y, pick.reciprocals.y);
    return vec3(item, row, rest - row * pick.pixels.y);
}

// The taps of a class.
struct Taps {
    columns: u32, // in a row of the kernel
    count: u32,
    reciprocals: vec2<f32>, // of the count and of the columns
}

// A term of the sums: how far it reads behind a pixel's first tap, its channel, and the number, row and column of its tap.
struct Term {
    place: i32,
    channel: u32,
    tap: u32,
    row: u32,
    column: u32,
}

fn term_at(taps: Taps, k: u32) -> Term {
    let c = divide(k, taps.count, taps.reciprocals.x);
    let tap = k - c * taps.count;
    let u = divide(tap, taps.columns, taps.reciprocals.y);
    let v = tap - u * taps.columns;
    let place = i32(c * SOURCE_H * SOURCE_W) + i32(u) * STEP_H * i32(SOURCE_W) + i32(v) * STEP_W;
    return Term(place, c, tap, u, v);
}

// Where four pixels of the result meet the map that is read: row, column and index of the first tap (the index may be negative in the
// padding), and, with MASKED, a bit for each tap that is not in the padding.
struct Pixels {
    rows: vec4<i32>,
    columns: vec4<i32>,
    places: vec4<i32>,
    inside: vec4<u32>,
}

// The four pixels of a class from number `first` on; `start` is row and column of the first tap of pixel 0.
fn pixels_at(pick: Place, taps: Taps, first: u32, start: vec2<i32>) -> Pixels {
    var pixels: Pixels;
    for (var e = 0u; e < 4u; e++) {
        let pixel = locate(pick, first + e);
        let row = i32(pixel.y) * MUL_H + start.x;
        let column = i32(pixel.z) * MUL_W + start.y;
        let maps = (pixel.x * GROUPS + pick.group) * CHANNELS * SOURCE_H * SOURCE_W;
        // Pixels beyond the last one lie far outside the map, so that all their taps are zero.
        pixels.rows[e] = select(-1073741824, row, first + e < pick.count);
        pixels.columns[e] = column;
        pixels.places[e] = i32(maps) + row * i32(SOURCE_W) + column;
        if (MASKED) {
            var across = 0u;
            for (var v = 0u; v < taps.columns; v++) {
                across |= select(0u, 1u << v, u32(column + i32(v) * STEP_W) < SOURCE_W);
            }
            for (var u = 0u; u * taps.columns < taps.count; u++) {
                let inside = u32(pixels.rows[e] + i32(u) * STEP_H) < SOURCE_H;
                pixels.inside[e] |= select(0u, across << (u * taps.columns), inside);
            }
        }
    }
    return pixels;
}

// What four pixels read for a term; 0 in the padding and where there is no such term.
fn four_at(pixels: Pixels, term: Term, valid: bool) -> vec4<f32> {
    var inside = (pixels.inside & vec4(select(0u, 1u << (term.tap % 32u), valid))) != vec4(0u);
    if (!MASKED) {
        let row = pixels.rows + vec4(i32(term.row) * STEP_H);
        let column = pixels.columns + vec4(i32(term.column) * STEP_W);
        inside = (vec4<u32>(row) < vec4(SOURCE_H)) & (vec4<u32>(column) < vec4(SOURCE_W)) & vec4(valid);
    }
    let place = select(vec4(0u), vec4<u32>(pixels.places + vec4(term.place)), inside);
    let loaded = vec4(source[place.x], source[place.y], source[place.z], source[place.w]);
    return select(vec4(0.0), loaded, inside);
}

fn finish(sum: f32, channel: u32) -> f32 {
    var v = sum;
    if (BIAS) {
        v += bias[channel];
    }
    if (RELU) {
        v = select(max(v, 0.0), v, is_nan(v));
    }
    return v;
}

fn store(pick: Place, block: mat4x4<f32>, row: u32, column: u32) {
    let area = RESULT_H * RESULT_W;
    for (var e = 0u; e < 4u; e++) {
        if (column + e < pick.count) {
            let at = locate(pick, column + e);
            let i = pick.residue.x + at.y * CLASSES_H;
            let j = pick.residue.y + at.z * CLASSES_W;
            let first = (at.x * GROUPS + pick.group) * ROWS * area + i * RESULT_W + j;
            let sums = vec4(block[0][e], block[1][e], block[2][e], block[3][e]);
            for (var d = 0u; d < 4u; d++) {
                if (row + d < ROWS) {
                    result[first + (row + d) * area] = finish(sums[d], pick.group * ROWS + row + d);
                }
            }
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    if (number >= WORKGROUPS) {
        return;
    }
    let at = corner(number);
    let group = at.product / (CLASSES_H * CLASSES_W);
    var pick: Place;
    pick.group = group;
    pick.residue = vec2(at.product / CLASSES_W % CLASSES_H, at.product % CLASSES_W);
    pick.pixels = vec2(
        (RESULT_H + CLASSES_H - 1u - pick.residue.x) / CLASSES_H,
        (RESULT_W + CLASSES_W - 1u - pick.residue.y) / CLASSES_W,
    );
    pick.count = ITEMS * pick.pixels.x * pick.pixels.y;
    pick.reciprocals = 1.0 / vec2(f32(max(pick.pixels.x * pick.pixels.y, 1u)), f32(max(pick.pixels.y, 1u)));

    let row_quads = row_quads();
    let column_quads = column_quads();
    if (at.column >= pick.count) {
        return;
    }

    let first_u = first_tap(pick.residue.x, OFFSET_H, DILATION_H, CLASSES_H, TAP_STEP_H, KERNEL_H);
    let first_v = first_tap(pick.residue.y, OFFSET_W, DILATION_W, CLASSES_W, TAP_STEP_W, KERNEL_W);
    var taps: Taps;
    taps.columns = (KERNEL_W - first_v + TAP_STEP_W - 1u) / TAP_STEP_W;
    taps.count = (KERNEL_H - first_u + TAP_STEP_H - 1u) / TAP_STEP_H * taps.columns;
    taps.reciprocals = 1.0 / vec2(f32(max(taps.count, 1u)), f32(max(taps.columns, 1u)));
    let start = vec2(
        (i32(pick.residue.x) + OFFSET_H - i32(first_u) * DILATION_H) / i32(CLASSES_H),
        (i32(pick.residue.y) + OFFSET_W - i32(first_v) * DILATION_W) / i32(CLASSES_W),
    );
    let terms = CHANNELS * taps.count;

    // The pixels that this invocation reads in every round: four, or, where it reads its own, all of its columns.
    let my_quad = lane % select(column_quads, thread_columns(), OWN_COLUMNS);
    let pixels = pixels_at(pick, taps, at.column + my_quad * 4u, start);
    var more: Pixels;
    if (OWN_COLUMNS && WIDE_COLUMNS) {
        more = pixels_at(pick, taps, at.column + (thread_columns() + my_quad) * 4u, start);
    }

    var tile = Tile();

    for (var first = 0u; first < terms; first += DEPTH) {
        if (stages(lane)) {
            let k = first + lane % DEPTH;
            let term = term_at(taps, k);
            let index = group * ROWS * CHANNELS * KERNEL_H * KERNEL_W + term.channel * W_CHANNEL
                + (first_u + term.row * TAP_STEP_H) * KERNEL_W + first_v + term.column * TAP_STEP_W;
            for (var quad = lane / DEPTH; quad < row_quads; quad += 64u / DEPTH) {
                let row = at.row + quad * 4u;
                let inside = (vec4(row) + vec4(0u, 1u, 2u, 3u) < vec4(ROWS)) & vec4(k < terms);
                let place = select(vec4(0u), vec4(index + row * W_ROW) + vec4(0u, 1u, 2u, 3u) * W_ROW, inside);
                let loaded = vec4(weights[place.x], weights[place.y], weights[place.z], weights[place.w]);
                left[(lane % DEPTH) * row_quads + quad] = select(vec4(0.0), loaded, inside);
            }
        }
        if (OWN_COLUMNS) {
            workgroupBarrier();
            for (var d = 0u; d < DEPTH; d++) {
                let term = term_at(taps, first + d);
                var b1 = vec4(0.0);
                if (WIDE_COLUMNS) {
                    b1 = four_at(more, term, first + d < terms);
                }
                add_term(&tile, lane, d, four_at(pixels, term, first + d < terms), b1);
            }
            workgroupBarrier();
        } else {
            for (var d = lane / column_quads; d < DEPTH; d += 64u / column_quads) {
                right[d * column_quads + my_quad] = four_at(pixels, term_at(taps, first + d), first + d < terms);
            }
            add_staged(&tile, lane);
        }
        close_round(&tile);
    }

    store_tile(pick, &tile, at, lane);
}
