//! Windowed-sinc resampling from any rate to any rate, equal to torchaudio's default `transforms.Resample`.
//!
//! Output sample `j` is `y[j] = sum_i x[i] h(i / orig - j / new)` with `h` a sinc at 0.99 of the lower Nyquist frequency,
//! cut off after 6 zero crossings by a squared-cosine (Hann) window; `orig` and `new` are the rates over their greatest
//! common divisor. `y[j + new]` uses the weights of `y[j]` on the input moved by `orig` samples, so there are only `new`
//! distinct rows of weights ("phases"). torchaudio runs them as one strided convolution whose rows span `orig` samples more
//! than they need; here each phase keeps only its support, about 10 times less arithmetic at 44 100 -> 11 000.
//!
//! Sixteen neighbouring phases are summed side by side. From one to the next their supports move by about `orig / new`
//! samples; where that is rounded to a whole number s, and the input sorted by its place modulo s, what the sixteen read at
//! one tap lies side by side, too. What rounding moves a support by is made up for with zeros among the weights.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pulp::{Simd, WithSimd};
#[cfg(feature = "app")]
use rayon::prelude::*;

use crate::{Error, Result, vectors};

/// Zero crossings on each side (torchaudio's `lowpass_filter_width`).
const ZERO_CROSSINGS: f64 = 6.0;
/// Cut-off as a fraction of the lower Nyquist frequency (torchaudio's `rolloff`).
const ROLLOFF: f64 = 0.99;
/// Phases that are summed side by side: whole vectors, however wide they are.
const LANES: usize = 16;
/// Frames have at least this many phases (those of several short ones), so that few lanes of the last block are idle.
const LEAST_PHASES: usize = 128;
/// Output samples of a task, about: what it reads then stays in the second-level cache.
const PER_TASK: usize = 12_288;
/// Frames that are summed at once, at most.
const AT_ONCE: usize = 8;
/// Tables kept for reuse across files.
const TABLES_KEPT: usize = 16;
/// Sample rates outside this range are refused: below, a small file would swell without proportion.
pub const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// The weights for one pair of sample rates; computed once, used for any number of signals from any thread.
#[derive(Debug)]
pub struct Resampler {
    /// The rates over their greatest common divisor.
    orig: usize,
    new: usize,
    /// Input and output samples of a frame: `orig` and `new` times a whole number.
    frame: [usize; 2],
    /// Input samples from a lane to the next.
    stride: usize,
    /// For each block of lanes the input sample, relative to the frame's first, that tap 0 of lane 0 reads.
    first: Vec<isize>,
    /// Taps, a multiple of the stride.
    taps: usize,
    /// `[block][tap mod stride][tap / stride][lane]`
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
        let times = LEAST_PHASES.div_ceil(new);
        let frame = [orig * times, new * times];
        let cutoff = orig.min(new) as f64 * ROLLOFF;
        // Half the support of a phase, in input samples.
        let reach = ZERO_CROSSINGS * orig as f64 / cutoff;
        let support = (2.0 * reach).ceil() as usize + 1;
        // The output sample's place, in input samples from the frame's first, and where its support starts.
        let centre = |phase: usize| phase as f64 * orig as f64 / new as f64;
        let start = |phase: usize| (centre(phase) - reach).ceil() as isize;
        let stride = ((orig as f64 / new as f64).round() as usize).max(1);
        let blocks = frame[1].div_ceil(LANES);
        // Where tap 0 of lane 0 must be for a lane's support to start at tap 0 or later.
        let origin = |phase: usize| start(phase) - (phase % LANES * stride) as isize;
        let lanes = |block: usize| block * LANES..((block + 1) * LANES).min(frame[1]);
        let first: Vec<isize> = (0..blocks).map(|block| lanes(block).map(origin).min().unwrap_or(0)).collect();
        let late = (0..frame[1]).map(|phase| (origin(phase) - first[phase / LANES]) as usize).max().unwrap_or(0);
        let taps = (support + late).next_multiple_of(stride);
        let mut weights = vec![0.0; blocks * taps * LANES];
        for phase in 0..frame[1] {
            let (block, lane) = (phase / LANES, phase % LANES);
            for k in 0..support {
                let i = (start(phase) + k as isize) as f64;
                if i > centre(phase) + reach {
                    break;
                }
                // torchaudio rounds the phase, and nothing else, to f32 here; without that its samples differ by 2e-6.
                let within = phase % new;
                let i = i - (phase - within) as f64 * orig as f64 / new as f64;
                let t = (f64::from(-(within as f32) / new as f32) + i / orig as f64) * cutoff;
                let t = t.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS);
                let window = (t * std::f64::consts::PI / ZERO_CROSSINGS / 2.0).cos().powi(2);
                let angle = t * std::f64::consts::PI;
                let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
                let tap = (origin(phase) - first[block]) as usize + k;
                let row = tap % stride * (taps / stride) + tap / stride;
                weights[(block * taps + row) * LANES + lane] = (sinc * window * cutoff / orig as f64) as f32;
            }
        }
        Ok(Self { orig, new, frame, stride, first, taps, weights })
    }

    /// Input and output samples of a frame: from one to the next the weights are the same.
    #[cfg(feature = "app")]
    pub(super) fn frame(&self) -> [usize; 2] {
        self.frame
    }

    /// Input samples on either side that an output sample may depend on.
    #[cfg(feature = "app")]
    pub(super) fn reach(&self) -> usize {
        self.taps + LANES * self.stride
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
        self.run_to(input, self.output_len(input.len()))
    }

    /// The first `length` samples that come out of an `input` behind which there is silence.
    pub(super) fn run_to(&self, input: &[f32], length: usize) -> Vec<f32> {
        let mut output = vec![0.0; length];
        let arch = vectors::arch();
        // Frames are summed so many at once; what is left of a task takes almost as long as that.
        let frames = (PER_TASK / self.frame[1]).next_multiple_of(AT_ONCE).max(1);
        let (size, sum) = (frames * self.frame[1], |room: &mut Vec<f32>, (chunk, output): (usize, &mut [f32])| {
            arch.dispatch(Frames { table: self, input, first_frame: chunk * frames, output, room });
        });
        #[cfg(feature = "app")]
        output.par_chunks_mut(size).enumerate().for_each_init(Vec::new, sum);
        #[cfg(not(feature = "app"))]
        output.chunks_mut(size).enumerate().for_each(|part| sum(&mut Vec::new(), part));
        output
    }
}

