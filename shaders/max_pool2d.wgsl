// The greatest element of each window and its number in the window; see src/ops/max_pool2d.rs. Of equal elements the first
// counts, and a NaN beats all.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> choice: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let o = (group.y * groups.x + group.x) * 64u + lane;
    if (o >= PLANES * OH * OW) {
        return;
    }
    let plane = o / (OH * OW) * H * W;
    let row = o / OW % OH * SH;
    let column = o % OW * SW;
    var best = 0.0;
    var at = 0u;
    var found = false;
    for (var i = 0u; i < KH; i++) {
        // Above and left of the image the difference wraps to a large number.
        let r = row + i * DH - PH;
        if (r < H) {
            for (var j = 0u; j < KW; j++) {
                let c = column + j * DW - PW;
                if (c < W) {
                    let value = x[plane + r * W + c];
                    if (!found || value > best || is_nan(value)) {
                        best = value;
                        at = i * KW + j;
                        found = true;
                    }
                }
            }
        }
    }
    y[o] = best;
    choice[o] = f32(at);
}
