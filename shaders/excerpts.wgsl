// y[n, c, t] = sample (start + t) mod LENGTH of the part that place n names, silence or the part again after its end; see
// src/ops/excerpts.rs.

override LEN: u32;
override CHANNELS: u32;
override LENGTH: u32;
override RECORDED: u32;
override REPEAT: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
// first, stride, mixed, samples, start
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn recorded(i: u32) -> f32 {
    return select(0.0, x[min(i, RECORDED - 1u)], i < RECORDED);
}

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
            let place = (row / CHANNELS) * 5u;
            let begin = places[place];
            let stride = places[place + 1u];
            let mixed = places[place + 2u];
            let samples = places[place + 3u];
            var u = (places[place + 4u] + i % LENGTH) % LENGTH;
            if (REPEAT == 1u && samples > 0u) {
                u = u % samples;
            }
            var value = 0.0;
            if (u < samples && mixed > 1u) {
                for (var channel = 0u; channel < mixed; channel++) {
                    value += recorded(begin + channel * stride + u);
                }
                value *= 1.0 / f32(mixed);
            } else if (u < samples) {
                value = recorded(begin + (row % CHANNELS) * stride + u);
            }
            y[i] = value;
        }
    }
}
