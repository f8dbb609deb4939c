// Means over windows; see src/ops/adaptive_avg_pool2d.rs. One workgroup per window where it is WIDE, else one invocation.

override PLANES: u32;
override H: u32;
override W: u32;
override OH: u32;
override OW: u32;
override WIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let task = select(number * 64u + lane, number, WIDE == 1u);
    let is_task = task < PLANES * OH * OW;
    let step = select(1u, 64u, WIDE == 1u);
    let start = select(0u, lane, WIDE == 1u);
    let row = task / OW % OH;
    let column = task % OW;
    let top = row * H / OH;
    let left = column * W / OW;
    let height = ((row + 1u) * H + OH - 1u) / OH - top;
    let width = ((column + 1u) * W + OW - 1u) / OW - left;
    let plane = task / (OH * OW) * H * W;
    var sum = 0.0;
    if (is_task) {
        for (var i = start; i < height * width; i += step) {
            sum += x[plane + (top + i / width) * W + left + i % width];
        }
    }
    if (WIDE == 1u) {
        lanes[lane] = sum;
        workgroupBarrier();
        for (var reach = 32u; reach > 0u; reach /= 2u) {
            if (lane < reach) {
                lanes[lane] += lanes[lane + reach];
            }
            workgroupBarrier();
        }
        sum = lanes[0];
    }
    if (is_task && (WIDE == 0u || lane == 0u)) {
        y[task] = sum / f32(height * width);
    }
}
