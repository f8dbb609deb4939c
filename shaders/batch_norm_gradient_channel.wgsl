// The gradients of batch norm by one workgroup a channel, for channels of few elements; see src/ops/batch_norm.rs.

@group(0) @binding(0) var<storage, read> dy: array<Vector>;
@group(0) @binding(1) var<storage, read> x: array<Vector>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<Vector>;
@group(0) @binding(5) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(6) var<storage, read_write> dbeta: array<f32>;

alias Sum = vec3<f32>;

const LANES = 256u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = group.y * groups.x + group.x;
    if (channel >= CHANNELS) {
        return;
    }
    let mean = saved[channel];
    var sum = Vector(0.0);
    var product = Vector(0.0);
    var rest = Vector(0.0);
    for (var e = lane; e < count(); e += 256u) {
        let at = place(channel, e);
        let difference = x[at] - mean;
        sum += dy[at];
        product += dy[at] * difference;
        rest += difference;
    }
    let all = total(lane, vec3(sum_of(sum), sum_of(product), sum_of(rest)));
    write_gradients(channel, all, lane == 0u, lane, count(), LANES);
}
