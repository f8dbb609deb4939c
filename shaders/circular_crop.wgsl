// y[n, c, t] = x[n, c, (start[n] + t) mod SAMPLES]; see src/ops/circular_crop.rs.

override LEN: u32;
override CHANNELS: u32;
override SAMPLES: u32;
override LENGTH: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> start: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 256u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * 64u;
        if (i < LEN) {
            let row = i / LENGTH;
            let t = start[row / CHANNELS] + i % LENGTH;
            y[i] = x[row * SAMPLES + select(t, t - SAMPLES, t >= SAMPLES)];
        }
    }
}
