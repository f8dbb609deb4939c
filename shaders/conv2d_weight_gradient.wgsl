// The gradient of a convolution with respect to its weights and bias, as one matrix product per group:
//
//   dw[o, (c, u, v)] = sum over n, i, j of dy[n, o, i, j] * x[n, c, i * sh + u * dh - ph, j * sw + v * dw - pw],
//
// and, as one more column where x is taken for 1, db[o]; see src/ops/conv2d/gpu.rs. The sum over items and pixels is
// cut into stretches of CHUNK terms; each makes a partial result [GROUPS * ROWS, COLUMNS] of its own, and
// conv2d_weight_gradient_sum.wgsl adds them in a fixed order. Where there is one stretch only (DIRECT), the results are
// written to dw and db right away.

override ITEMS: u32;
override GROUPS: u32;
override ROWS: u32; // output channels of a group
override CHANNELS: u32; // input channels of a group
override INPUT_H: u32;
override INPUT_W: u32;
override OUTPUT_H: u32;
override OUTPUT_W: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override PADDING_H: i32;
override PADDING_W: i32;
override DILATION_H: u32;
override DILATION_W: u32;
override COLUMNS: u32; // CHANNELS * KERNEL_H * KERNEL_W, and one more for the bias
override CHUNK: u32;
override DIRECT: bool;
override TAPS_LEN: u32; // columns of the tile

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>; // DIRECT: dw
@group(0) @binding(3) var<storage, read_write> db: array<f32>;

// For each of the tile's columns its tap: the distance in x from where a term begins, in elements, rows and columns, and the bits of the
// value outside the map. The bias's column is outside everywhere, with the value 1, and so are columns beyond the last one, with 0.
var<workgroup> taps: array<vec4<i32>, TAPS_LEN>;

// A term of the sums: an output pixel of an item.
struct Term {
    valid: bool,
    dy: u32, // where dy has it, in the first of the group's rows
    x: i32, // where x has the first tap, but for the padding
    row: i32,
    column: i32,
}

fn term_at(r: u32, end: u32, group: u32) -> Term {
    let area = OUTPUT_H * OUTPUT_W;
    let item = divide(r, area, 1.0 / f32(area));
    let pixel = r - item * area;
    let i = divide(pixel, OUTPUT_W, 1.0 / f32(OUTPUT_W));
    let maps = item * GROUPS + group;
    let row = i32(i * STRIDE_H);
    let column = i32((pixel - i * OUTPUT_W) * STRIDE_W);
    let x = i32(maps * CHANNELS * INPUT_H * INPUT_W) + row * i32(INPUT_W) + column;
    return Term(r < end, maps * ROWS * area + pixel, x, row, column);
}

// What a column reads for a term. Beyond the last term dy is taken for 0, so what is read there need only be finite.
fn value_at(tap: vec4<i32>, term: Term) -> f32 {
    let row = u32(term.row + tap.y);
    let column = u32(term.column + tap.z);
    let inside = row < select(0u, INPUT_H, term.valid) && column < INPUT_W;
    let loaded = x[select(0u, u32(term.x + tap.x), inside)];
    return select(bitcast<f32>(tap.w), loaded, inside);
}

fn four_taps(quad: u32) -> array<vec4<i32>, 4> {
    return array(taps[quad * 4u], taps[quad * 4u + 1u], taps[quad * 4u + 2u], taps[quad * 4u + 3u]);
}

fn four_at(four: array<vec4<i32>, 4>, term: Term) -> vec4<f32> {
    return vec4(value_at(four[0], term), value_at(four[1], term), value_at(four[2], term), value_at(four[3], term));
}

struct Place {
    partial: u32,
}

fn store(place: Place, block: mat4x4<f32>, row: u32, column: u32) {
    let weights = CHANNELS * KERNEL_H * KERNEL_W;
    let width = select(COLUMNS, weights, DIRECT);
    for (var d = 0u; d < 4u; d++) {
        for (var e = 0u; e < 4u; e++) {
            if (row + d < ROWS && column + e < width) {
                partials[(place.partial * ROWS + row + d) * width + column + e] = block[d][e];
            } else if (DIRECT && row + d < ROWS && column + e < COLUMNS) {
                db[place.partial * ROWS + row + d] = block[d][e];
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
    let group = at.product % GROUPS;
    let split = at.product / GROUPS;
    let row_quads = row_quads();
    let column_quads = column_quads();

    for (var i = lane; i < column_quads * 4u; i += 64u) {
        let column = at.column + i;
        let c = column / (KERNEL_H * KERNEL_W);
        let tap = column % (KERNEL_H * KERNEL_W);
        let row = select(-1073741824, i32(tap / KERNEL_W * DILATION_H) - PADDING_H, c < CHANNELS);
        let across = i32(tap % KERNEL_W * DILATION_W) - PADDING_W;
        let distance = i32(c * INPUT_H * INPUT_W) + row * i32(INPUT_W) + across;
        taps[i] = vec4(distance, row, across, bitcast<i32>(select(0.0, 1.0, column == CHANNELS * KERNEL_H * KERNEL_W)));
    }
    workgroupBarrier();

    let area = OUTPUT_H * OUTPUT_W;
    let end = min((split + 1u) * CHUNK, ITEMS * area);
    var tile = Tile();

    // The taps of the columns that an invocation reads itself.
    var own0: array<vec4<i32>, 4>;
    var own1: array<vec4<i32>, 4>;
    if (OWN_COLUMNS) {
        own0 = four_taps(thread_column(lane));
        if (WIDE_COLUMNS) {
            own1 = four_taps(thread_columns() + thread_column(lane));
        }
    }

    for (var first = split * CHUNK; first < end; first += DEPTH) {
        if (stages(lane)) {
            let d = lane % DEPTH;
            let term = term_at(first + d, end, group);
            for (var quad = lane / DEPTH; quad < row_quads; quad += 64u / DEPTH) {
                let row = at.row + quad * 4u;
                let inside = (vec4(row) + vec4(0u, 1u, 2u, 3u) < vec4(ROWS)) & vec4(term.valid);
                let place = select(vec4(0u), vec4(term.dy + row * area) + vec4(0u, 1u, 2u, 3u) * area, inside);
                let loaded = vec4(dy[place.x], dy[place.y], dy[place.z], dy[place.w]);
                left[d * row_quads + quad] = select(vec4(0.0), loaded, inside);
            }
            if (!OWN_COLUMNS) {
                for (var quad = lane / DEPTH; quad < column_quads; quad += 64u / DEPTH) {
                    right[d * column_quads + quad] = four_at(four_taps(quad), term);
                }
            }
        }
        if (OWN_COLUMNS) {
            workgroupBarrier();
            for (var d = split_of(lane); d < DEPTH; d += SPLITS) {
                let term = term_at(first + d, end, group);
                var b1 = vec4(0.0);
                if (WIDE_COLUMNS) {
                    b1 = four_at(own1, term);
                }
                add_term(&tile, lane, d, four_at(own0, term), b1);
            }
            workgroupBarrier();
        } else {
            add_staged(&tile, lane);
        }
        close_round(&tile);
    }

    store_tile(Place((split * SPLITS + split_of(lane)) * GROUPS + group), &tile, at, lane);
}
