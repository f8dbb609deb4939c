// The mean of each window; see src/ops/avg_pool2d.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let o = first + k * 64u;
        if (o < PLANES * OH * OW) {
            let plane = o / (OH * OW) * H * W;
            let row = o / OW % OH;
            let column = o % OW;
            var sum = 0.0;
            for (var i = 0u; i < KH; i++) {
                // Above and left of the image the difference wraps to a large number.
                let r = row * SH + i * DH - PH;
                if (r < H) {
                    for (var j = 0u; j < KW; j++) {
                        let c = column * SW + j * DW - PW;
                        if (c < W) {
                            sum += x[plane + r * W + c];
                        }
                    }
                }
            }
            y[o] = sum / count(row, column);
        }
    }
}
