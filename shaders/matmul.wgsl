// Matrix products c = a b (+ bias of each column), batched, with any distances between neighbouring elements of a and b,
// so that transposed factors are read where they lie; see src/ops/gpu_tile.rs.

override ROWS: u32;
override COLUMNS: u32;
override TERMS: u32;
override A_ROW: u32; // distance between neighbouring rows of a
override A_TERM: u32; // and between neighbouring terms of the sum
override A_BATCH: u32; // and between matrices; 0 where all products share one
override B_TERM: u32;
override B_COLUMN: u32;
override B_BATCH: u32;
override BIAS: bool;

override THREAD_ROWS: u32; // 64 invocations stand in THREAD_ROWS rows
override WIDE_ROWS: bool; // each owns 8 rows of results, else 4
override WIDE_COLUMNS: bool; // and 8 columns, else 4
override DEPTH: u32; // terms of the sum that are staged at a time
override BLOCK: u32; // terms that are summed before their sum is added to the total; 0: all
override ROW_TILES: u32;
override COLUMN_TILES: u32;
override WORKGROUPS: u32;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

// The staged factors: for each term, the tile's rows (or columns) four by four.
var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 512>;

// acc + a b^T, with a down the rows of the result.
fn accumulate(acc: mat4x4<f32>, a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4(a.x), b, acc[0]),
        fma(vec4(a.y), b, acc[1]),
        fma(vec4(a.z), b, acc[2]),
        fma(vec4(a.w), b, acc[3]),
    );
}

fn store(batch: u32, block: mat4x4<f32>, row: u32, column: u32) {
    for (var d = 0u; d < 4u; d++) {
        for (var e = 0u; e < 4u; e++) {
            if (row + d < ROWS && column + e < COLUMNS) {
                var v = block[d][e];
                if (BIAS) {
                    v += bias[column + e];
                }
                c[(batch * ROWS + row + d) * COLUMNS + column + e] = v;
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
    let tile_row = number / COLUMN_TILES % ROW_TILES;
    let batch = number / COLUMN_TILES / ROW_TILES;
    let thread_columns = 64u / THREAD_ROWS;
    let row_quads = THREAD_ROWS * select(1u, 2u, WIDE_ROWS);
    let column_quads = thread_columns * select(1u, 2u, WIDE_COLUMNS);
    let first_row = tile_row * row_quads * 4u;
    let first_column = (number % COLUMN_TILES) * column_quads * 4u;
    let my_row = lane / thread_columns;
    let my_column = lane % thread_columns;
    var sum00 = mat4x4<f32>();
    var sum01 = mat4x4<f32>();
    var sum10 = mat4x4<f32>();
    var sum11 = mat4x4<f32>();
    var total00 = mat4x4<f32>();
    var total01 = mat4x4<f32>();
    var total10 = mat4x4<f32>();
    var total11 = mat4x4<f32>();
    var in_block = 0u;

    for (var first = 0u; first < TERMS; first += DEPTH) {
        // Neighbouring invocations read neighbouring elements, whichever way the matrix lies.
        for (var i = lane; i < row_quads * DEPTH; i += 64u) {
            let d = select(i / row_quads, i % DEPTH, A_TERM == 1u);
            let quad = select(i % row_quads, i / DEPTH, A_TERM == 1u);
            let row = vec4(first_row + quad * 4u) + vec4(0u, 1u, 2u, 3u);
            let inside = (row < vec4(ROWS)) & vec4(first + d < TERMS);
            let at = vec4(batch * A_BATCH + (first + d) * A_TERM) + row * A_ROW;
            let place = select(vec4(0u), at, inside);
            let loaded = vec4(a[place.x], a[place.y], a[place.z], a[place.w]);
            left[d * row_quads + quad] = select(vec4(0.0), loaded, inside);
        }
        for (var i = lane; i < column_quads * DEPTH; i += 64u) {
            let d = select(i / column_quads, i % DEPTH, B_TERM == 1u);
            let quad = select(i % column_quads, i / DEPTH, B_TERM == 1u);
            let column = vec4(first_column + quad * 4u) + vec4(0u, 1u, 2u, 3u);
            let inside = (column < vec4(COLUMNS)) & vec4(first + d < TERMS);
            let at = vec4(batch * B_BATCH + (first + d) * B_TERM) + column * B_COLUMN;
            let place = select(vec4(0u), at, inside);
            let loaded = vec4(b[place.x], b[place.y], b[place.z], b[place.w]);
            right[d * column_quads + quad] = select(vec4(0.0), loaded, inside);
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let a0 = left[d * row_quads + my_row];
            let b0 = right[d * column_quads + my_column];
            sum00 = accumulate(sum00, a0, b0);
            if (WIDE_COLUMNS) {
                let b1 = right[d * column_quads + thread_columns + my_column];
                sum01 = accumulate(sum01, a0, b1);
                if (WIDE_ROWS) {
                    sum11 = accumulate(sum11, left[d * row_quads + THREAD_ROWS + my_row], b1);
                }
            }
            if (WIDE_ROWS) {
                sum10 = accumulate(sum10, left[d * row_quads + THREAD_ROWS + my_row], b0);
            }
        }
        workgroupBarrier();
        if (BLOCK > 0u) {
            in_block += DEPTH;
            if (in_block >= BLOCK) {
                in_block = 0u;
                total00 += sum00;
                total01 += sum01;
                total10 += sum10;
                total11 += sum11;
                sum00 = mat4x4<f32>();
                sum01 = mat4x4<f32>();
                sum10 = mat4x4<f32>();
                sum11 = mat4x4<f32>();
            }
        }
    }

    let row = first_row + my_row * 4u;
    let column = first_column + my_column * 4u;
    store(batch, total00 + sum00, row, column);
    if (WIDE_COLUMNS) {
        store(batch, total01 + sum01, row, column + thread_columns * 4u);
    }
    if (WIDE_ROWS) {
        store(batch, total10 + sum10, row + THREAD_ROWS * 4u, column);
        if (WIDE_COLUMNS) {
            store(batch, total11 + sum11, row + THREAD_ROWS * 4u, column + thread_columns * 4u);
        }
    }
}
