// What the functions of src/ops/unary.rs and their gradients share. Infinities are told and made by their bits, as NaN is, since WGSL lets
// a compiler assume that there are none; no function is called where its accuracy is not promised.

override LEN: u32;
override OP: u32;
override LOW: f32;
override HIGH: f32;
override HAS_LOW: u32;
override HAS_HIGH: u32;

const INFINITE = 0x7f800000u;
const NOT_A_NUMBER = 0x7fc00000u;

fn of_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn is_infinite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) == INFINITE;
}

// exp(v), infinite beyond f32.
fn power_of_e(v: f32) -> f32 {
    if (v > 88.72283) {
        return of_bits(INFINITE);
    }
    if (v < -104.0) {
        return 0.0;
    }
    return exp(v);
}

// By its series near 0, where the quotient would cancel; the first term left out is below 1e-9 of the value.
fn hyperbolic_tangent(v: f32) -> f32 {
    let size = abs(v);
    if (size < 0.3) {
        let s = v * v;
        return v * (1.0 + s * (-0.33333333 + s * (0.13333333 + s * (-0.053968254 + s * (0.021869489 - s * 0.008863236)))));
    }
    if (size > 10.0) {
        return sign(v);
    }
    let t = exp(-2.0 * size);
    return sign(v) * (1.0 - t) / (1.0 + t);
}

// The complementary error function, Numerical Recipes in C, section 6.2; 0 or 2 beyond 10.
fn complementary_error(v: f32) -> f32 {
    let z = abs(v);
    var y = 0.0;
    if (z < 10.0) {
        let t = 1.0 / (1.0 + 0.5 * z);
        let sum = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
            + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
        y = t * exp(sum - z * z);
    }
    return select(y, 2.0 - y, v < 0.0);
}
