//! The synthesiser's arithmetic: everything it needs beyond `+ - * /` and `sqrt`, which alone are the same on every machine.
//! The sine and the exponential of the platform's mathematics library differ in the last bit from one system to the next, and
//! the same seed must give the same file everywhere, so both are polynomials here.

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

/// `sin(2 pi x)`: the angle in turns, so that a phase can be kept in `[0, 1)`. Taylor series to the 15th power after folding
/// into a quarter turn; the error is below 1e-10.
pub fn sin_turns(x: f64) -> f64 {
    let mut r = x - x.round();
    if r > 0.25 {
        r = 0.5 - r;
    } else if r < -0.25 {
        r = -0.5 - r;
    }
    let y = r * std::f64::consts::TAU;
    let q = y * y;
    const C: [f64; 7] = [
        -1.0 / 1_307_674_368_000.0,
        1.0 / 6_227_020_800.0,
        -1.0 / 39_916_800.0,
        1.0 / 362_880.0,
        -1.0 / 5_040.0,
        1.0 / 120.0,
        -1.0 / 6.0,
    ];
    y + y * q * C.iter().fold(0.0, |s, c| s * q + c)
}

/// `cos(2 pi x)`, as [`sin_turns`].
pub fn cos_turns(x: f64) -> f64 {
    sin_turns(x + 0.25)
}

/// `2^x` for any `x` in [-1000, 1000] (clamped): whole part into the exponent bits, the rest by Taylor series to the tenth power;
/// relative error below 1e-12.
pub fn exp2(x: f64) -> f64 {
    let x = x.clamp(-1000.0, 1000.0);
    let whole = x.round();
    let y = (x - whole) * std::f64::consts::LN_2;
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..=10 {
        term *= y / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((whole as i64 + 1023) as u64) << 52)
}

/// Decibels of amplitude to a factor: `10^(db / 20)`.
pub fn db(x: f64) -> f64 {
    exp2(x * (std::f64::consts::LOG2_10 / 20.0))
}

/// The frequency in Hz of a MIDI note number (69 is 440 Hz), fractions allowed.
pub fn midi_to_hz(midi: f64) -> f64 {
    440.0 * exp2((midi - 69.0) / 12.0)
}

/// A stream of random numbers that depends on nothing but its key, so that clips can be made in any order on any thread.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream for one purpose: `domain` says what for, `key` for whom (seed first).
    pub fn new(domain: u64, key: [u64; 3]) -> Self {
        let mut bytes = [0u8; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip([domain, key[0], key[1], key[2]]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A whole number in 0..n, for n > 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    /// Normal to the eye: twelve uniforms summed, so nobody is more than six deviations out.
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        mean + deviation * (sum - 6.0)
    }

    /// White noise of unit variance, uniformly distributed: what a filter makes of it sounds the same as Gaussian noise.
    pub fn noise(&mut self) -> f64 {
        let u = f64::from(self.0.next_u32()) / f64::from(u32::MAX);
        (u - 0.5) * 3.464_101_615_137_754_6
    }
}

/// A second-order filter, direct form 2 transposed. Coefficients as in R. Bristow-Johnson, "Cookbook formulae for audio
/// equalizer biquad filter coefficients".
#[derive(Clone, Copy)]
pub struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    z: [f64; 2],
}

