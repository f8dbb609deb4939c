// dx: every element collects its share of the windows that it lies in; see src/ops/adaptive_avg_pool2d.rs. Row r lies in
// the windows floor(r OH / H) to ceil((r + 1) OH / H) - 1.

override PLANES: u32;
override H: u32;
override W: u32;
override OH: u32;
override OW: u32;

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i < PLANES * H * W) {
            let row = i / W % H;
            let column = i % W;
            let plane = i / (H * W) * OH * OW;
            var sum = 0.0;
            let last_row = ((row + 1u) * OH + H - 1u) / H;
            let last_column = ((column + 1u) * OW + W - 1u) / W;
            for (var r = row * OH / H; r < last_row; r++) {
                let height = ((r + 1u) * H + OH - 1u) / OH - r * H / OH;
                for (var c = column * OW / W; c < last_column; c++) {
                    let width = ((c + 1u) * W + OW - 1u) / OW - c * W / OW;
                    sum += dy[plane + r * OW + c] / f32(height * width);
                }
            }
            dx[i] = sum;
        }
    }
}
