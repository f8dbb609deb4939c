// dx, dgamma and dbeta from the parts' sums; see src/ops/batch_norm.rs. Every workgroup adds up the parts of its channel
// itself, in the same order.

@group(0) @binding(0) var<storage, read> dy: array<Vector>;
@group(0) @binding(1) var<storage, read> x: array<Vector>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<Vector>;
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>;

alias Sum = vec3<f32>;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= CHANNELS * blocks()) {
        return;
    }
    let channel = number / blocks();
    let block = number % blocks();
    let mine = (channel * PARTS + min(lane, PARTS - 1u)) * 3u;
    let part = select(vec3(0.0), vec3(parts[mine], parts[mine + 1u], parts[mine + 2u]), lane < PARTS);
    let end = min((block + 1u) * BLOCK, count());
    write_gradients(channel, total(lane, part), block == 0u && lane == 0u, block * BLOCK + lane, end, LANES);
}
