//! Windowed-sinc resampling from any rate to any rate, equal to torchaudio's default `transforms.Resample`.
//!
//! Output sample `j` is `y[j] = sum_i x[i] h(i / orig - j / new)` with `h` a sinc at 0.99 of the lower Nyquist frequency,
//! cut off after 6 zero crossings by a squared-cosine (Hann) window; `orig` and `new` are the rates over their greatest
//! common divisor. `y[j + new]` uses the weights of `y[j]` on the input moved by `orig` samples, so there are only `new`
//! distinct rows of weights ("phases"). torchaudio runs them as one strided convolution whose rows span `orig` samples more
//! than they need; here each phase keeps only its support, about 10 times less arithmetic at 44 100 -> 11 000.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::{Error, Result};

/// Zero crossings on each side (torchaudio's `lowpass_filter_width`).
const ZERO_CROSSINGS: f64 = 6.0;
/// Cut-off as a fraction of the lower Nyquist frequency (torchaudio's `rolloff`).
const ROLLOFF: f64 = 0.99;
/// Rows of weights are padded with zeros to a multiple of this, so that no vector width leaves a tail.
const LANES: usize = 16;
/// Frames (runs of `orig` input samples) that share a row of weights while it is in registers.
const FRAMES: usize = 4;
/// Tables kept for reuse across files.
const TABLES_KEPT: usize = 16;
/// Sample rates outside this range are refused: below, a small file would swell without proportion.
pub const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// The weights for one pair of sample rates; computed once, used for any number of signals from any thread.
#[derive(Debug)]
pub struct Resampler {
    orig: usize,
    new: usize,
    /// Input sample, relative to the frame's first, of each phase's first weight.
    first: Vec<isize>,
    /// Weights per phase, a multiple of [`LANES`].
    taps: usize,
    /// `[new][taps]`
    weights: Vec<f32>,
}

impl Resampler {
    /// The resampler from rate `from` to rate `to` (Hz), out of a small store of recently used ones.
    ///
    /// # Errors
    /// When a rate lies outside [`RATES`].
    pub fn shared(from: u32, to: u32) -> Result<Arc<Self>> {
        static KEPT: Mutex<VecDeque<(u32, u32, Arc<Resampler>)>> = Mutex::new(VecDeque::new());
        let find = || {
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            let at = kept.iter().position(|(a, b, _)| (*a, *b) == (from, to))?;
            let entry = kept.remove(at)?;
            let table = entry.2.clone();
            kept.push_front(entry);
            Some(table)
        };
        if let Some(table) = find() {
            return Ok(table);
        }
        let table = Arc::new(Self::new(from, to)?);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(TABLES_KEPT - 1);
        kept.push_front((from, to, table.clone()));
        Ok(table)
    }

