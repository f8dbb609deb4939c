// Whether a number is NaN, told by its bits: a compiler may take `v != v` for false, and max(NaN, 0) is 0.

fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

