//! Bits that become bytes, for files that are made by hand.

/// Bits, the first of them the highest.
#[derive(Default)]
pub struct Bits(Vec<bool>);

impl Bits {
    pub fn put(&mut self, value: u64, count: u32) {
        (0..count).rev().for_each(|i| self.0.push(value >> i & 1 == 1));
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |sum, (i, &b)| sum | u8::from(b) << (7 - i)))
            .collect()
    }
}