    /// Computes the weights from rate `from` to rate `to` (Hz), in f64 (but for the phase, see the code), rounded to f32 at the end.
    ///
    /// # Errors
    /// When a rate lies outside [`RATES`].
    pub fn new(from: u32, to: u32) -> Result<Self> {
        for rate in [from, to] {
            if !RATES.contains(&rate) {
                return Err(Error::usage(
                    "sample rate",
                    format!("{rate} Hz is outside {} to {} Hz", RATES.start(), RATES.end()),
                ));
            }
        }
        let divisor = gcd(from, to);
        let (orig, new) = ((from / divisor) as usize, (to / divisor) as usize);
        let cutoff = orig.min(new) as f64 * ROLLOFF;
        // Half the support of a phase, in input samples.
        let reach = ZERO_CROSSINGS * orig as f64 / cutoff;
        let taps = ((2.0 * reach).ceil() as usize + 1).next_multiple_of(LANES);
        let mut first = Vec::with_capacity(new);
        let mut weights = vec![0.0; new * taps];
        for (phase, row) in weights.chunks_exact_mut(taps).enumerate() {
            // The output sample's place, in input samples from the frame's first.
            let centre = phase as f64 * orig as f64 / new as f64;
            let start = (centre - reach).ceil();
            first.push(start as isize);
            for (k, weight) in row.iter_mut().enumerate() {
                let i = start + k as f64;
                if i > centre + reach {
                    break;
                }
                // torchaudio rounds the phase, and nothing else, to f32 here; without that its samples differ by 2e-6.
                let t = (f64::from(-(phase as f32) / new as f32) + i / orig as f64) * cutoff;
                let t = t.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS);
                let window = (t * std::f64::consts::PI / ZERO_CROSSINGS / 2.0).cos().powi(2);
                let angle = t * std::f64::consts::PI;
                let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
                *weight = (sinc * window * cutoff / orig as f64) as f32;
            }
        }
        Ok(Self { orig, new, first, taps, weights })
    }

    /// Samples that come out for `length` samples in: `ceil(new * length / orig)`, the quotient rounded to f32 first.
    ///
    /// The rounding is torchaudio's: it can drop a last sample that lies less than an f32's precision past a whole number.
    pub fn output_len(&self, length: usize) -> usize {
        let exact = (self.new as u128 * length as u128) as f64 / self.orig as f64;
        let available = (length / self.orig + 1) * self.new;
        (f64::from(exact as f32).ceil() as usize).min(available)
    }

    /// Resamples one channel. The signal counts as zero before its first and after its last sample.
    ///
    /// Runs on all threads of the current rayon pool; the result does not depend on their number.
    pub fn run(&self, input: &[f32]) -> Vec<f32> {
        if self.orig == self.new {
            return input.to_vec();
        }
        let mut output = vec![0.0; self.output_len(input.len())];
        let arch = Arch::new();
        // A chunk is a whole number of frames and long enough to be worth a task of its own.
        let frames = (16_384 / self.new).max(1).next_multiple_of(FRAMES);
        output.par_chunks_mut(frames * self.new).enumerate().for_each(|(chunk, output)| {
            arch.dispatch(Frames { table: self, input, first_frame: chunk * frames, output });
        });
        output
    }
}

/// Some consecutive frames of output (the last may be cut short), from frame `first_frame` on.
struct Frames<'a> {
    table: &'a Resampler,
    input: &'a [f32],
    first_frame: usize,
    output: &'a mut [f32],
}

impl WithSimd for Frames<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { table, input, first_frame, output } = self;
        let &Resampler { orig, new, taps, .. } = table;
        let mut edge = vec![0.0; taps];
        for (group, output) in output.chunks_mut(FRAMES * new).enumerate() {
            let frame = first_frame + group * FRAMES;
            for phase in 0..new {
                let row = &table.weights[phase * taps..(phase + 1) * taps];
                let start = (frame * orig) as isize + table.first[phase];
                let end = start + ((FRAMES - 1) * orig + taps) as isize;
                if start >= 0 && end <= input.len() as isize && output.len() == FRAMES * new {
                    let input = &input[start as usize..end as usize];
                    let sums = dot_four(simd, row, input, orig);
                    for (f, sum) in sums.into_iter().enumerate() {
                        output[f * new + phase] = sum;
                    }
                    continue;
                }
                for (f, sum) in output.iter_mut().skip(phase).step_by(new).enumerate() {
                    fill_edge(&mut edge, input, start + (f * orig) as isize);
                    *sum = dot_four(simd, row, &edge, 0)[0];
                }
            }
        }
    }
}

/// Copies `input[start..]` into `edge`, zeros where there is no input.
fn fill_edge(edge: &mut [f32], input: &[f32], start: isize) {
    let length = input.len() as isize;
    let (from, to) = (start.clamp(0, length), (start + edge.len() as isize).clamp(0, length));
    edge.fill(0.0);
    if from < to {
        let at = (from - start) as usize;
        edge[at..at + (to - from) as usize].copy_from_slice(&input[from as usize..to as usize]);
    }
}