/// Some consecutive frames of output (the last may be cut short), from frame `first_frame` on.
struct Frames<'a> {
    table: &'a Resampler,
    input: &'a [f32],
    first_frame: usize,
    output: &'a mut [f32],
    /// Memory that a thread keeps from chunk to chunk.
    room: &'a mut Vec<f32>,
}

impl WithSimd for Frames<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { table, input, first_frame, output, room } = self;
        let [orig, new] = table.frame;
        let frames = output.len().div_ceil(new);
        // What these frames read: the input from `begin` on, zeros where there is none.
        let least = table.first.iter().copied().min().unwrap_or(0);
        let begin = (first_frame * orig) as isize + least;
        let last = table.first.iter().copied().max().unwrap_or(0) - least;
        let end = (frames - 1) * orig + last as usize + table.taps + LANES * table.stride;
        let plane = end.div_ceil(table.stride);
        room.resize((plane + 1) * table.stride, 0.0);
        let (planes, line) = room.split_at_mut(plane * table.stride);
        sort(planes, input, begin, table.stride, line);
        let sorted = Sorted { table, planes, plane, least };
        let mut frame = 0;
        while frame < frames {
            let rest = &mut output[frame * new..];
            // As many accumulators as there are registers for.
            frame += match S::F32_LANES {
                16 if rest.len() >= AT_ONCE * new => sorted.sum::<S, 1, AT_ONCE>(simd, frame, rest),
                8 if rest.len() >= AT_ONCE / 2 * new => sorted.sum::<S, 2, { AT_ONCE / 2 }>(simd, frame, rest),
                16 => sorted.sum::<S, 1, 1>(simd, frame, rest),
                8 => sorted.sum::<S, 2, 1>(simd, frame, rest),
                4 => sorted.sum::<S, 4, 1>(simd, frame, rest),
                _ => sorted.sum::<S, LANES, 1>(simd, frame, rest),
            };
        }
    }
}

/// The input sorted by place modulo the stride, a plane for each remainder.
struct Sorted<'a> {
    table: &'a Resampler,
    planes: &'a [f32],
    plane: usize,
    /// What the first element is, relative to the first frame's first sample.
    least: isize,
}

