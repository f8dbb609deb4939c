// Division of whole numbers by a divisor that many share.

// a / b by way of the float 1 / b, corrected: exact while the quotient stays below two million.
fn divide(a: u32, b: u32, reciprocal: f32) -> u32 {
    let q = u32(f32(a) * reciprocal);
    let rest = i32(a - q * b);
    return u32(i32(q) + select(0, 1, rest >= i32(b)) - select(0, 1, rest < 0));
}

