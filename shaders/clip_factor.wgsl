// The factor min(1, MAX_NORM / (norm + 1e-6)) and the norm, from the partial sums of squares of clip_squares.wgsl, by
// one workgroup; see src/ops/adam.rs.

override PARTIALS: u32;
override MAX_NORM: f32;

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;

alias Sum = f32;

const LANES = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < PARTIALS; i += 64u) {
        sum += partials[i];
    }
    let all = total(lane, sum);
    if (lane == 0u) {
        norm[0] = sqrt(all);
        // A NaN, which min() may hide, comes through.
        factor[0] = select(min(1.0, MAX_NORM / (sqrt(all) + 1e-6)), all, is_nan(all));
    }
}