impl Sorted<'_> {
    /// The output of `F` frames from `frame` on, or as much of it as there is room for. Returns `F`. A block is `V` vectors.
    #[inline(always)]
    fn sum<S: Simd, const V: usize, const F: usize>(&self, simd: S, frame: usize, output: &mut [f32]) -> usize {
        let Resampler { frame: [orig, new], stride, taps, .. } = *self.table;
        let each = taps / stride;
        for (block, &first) in self.table.first.iter().enumerate() {
            let lanes = block * LANES;
            if lanes >= output.len() {
                break;
            }
            let mut sums = [[simd.splat_f32s(0.0); V]; F];
            for remainder in 0..stride {
                let weights = &self.table.weights[(block * taps + remainder * each) * LANES..][..each * LANES];
                let mut x: [&[f32]; F] = [&[]; F];
                for (f, x) in x.iter_mut().enumerate() {
                    let at = (first - self.least) as usize + (frame + f) * orig + remainder;
                    *x = &self.planes[at % stride * self.plane + at / stride..][..each + LANES];
                }
                for (k, weights) in weights.chunks_exact(LANES).enumerate() {
                    let (weights, _) = S::as_simd_f32s(weights);
                    for f in 0..F {
                        let (x, _) = S::as_simd_f32s(&x[f][k..][..LANES]);
                        for v in 0..V {
                            sums[f][v] = simd.mul_add_e_f32s(weights[v], x[v], sums[f][v]);
                        }
                    }
                }
            }
            for (f, sums) in sums.iter().enumerate() {
                let mut made = [0.0; LANES];
                let (vectors, _) = S::as_mut_simd_f32s(&mut made);
                vectors.copy_from_slice(sums);
                let count = LANES.min(new - lanes).min(output.len() - (f * new + lanes));
                match output[f * new + lanes..][..count].as_chunks_mut::<LANES>() {
                    // Most often; other lengths are moved by a call.
                    ([output], _) => *output = made,
                    (_, output) => output.copy_from_slice(&made[..count]),
                }
            }
        }
        F
    }
}

/// Sorts `input[begin..]` by place modulo `stride` into as many planes, zeros where there is no input. `line` has room for one
/// element of each plane.
#[inline(always)]
fn sort(planes: &mut [f32], input: &[f32], begin: isize, stride: usize, line: &mut [f32]) {
    let plane = planes.len() / stride;
    let inside = |row: usize| {
        let first = begin + (row * stride) as isize;
        (first >= 0).then(|| input.get(first as usize..)).flatten()
    };
    // Rows that lie wholly inside, if any, are the middle ones.
    let head = ((-begin).max(0) as usize).div_ceil(stride).min(plane);
    let whole = inside(head).map_or(0, |rest| (rest.len() / stride).min(plane - head));
    if let Some(rows) = inside(head).filter(|_| whole > 0) {
        match stride {
            1 => planes[head..head + whole].copy_from_slice(&rows[..whole]),
            2 => sort_rows::<2>(planes, plane, head, &rows[..whole * 2]),
            3 => sort_rows::<3>(planes, plane, head, &rows[..whole * 3]),
            4 => sort_rows::<4>(planes, plane, head, &rows[..whole * 4]),
            _ => {
                for (remainder, to) in planes.chunks_exact_mut(plane).enumerate() {
                    let from = rows[remainder..].iter().step_by(stride);
                    to[head..head + whole].iter_mut().zip(from).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }
    for row in (0..head).chain(head + whole..plane) {
        fill_edge(line, input, begin + (row * stride) as isize);
        line.iter().enumerate().for_each(|(remainder, &x)| planes[remainder * plane + row] = x);
    }
}

/// A stride that the compiler knows it turns into vectors.
#[inline(always)]
fn sort_rows<const STRIDE: usize>(planes: &mut [f32], plane: usize, head: usize, rows: &[f32]) {
    let mut to: [&mut [f32]; STRIDE] = std::array::from_fn(|_| Default::default());
    for (to, plane) in to.iter_mut().zip(planes.chunks_exact_mut(plane)) {
        *to = &mut plane[head..head + rows.len() / STRIDE];
    }
    for (i, row) in rows.as_chunks::<STRIDE>().0.iter().enumerate() {
        for (to, &x) in to.iter_mut().zip(row) {
            to[i] = x;
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
