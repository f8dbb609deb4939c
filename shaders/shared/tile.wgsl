// A tile of a matrix product, made by 64 invocations in registers out of factors staged in workgroup memory; put in front of the
// kernels that are such products. They ask `corner` which results are theirs. In rounds, until there are no more terms, they stage DEPTH of
// them in `left` and `right` and call `add_staged` (or, with OWN_COLUMNS, stage `left` and call `add_term` for each), and then `close_round`. They
// end with `store_tile`, which calls their `store` for each block of 4 x 4 results: it gets what kind of `Place` they say the results lie in.

override SPLITS: u32; // the 64 invocations are so many equal parts, which take turns at the terms; each part makes a whole tile
override THREAD_ROWS: u32; // the invocations of a part stand in so many rows
override WIDE_ROWS: bool; // each owns 8 rows of results (16 with TALL), else 4
override TALL: bool; // goes with WIDE_ROWS and OWN_COLUMNS, not with WIDE_COLUMNS
override WIDE_COLUMNS: bool; // and 8 columns, else 4
override OWN_COLUMNS: bool; // each invocation reads for its own columns instead of having them staged
override DEPTH: u32; // terms of the sum that are staged at a time
override BLOCK: u32; // terms that are summed before their sum is added to the total; 0: all
override ROW_TILES: u32;
override COLUMN_TILES: u32;
override WORKGROUPS: u32;
// Quads of the staged factors, row_quads() * DEPTH and column_quads() * DEPTH. Numbers of their own, not products of overrides: naga 30
// panics on those. Exactly what the tile needs, since workgroup memory decides how many workgroups a GPU runs side by side.
override LEFT_LEN: u32;
override RIGHT_LEN: u32;

// The staged factors: for each term, the tile's rows (or columns) four by four.
var<workgroup> left: array<vec4<f32>, LEFT_LEN>;
var<workgroup> right: array<vec4<f32>, RIGHT_LEN>;

// Four blocks of 4 x 4 results, named by row and column; with TALL they lie one below the other, in the order 00, 10, 01, 11. Blocks that
// the overrides leave out stay zero.
struct Tile {
    sum00: mat4x4<f32>,
    sum01: mat4x4<f32>,
    sum10: mat4x4<f32>,
    sum11: mat4x4<f32>,
    total00: mat4x4<f32>,
    total01: mat4x4<f32>,
    total10: mat4x4<f32>,
    total11: mat4x4<f32>,
    in_block: u32,
}

fn thread_columns() -> u32 {
    return 64u / SPLITS / THREAD_ROWS;
}

// The part that an invocation belongs to, and its row and column there. Where there is one part, or one row, that is said without a
// division: a compiler then knows that all invocations read the same.
fn split_of(lane: u32) -> u32 {
    return select(lane / (64u / SPLITS), 0u, SPLITS == 1u);
}

fn thread_row(lane: u32) -> u32 {
    return select(lane % (64u / SPLITS) / thread_columns(), 0u, THREAD_ROWS == 1u);
}

fn thread_column(lane: u32) -> u32 {
    return lane % thread_columns();
}

fn row_quads() -> u32 {
    return THREAD_ROWS * select(select(1u, 2u, WIDE_ROWS), 4u, TALL);
}

fn column_quads() -> u32 {
    return thread_columns() * select(1u, 2u, WIDE_COLUMNS);
}

// acc + a b^T, with a down the rows of the result.
fn accumulate(acc: mat4x4<f32>, a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4(a.x), b, acc[0]),
        fma(vec4(a.y), b, acc[1]),
        fma(vec4(a.z), b, acc[2]),
        fma(vec4(a.w), b, acc[3]),
    );
}