/// The sums of `row * input[f * stride..]` for f = 0..4. All four are the same sum when `stride` is 0.
#[inline(always)]
fn dot_four<S: Simd>(simd: S, row: &[f32], input: &[f32], stride: usize) -> [f32; FRAMES] {
    let taps = row.len();
    let (row, _) = S::as_simd_f32s(row);
    let (a, _) = S::as_simd_f32s(&input[..taps]);
    let (b, _) = S::as_simd_f32s(&input[stride..stride + taps]);
    let (c, _) = S::as_simd_f32s(&input[2 * stride..2 * stride + taps]);
    let (d, _) = S::as_simd_f32s(&input[3 * stride..3 * stride + taps]);
    let zero = simd.splat_f32s(0.0);
    let mut sums = [zero; FRAMES];
    for ((((&w, &a), &b), &c), &d) in row.iter().zip(a).zip(b).zip(c).zip(d) {
        sums[0] = simd.mul_add_e_f32s(w, a, sums[0]);
        sums[1] = simd.mul_add_e_f32s(w, b, sums[1]);
        sums[2] = simd.mul_add_e_f32s(w, c, sums[2]);
        sums[3] = simd.mul_add_e_f32s(w, d, sums[3]);
    }
    // Not `sums.map(..)`: a closure that is not inlined first is compiled without the vectors, ten times slower.
    let [a, b, c, d] = sums;
    [simd.reduce_sum_f32s(a), simd.reduce_sum_f32s(b), simd.reduce_sum_f32s(c), simd.reduce_sum_f32s(d)]
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one output at a time in f64.
    fn direct(input: &[f32], from: u32, to: u32) -> Vec<f64> {
        let divisor = gcd(from, to);
        let (orig, new) = (f64::from(from / divisor), f64::from(to / divisor));
        let cutoff = orig.min(new) * ROLLOFF;
        (0..(input.len() as f64 * new / orig).ceil() as usize)
            .map(|j| {
                let term = |(i, &x): (usize, &f32)| {
                    let t = (i as f64 / orig - j as f64 / new) * cutoff;
                    if t.abs() >= ZERO_CROSSINGS {
                        return 0.0;
                    }
                    let angle = t * std::f64::consts::PI;
                    let sinc = if t == 0.0 { 1.0 } else { angle.sin() / angle };
                    f64::from(x) * sinc * (angle / ZERO_CROSSINGS / 2.0).cos().powi(2) * cutoff / orig
                };
                input.iter().enumerate().map(term).sum()
            })
            .collect()
    }

    #[test]
    fn equals_the_definition() {
        let noise = |n: usize| -> Vec<f32> {
            (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
        };
        for (from, to, length) in [
            (44_100, 11_000, 5_000),
            (8_000, 11_000, 999),
            (48_000, 16_000, 1_000),
            (44_100, 11_000, 1),
            (8_000, 11_000, 7),
            (16_000, 48_000, 50),
            (11_025, 11_000, 2_000),
            (44_101, 11_003, 3_000),
        ] {
            let input = noise(length);
            let output = Resampler::new(from, to).unwrap().run(&input);
            let expected = direct(&input, from, to);
            assert_eq!(output.len(), expected.len(), "{from} -> {to}");
            for (a, b) in output.iter().zip(&expected) {
                // torchaudio's phase is rounded to f32, by 3e-8 at most, and then multiplied by the cutoff.
                let bound = 2e-6 + 4e-8 * f64::from(from.min(to) / gcd(from, to));
                assert!((f64::from(*a) - b).abs() < bound, "{from} -> {to}: {a} {b}");
            }
        }
    }

    #[test]
    fn absurd_rates_are_refused() {
        for (from, to) in [(0, 11_000), (1, 11_000), (u32::MAX, 11_000), (44_100, 0)] {
            assert!(Resampler::shared(from, to).is_err());
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert!(Resampler::shared(44_100, 11_000).unwrap().run(&[]).is_empty());
    }
}