impl Biquad {
    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|x| x / a[0]), a: [a[1] / a[0], a[2] / a[0]], z: [0.0; 2] }
    }

    /// `f` in Hz below half of `rate`; kept just under it, so that a microphone wider than the recording is a filter that does nothing.
    fn angle(f: f64, rate: f64, q: f64) -> (f64, f64) {
        let turns = (f / rate).clamp(1e-5, 0.49);
        (cos_turns(turns), sin_turns(turns) / (2.0 * q))
    }

    /// Passes what is above `f` Hz.
    pub fn high_pass(f: f64, q: f64, rate: f64) -> Self {
        let (cos, alpha) = Self::angle(f, rate, q);
        let k = (1.0 + cos) / 2.0;
        Self::new([k, -2.0 * k, k], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Passes what is below `f` Hz.
    pub fn low_pass(f: f64, q: f64, rate: f64) -> Self {
        let (cos, alpha) = Self::angle(f, rate, q);
        let k = (1.0 - cos) / 2.0;
        Self::new([k, 2.0 * k, k], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Passes a band around `f` Hz, with gain 1 there.
    pub fn band_pass(f: f64, q: f64, rate: f64) -> Self {
        let (cos, alpha) = Self::angle(f, rate, q);
        Self::new([alpha, 0.0, -alpha], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Raises (or lowers) a band around `f` Hz by `gain_db`.
    pub fn peak(f: f64, q: f64, gain_db: f64, rate: f64) -> Self {
        let (cos, alpha) = Self::angle(f, rate, q);
        let a = db(gain_db / 2.0);
        Self::new([1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a], [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a])
    }

    /// The same filter with other coefficients, its memory kept: for a band that follows a melody.
    pub fn retune(&mut self, other: Self) {
        self.b = other.b;
        self.a = other.a;
    }

    /// Filters one sample.
    pub fn step(&mut self, x: f64) -> f64 {
        let y = self.b[0] * x + self.z[0];
        self.z[0] = self.b[1] * x - self.a[0] * y + self.z[1];
        self.z[1] = self.b[2] * x - self.a[1] * y;
        y
    }

    /// Filters a signal in place.
    pub fn run(mut self, signal: &mut [f64]) {
        for x in signal {
            *x = self.step(*x);
        }
    }
}

/// Root mean square.
pub fn rms(signal: &[f64]) -> f64 {
    (signal.iter().map(|x| x * x).sum::<f64>() / signal.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_agree_with_the_library() {
        for i in -4000..4000 {
            let x = f64::from(i) * 0.001_37;
            assert!((sin_turns(x) - (std::f64::consts::TAU * x).sin()).abs() < 1e-9, "sine of {x} turns");
            assert!((exp2(x) / x.exp2() - 1.0).abs() < 1e-11, "2^{x}");
        }
        assert!((midi_to_hz(57.0) - 220.0).abs() < 1e-9);
        assert!((db(-6.0) - 0.501_187_233).abs() < 1e-8);
    }

    #[test]
    fn dice_are_fair_and_repeatable() {
        let mut dice = Dice::new(1, [2, 3, 4]);
        let draws: Vec<f64> = (0..20_000).map(|_| dice.normal(1.0, 2.0)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 1.0).abs() < 0.05 && (variance - 4.0).abs() < 0.2, "mean {mean}, variance {variance}");
        let mut again = Dice::new(1, [2, 3, 4]);
        assert_eq!(draws[0], again.normal(1.0, 2.0));
        assert_ne!(draws[0], Dice::new(1, [2, 3, 5]).normal(1.0, 2.0));
    }

    #[test]
    fn filters_pass_and_stop() {
        let tone = |f: f64| -> Vec<f64> { (0..8000).map(|i| sin_turns(f * f64::from(i) / 8000.0)).collect() };
        let gain = |filter: Biquad, f: f64| {
            let mut signal = tone(f);
            filter.run(&mut signal);
            rms(&signal[4000..]) / rms(&tone(f)[4000..])
        };
        assert!(gain(Biquad::high_pass(300.0, 0.7, 8000.0), 50.0) < 0.05);
        assert!(gain(Biquad::high_pass(300.0, 0.7, 8000.0), 1500.0) > 0.95);
        assert!(gain(Biquad::low_pass(1000.0, 0.7, 8000.0), 100.0) > 0.95);
        assert!(gain(Biquad::low_pass(1000.0, 0.7, 8000.0), 3500.0) < 0.05);
        assert!((gain(Biquad::peak(1000.0, 2.0, 6.0, 8000.0), 1000.0) - 1.995).abs() < 0.02);
        assert!((gain(Biquad::band_pass(1000.0, 5.0, 8000.0), 1000.0) - 1.0).abs() < 0.02);
    }
}
