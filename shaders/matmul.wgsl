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

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

struct Place {
    batch: u32,
}

fn store(place: Place, block: mat4x4<f32>, row: u32, column: u32) {
    for (var d = 0u; d < 4u; d++) {
        for (var e = 0u; e < 4u; e++) {
            if (row + d < ROWS && column + e < COLUMNS) {
                var v = block[d][e];
                if (BIAS) {
                    v += bias[column + e];
                }
                c[(place.batch * ROWS + row + d) * COLUMNS + column + e] = v;
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
    let row_quads = row_quads();
    let column_quads = column_quads();
    var tile = Tile();

    for (var first = 0u; first < TERMS; first += DEPTH) {
        // Neighbouring invocations read neighbouring elements, whichever way the matrix lies.
        for (var i = lane; i < row_quads * DEPTH; i += 64u) {
            let d = select(i / row_quads, i % DEPTH, A_TERM == 1u);
            let quad = select(i % row_quads, i / DEPTH, A_TERM == 1u);
            let row = vec4(at.row + quad * 4u) + vec4(0u, 1u, 2u, 3u);
            let inside = (row < vec4(ROWS)) & vec4(first + d < TERMS);
            let index = vec4(at.product * A_BATCH + (first + d) * A_TERM) + row * A_ROW;
            let place = select(vec4(0u), index, inside);
            let loaded = vec4(a[place.x], a[place.y], a[place.z], a[place.w]);
            left[d * row_quads + quad] = select(vec4(0.0), loaded, inside);
        }
        for (var i = lane; i < column_quads * DEPTH; i += 64u) {
            let d = select(i / column_quads, i % DEPTH, B_TERM == 1u);
            let quad = select(i % column_quads, i / DEPTH, B_TERM == 1u);
            let column = vec4(at.column + quad * 4u) + vec4(0u, 1u, 2u, 3u);
            let inside = (column < vec4(COLUMNS)) & vec4(first + d < TERMS);
            let index = vec4(at.product * B_BATCH + (first + d) * B_TERM) + column * B_COLUMN;
            let place = select(vec4(0u), index, inside);
            let loaded = vec4(b[place.x], b[place.y], b[place.z], b[place.w]);
            right[d * column_quads + quad] = select(vec4(0.0), loaded, inside);
        }
        add_staged(&tile, lane);
        close_round(&tile);
    }

    store_tile(Place(at.product), &tile, at, lane);
}
