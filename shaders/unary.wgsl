// y = f(x); see src/ops/unary.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

fn value(v: f32) -> f32 {
    if (is_nan(v)) {
        return v;
    }
    switch OP {
        case 0u: { return power_of_e(v); }
        case 1u: {
            if (v == 0.0) {
                return -of_bits(INFINITE);
            }
            if (v < 0.0) {
                return of_bits(NOT_A_NUMBER);
            }
            if (is_infinite(v)) {
                return v;
            }
            return log(v);
        }
        case 2u: {
            if (v == 0.0 || (is_infinite(v) && v > 0.0)) {
                return v;
            }
            if (v < 0.0) {
                return of_bits(NOT_A_NUMBER);
            }
            return sqrt(v);
        }
        case 3u: { return of_bits(bitcast<u32>(v) & 0x7fffffffu); }
        case 4u: { return hyperbolic_tangent(v); }
        case 5u: {
            // The exponential of a negative number alone, so that nothing is infinite.
            let t = power_of_e(-abs(v));
            return select(1.0, t, v < 0.0) / (1.0 + t);
        }
        case 6u, 7u: {
            if (is_infinite(v)) {
                return select(v, of_bits(NOT_A_NUMBER), v < 0.0);
            }
            if (OP == 6u) {
                return 0.5 * v * complementary_error(-0.70710678 * v);
            }
            if (abs(v) > 10.0) {
                return select(v, 0.0, v < 0.0);
            }
            return 0.5 * v * (1.0 + hyperbolic_tangent(0.79788456 * (v + 0.044715 * v * v * v)));
        }
        default: {
            var clamped = v;
            if (HAS_LOW == 1u && clamped < LOW) {
                clamped = LOW;
            }
            if (HAS_HIGH == 1u && clamped > HIGH) {
                clamped = HIGH;
            }
            return clamped;
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
            y[i] = value(x[i]);
        }
    }
}
