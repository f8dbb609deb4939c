// y = x - max - log(sum(exp(x - max))), one workgroup per row; see src/ops/softmax.rs.

override ROWS: u32;
override ROW: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

alias Sum = f32;

const LANES = 64u;

var<workgroup> lanes: array<f32, 64>;

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
    var greatest = x[start];
    for (var i = lane; i < ROW; i += 64u) {
        greatest = max(greatest, x[start + i]);
    }
    lanes[lane] = greatest;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (lane < width) {
            lanes[lane] = max(lanes[lane], lanes[lane + width]);
        }
        workgroupBarrier();
    }
    greatest = lanes[0];
    var sum = 0.0;
    for (var i = lane; i < ROW; i += 64u) {
        sum += exp(x[start + i] - greatest);
    }
    let all = total(lane, sum);
    // The sum is at least 1, that of the greatest element.
    let logarithm = log(all);
    for (var i = lane; i < ROW; i += 64u) {
        y[start + i] = x[start + i] - greatest - logarithm;
    }
}
