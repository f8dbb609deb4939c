//! Digits of 8x8 pixels: shifted, faint or bold, in noise.

use humdinger::nn::Data;
use humdinger::{Result, Tensor};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// The rows of 0 to 9, five pixels wide: one byte a row, seven rows a digit.
const FONT: [[u8; 7]; 10] = [
    [14, 17, 19, 21, 25, 17, 14],
    [4, 12, 4, 4, 4, 4, 14],
    [14, 17, 1, 2, 4, 8, 31],
    [14, 17, 1, 6, 1, 17, 14],
    [2, 6, 10, 18, 31, 2, 2],
    [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14],
    [31, 1, 2, 4, 8, 8, 8],
    [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
];

/// So many pictures [1, 8, 8] and their classes, each digit as often as another.
pub fn digits(count: usize, seed: u64) -> Result<Data> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut pixels, mut classes) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (digit, across, down) = (i % 10, rng.random_range(0..4), rng.random_range(0..2));
        let ink = rng.random_range(0.6..1.0);
        let bit = |row: usize, column: usize| {
            FONT[digit].get(row).is_some_and(|bits| bits << across >> (7 - column) & 1 == 1)
        };
        for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
            let on = row >= down && bit(row - down, column);
            pixels.push(if on { ink } else { 0.0 } + rng.random_range(-0.25..0.25));
        }
        classes.push(digit as u32);
    }
    Data::new(Tensor::new([count, 1, 8, 8], pixels)?, classes)
}
