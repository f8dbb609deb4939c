// dx: every element collects the gradients of the windows in which it was the greatest; see src/ops/max_pool2d.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> choice: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

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
            let plane = i / (H * W) * OH * OW;
            let row = i / W % H + PH;
            let column = i % W + PW;
            var sum = 0.0;
            for (var ki = 0u; ki < KH; ki++) {
                let top = row - ki * DH;
                if (row >= ki * DH && top % SH == 0u && top / SH < OH) {
                    for (var kj = 0u; kj < KW; kj++) {
                        let left = column - kj * DW;
                        if (column >= kj * DW && left % SW == 0u && left / SW < OW) {
                            let o = plane + top / SH * OW + left / SW;
                            sum += select(0.0, dy[o], u32(choice[o]) == ki * KW + kj);
                        }
                    }
                }
            }
            dx[i] = sum;
        }
    }
}