// Adds the products of one term, number `d` of those in `left`: `b0` and, with WIDE_COLUMNS, `b1` are what the right factor has for
// this invocation's columns.
fn add_term(tile: ptr<function, Tile>, lane: u32, d: u32, b0: vec4<f32>, b1: vec4<f32>) {
    let at = d * row_quads() + thread_row(lane);
    let a0 = left[at];
    (*tile).sum00 = accumulate((*tile).sum00, a0, b0);
    if (WIDE_COLUMNS) {
        (*tile).sum01 = accumulate((*tile).sum01, a0, b1);
    }
    if (WIDE_ROWS) {
        let a1 = left[at + THREAD_ROWS];
        (*tile).sum10 = accumulate((*tile).sum10, a1, b0);
        if (WIDE_COLUMNS) {
            (*tile).sum11 = accumulate((*tile).sum11, a1, b1);
        }
    }
    if (TALL) {
        (*tile).sum01 = accumulate((*tile).sum01, left[at + 2u * THREAD_ROWS], b0);
        (*tile).sum11 = accumulate((*tile).sum11, left[at + 3u * THREAD_ROWS], b0);
    }
}

// Adds the products of all terms that the invocations have staged, and waits until all of them have read these.
fn add_staged(tile: ptr<function, Tile>, lane: u32) {
    workgroupBarrier();
    for (var d = split_of(lane); d < DEPTH; d += SPLITS) {
        let at = d * column_quads() + thread_column(lane);
        var b1 = vec4(0.0);
        if (WIDE_COLUMNS) {
            b1 = right[at + thread_columns()];
        }
        add_term(tile, lane, d, right[at], b1);
    }
    workgroupBarrier();
}

// Whether an invocation stages anything: quads of term `lane % DEPTH`, from number lane / DEPTH on, 64 / DEPTH apart. Where DEPTH does not
// divide 64 the last invocations have none.
fn stages(lane: u32) -> bool {
    return lane < 64u / DEPTH * DEPTH;
}

// To be called after each round of DEPTH terms.
fn close_round(tile: ptr<function, Tile>) {
    if (BLOCK > 0u) {
        (*tile).in_block += DEPTH;
        if ((*tile).in_block >= BLOCK) {
            (*tile).in_block = 0u;
            (*tile).total00 += (*tile).sum00;
            (*tile).total01 += (*tile).sum01;
            (*tile).total10 += (*tile).sum10;
            (*tile).total11 += (*tile).sum11;
            (*tile).sum00 = mat4x4<f32>();
            (*tile).sum01 = mat4x4<f32>();
            (*tile).sum10 = mat4x4<f32>();
            (*tile).sum11 = mat4x4<f32>();
        }
    }
}

// The first row and column of a workgroup's tile, and what else its number says: which of the products it belongs to.
struct Corner {
    row: u32,
    column: u32,
    product: u32,
}

fn corner(number: u32) -> Corner {
    return Corner(
        number / COLUMN_TILES % ROW_TILES * row_quads() * 4u,
        number % COLUMN_TILES * column_quads() * 4u,
        number / COLUMN_TILES / ROW_TILES,
    );
}

fn store_tile(place: Place, tile: ptr<function, Tile>, at: Corner, lane: u32) {
    let row = at.row + thread_row(lane) * 4u;
    let column = at.column + thread_column(lane) * 4u;
    store(place, (*tile).total00 + (*tile).sum00, row, column);
    if (WIDE_COLUMNS) {
        store(place, (*tile).total01 + (*tile).sum01, row, column + thread_columns() * 4u);
    }
    if (WIDE_ROWS) {
        store(place, (*tile).total10 + (*tile).sum10, row + THREAD_ROWS * 4u, column);
        if (WIDE_COLUMNS) {
            store(place, (*tile).total11 + (*tile).sum11, row + THREAD_ROWS * 4u, column + thread_columns() * 4u);
        }
    }
    if (TALL) {
        store(place, (*tile).total01 + (*tile).sum01, row + 2u * THREAD_ROWS * 4u, column);
        store(place, (*tile).total11 + (*tile).sum11, row + 3u * THREAD_ROWS * 4u, column);
    }
}

