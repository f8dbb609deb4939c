//! Spectrograms as images inside the page.

/// A picture of one clip as the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrogram {
    /// Rows, the lowest band first.
    pub bands: usize,
    /// Columns.
    pub frames: usize,
    /// Time from its first to its last column.
    pub seconds: f64,
    /// `[bands, frames]` in any unit; drawn from the smallest to the largest value.
    pub values: Vec<f32>,
}

/// From silence to the maximum: black, violet, red, orange, pale yellow, in equal steps.
const COLOURS: [[f64; 3]; 6] = [
    [4.0, 4.0, 16.0],
    [60.0, 15.0, 110.0],
    [140.0, 41.0, 129.0],
    [222.0, 73.0, 104.0],
    [254.0, 159.0, 109.0],
    [252.0, 253.0, 191.0],
];

/// A bitmap with a palette of 256 colours (BMP, version 3: every browser shows it, and it needs no compression library),
/// low bands at the bottom, as a `data:` address.
pub fn data_url(image: &Spectrogram) -> String {
    let (low, high) = image.values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    let stride = image.frames.next_multiple_of(4);
    let start = 14 + 40 + 4 * 256;
    let size = start + stride * image.bands;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(b"BM");
    // File: size, two reserved fields, where the pixels start.
    [size as u32, 0, start as u32].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    // Image: size of this header, width, height (positive: the bottom row first), planes and bits, no compression.
    [40, image.frames as u32, image.bands as u32, 1 | 8 << 16, 0].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    // Bytes of pixels, resolution, colours, important colours.
    [(stride * image.bands) as u32, 2835, 2835, 256, 0].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    for i in 0..256 {
        let at = f64::from(i) / 255.0 * (COLOURS.len() - 1) as f64;
        let k = (at as usize).min(COLOURS.len() - 2);
        let mix = |c: usize| (COLOURS[k][c] + (COLOURS[k + 1][c] - COLOURS[k][c]) * (at - k as f64)).round() as u8;
        bytes.extend([mix(2), mix(1), mix(0), 0]);
    }
    for row in image.values.chunks_exact(image.frames.max(1)).take(image.bands) {
        bytes.extend(row.iter().map(|v| ((v - low) * scale) as u8));
        bytes.resize(bytes.len() + stride - image.frames, 0);
    }
    format!("data:image/bmp;base64,{}", base64(&bytes))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]);
            text.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfcs_examples() {
        let examples = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        examples.iter().for_each(|(plain, coded)| assert_eq!(base64(plain.as_bytes()), *coded));
    }

    #[test]
    fn the_bitmap_has_the_length_it_says() {
        let image = Spectrogram { bands: 3, frames: 5, seconds: 1.0, values: (0..15).map(|i| i as f32).collect() };
        let url = data_url(&image);
        let coded = url.strip_prefix("data:image/bmp;base64,").unwrap_or_default();
        // 14 + 40 + 1024 bytes of headers, three rows of 8 bytes.
        assert_eq!(coded.len(), (1078 + 24usize).div_ceil(3) * 4);
        assert!(coded.starts_with("Qk"), "BM");
    }
}
