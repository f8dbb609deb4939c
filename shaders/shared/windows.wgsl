// The windows of pooling; see src/ops/windows.rs. Only means ask how many elements a window has.

override PLANES: u32;
override H: u32; override W: u32; override OH: u32; override OW: u32;
override KH: u32; override KW: u32; override SH: u32; override SW: u32;
override PH: u32; override PW: u32; override DH: u32; override DW: u32;
override COUNT_PADDING: u32 = 0u;

// How many elements of the window that begins at `start` (counted from the padding's edge) lie in the image of `len`, or in it and its
// padding.
fn elements(start: u32, kernel: u32, dilation: u32, padding: u32, len: u32) -> u32 {
    let outside = select(padding, 0u, COUNT_PADDING == 1u);
    let end = len + 2u * padding - outside;
    var before = 0u;
    if (start < outside) {
        before = (outside - start + dilation - 1u) / dilation;
    }
    var until = 0u;
    if (start < end) {
        until = min(kernel, (end - start + dilation - 1u) / dilation);
    }
    return until - min(before, until);
}

// How many elements the mean of a window is over.
fn count(row: u32, column: u32) -> f32 {
    return f32(elements(row * SH, KH, DH, PH, H) * elements(column * SW, KW, DW, PW, W));
}
