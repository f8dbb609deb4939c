// dx = dy f'(x), from x or y as src/ops/unary.rs says.

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> kept: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

fn slope(d: f32, v: f32) -> f32 {
    let nan = is_nan(v);
    if (OP == 8u) {
        let inside = !nan && !(HAS_LOW == 1u && v < LOW) && !(HAS_HIGH == 1u && v > HIGH);
        return select(0.0, d, inside);
    }
    if (is_nan(d)) {
        return d;
    }
    if (OP == 3u) {
if (nan || v == 0.0) {
            // Nothing of a finite gradient; of an infinite one there is no saying.
            return select(0.0, of_bits(NOT_A_NUMBER), is_infinite(d));
        }
        return select(d, -d, v < 0.0);
    }
    if (nan) {
        return v;
    }
    switch OP {
        case 0u: { return d * v; }
        case 1u: { return d / v; }
        case 2u: { return 0.5 * d / v; }
        case 4u: { return d * (1.0 - v * v); }
        case 5u: { return d * (1.0 - v) * v; }
        default: {
            if (is_infinite(v)) {
                return of_bits(NOT_A_NUMBER);
            }
            if (abs(v) > 20.0) {
                return select(d, 0.0, v < 0.0);
            }
            if (OP == 6u) {
                let density = 0.39894228 * exp(-0.5 * v * v);
                return d * (0.5 * complementary_error(-0.70710678 * v) + v * density);
            }
            let t = hyperbolic_tangent(0.79788456 * (v + 0.044715 * v * v * v));
            return 0.5 * d * (1.0 + t + v * (1.0 - t * t) * 0.79788456 * (1.0 + 0.134145 * v * v));
        }
    }
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
            dx[i] = slope(dy[i], kept[i]);
        }
    }
}
