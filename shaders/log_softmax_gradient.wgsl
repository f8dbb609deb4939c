// dx = dy - exp(y) * sum(dy), one workgroup per row; see src/ops/softmax.rs.

override ROWS: u32;
override ROW: u32;

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

alias Sum = f32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= ROWS) {
        return;
    }
    let start = row * ROW;
    var sum = 0.0;
    for (var i = lane; i < ROW; i += 64u) {
        sum += dy[start + i];
    }
    let all = total(lane, sum);
    for (var i = lane; i < ROW; i += 64u) {
        dx[start + i] = dy[start + i] - exp(y[start + i]) * all;
    }
}
