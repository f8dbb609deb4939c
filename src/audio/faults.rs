//! What a recording can suffer from although its file is whole: silence, clipping, channels that cancel each other.

use super::Audio;

/// A recording whose samples stay within this of their mean is silence: 80 dB below full scale, about three steps of 16 bits.
pub const SILENCE: f32 = 1e-4;

/// Samples beyond this are no matter of rounding or of a decoder's overshoot: the file was written at another scale.
const TOO_LOUD: f32 = 4.0;

/// Below this peak, quantisation alone makes tops flat.
const LEAST_CLIPPED: f32 = 0.1;

/// Fewer samples than this share at the peak are no clipping.
const LEAST_SHARE: f64 = 0.005;

/// Two channels that correlate below this cancel each other when they are averaged.
const OPPOSITE: f64 = -0.9;

/// Of less than a twentieth of a second nothing can be said.
const LEAST_SECONDS: f64 = 0.05;

/// Names what is wrong with decoded sound, in its warnings, and turns round a second channel that is the first one inverted, for
/// the average of the two would be silence.
pub fn examine(audio: &mut Audio) {
    let mut scan = Scan::new(audio.sample_rate);
    scan.push(&audio.channels);
    let mut tops = scan.tops();
    tops.push(&audio.channels, true);
    let warnings = scan.warnings(&tops);
    if scan.opposite() {
        turn(&mut audio.channels);
    }
    audio.warnings.extend(warnings);
}

/// Turns round the second channel.
pub(super) fn turn(channels: &mut [Vec<f32>]) {
    if let [_, right] = channels {
        right.iter_mut().for_each(|x| *x = -*x);
    }
}

/// What is found out about sound that comes piece by piece, in a first pass over it.
pub(super) struct Scan {
    sample_rate: u32,
    /// Samples of each channel.
    frames: u64,
    ranges: Vec<Range>,
    likeness: Likeness,
}

impl Scan {
    pub fn new(sample_rate: u32) -> Self {
        Self { sample_rate, frames: 0, ranges: Vec::new(), likeness: Likeness::default() }
    }

    /// Whether it is too short to say anything of it.
    fn is_short(&self) -> bool {
        (self.frames as f64 / f64::from(self.sample_rate)) < LEAST_SECONDS
    }

    /// Takes the next samples of one or two channels.
    pub fn push(&mut self, channels: &[Vec<f32>]) {
        self.frames += channels.first().map_or(0, |channel| channel.len() as u64);
        self.ranges.resize_with(channels.len(), || Range { low: f32::INFINITY, high: f32::NEG_INFINITY });
        for (range, samples) in self.ranges.iter_mut().zip(channels) {
            let new = Range::of(samples);
            (range.low, range.high) = (range.low.min(new.low), range.high.max(new.high));
        }
        if let [left, right] = channels {
            self.likeness.push(left, right);
        }
    }

    /// Whether one of two channels is the other inverted.
    pub fn opposite(&self) -> bool {
        !self.is_short() && self.ranges.len() == 2 && self.likeness.correlation() < OPPOSITE
    }

    /// What is to be counted in a second pass.
    pub fn tops(&self) -> Tops {
        Tops { peaks: self.ranges.iter().map(Range::peak).collect(), ..Tops::default() }
    }

    /// What is wrong with it.
    pub fn warnings(&self, tops: &Tops) -> Vec<String> {
        if self.is_short() {
            return Vec::new();
        }
        let ranges = &self.ranges;
        let sides = ["left", "right"];
        let mut warnings = Vec::new();
        let silent: Vec<bool> = ranges.iter().map(Range::is_silent).collect();
        if silent.iter().all(|&silent| silent) {
            let one_value = ranges.iter().all(|range| range.low == range.high);
            let zero = ranges.iter().all(|range| range.low == 0.0 && range.high == 0.0);
            warnings.push(match ranges.first() {
                _ if zero => "is silent: every sample is 0".to_string(),
                Some(range) if one_value => format!("is silent: every sample has the one value {}", range.low),
                _ => {
                    let peak = ranges.iter().map(|range| range.high - range.low).fold(0.0, f32::max) / 2.0;
                    format!("is silent: its peak is {:.0} dB below full scale", -20.0 * peak.log10())
                }
            });
        } else if let (2, Some(side)) = (silent.len(), silent.iter().position(|&silent| silent)) {
            warnings.push(format!("its {} channel is silent", sides[side]));
        }
        let peak = ranges.iter().map(Range::peak).fold(0.0, f32::max);
        if peak > TOO_LOUD {
            warnings.push(format!("its peak is {peak:.0} times full scale; samples should be between -1 and 1"));
        }
        let clipped = tops.clipped();
        if clipped > 0.0 {
            warnings.push(format!(
                "is clipped: {:.1} % of its samples lie at the peak of {:.2}; record it at a lower level",
                100.0 * clipped,
                peak
            ));
        }
        if self.opposite() {
            warnings.push(
                "its channels are out of phase (one is the other inverted) and would cancel each other; the right one \
                 was turned round"
                    .into(),
            );
        }
        warnings
    }
}

/// Whether these samples are silent, whatever their mean: see [`SILENCE`].
pub fn is_silent(samples: &[f32]) -> bool {
    Range::of(samples).is_silent()
}

/// The smallest and the largest sample.
struct Range {
    low: f32,
    high: f32,
}

impl Range {
    fn of(samples: &[f32]) -> Self {
        // Many lanes, which the compiler turns into vectors.
        let (mut low, mut high) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16]);
        let (chunks, rest) = samples.as_chunks::<16>();
        for chunk in chunks {
            for ((low, high), &x) in low.iter_mut().zip(&mut high).zip(chunk) {
                *low = if x < *low { x } else { *low };
                *high = if x > *high { x } else { *high };
            }
        }
        let all = |lanes: [f32; 16], pick: fn(f32, f32) -> f32| lanes.iter().chain(rest).copied().fold(lanes[0], pick);
        Self { low: all(low, f32::min), high: all(high, f32::max) }
    }

    fn is_silent(&self) -> bool {
        // Also where there are no samples.
        self.high - self.low <= 2.0 * SILENCE || self.low > self.high
    }

    fn peak(&self) -> f32 {
        self.high.max(-self.low)
    }
}

/// How many samples lie at the extremes, and just below them. Where a converter, or arithmetic, cuts off what is too loud, many samples
/// are at the extreme and few just below it; a sine, which has the flattest top of what is not cut off, has at most as many.
#[derive(Default)]
pub(super) struct Tops {
    /// Of each channel.
    peaks: Vec<f32>,
    /// Samples of each channel, and of them those at the peak and those near it.
    frames: u64,
    highest: [u64; 2],
    near: [u64; 2],
}

impl Tops {
    /// Takes the next samples of one or two channels, or `all` of them, which can save a second look.
    pub fn push(&mut self, channels: &[Vec<f32>], all: bool) {
        self.frames += channels.first().map_or(0, |channel| channel.len() as u64);
        for (channel, (samples, &peak)) in channels.iter().zip(&self.peaks).enumerate().take(2) {
            if peak < LEAST_CLIPPED {
                continue;
            }
            let count = |least: f32| -> u64 {
                let part = |part: &[f32]| u64::from(part.iter().map(|x| u32::from(x.abs() >= least)).sum::<u32>());
                samples.chunks(1 << 16).map(part).sum()
            };
            let highest = count(peak * 0.999);
            self.highest[channel] += highest;
            if all && share_of(highest, samples.len() as u64) < LEAST_SHARE {
                continue;
            }
            self.near[channel] += count(peak * 0.9) - highest;
        }
    }

    /// The largest share of samples at the extremes, 0 where no more lie there than other sound has.
    fn clipped(&self) -> f64 {
        let share = |(&highest, &near): (&u64, &u64)| {
            let share = share_of(highest, self.frames);
            let many = share >= LEAST_SHARE && highest >= 20 && highest as f64 > 1.5 * near as f64;
            if many { share } else { 0.0 }
        };
        self.highest.iter().zip(&self.near).map(share).fold(0.0, f64::max)
    }
}

fn share_of(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// How alike two channels are.
#[derive(Default)]
struct Likeness {
    sums: [f64; 2],
    products: [f64; 3],
    count: usize,
}

impl Likeness {
    fn push(&mut self, left: &[f32], right: &[f32]) {
        let Self { sums, products, count } = self;
        // Blocks in f32 are exact enough, and quick.
        for (left, right) in left.chunks(1024).zip(right.chunks(1024)) {
            let (mut l, mut r, mut ll, mut rr, mut lr) =
                ([0.0f32; 8], [0.0f32; 8], [0.0f32; 8], [0.0f32; 8], [0.0f32; 8]);
            for (left, right) in left.chunks(8).zip(right.chunks(8)) {
                for (i, (&x, &y)) in left.iter().zip(right).enumerate() {
                    l[i] += x;
                    r[i] += y;
                    ll[i] += x * x;
                    rr[i] += y * y;
                    lr[i] += x * y;
                }
            }
            let sum = |lanes: [f32; 8]| lanes.iter().map(|&x| f64::from(x)).sum::<f64>();
            *sums = [sums[0] + sum(l), sums[1] + sum(r)];
            *products = [products[0] + sum(ll), products[1] + sum(rr), products[2] + sum(lr)];
        }
        *count += left.len().min(right.len());
    }

    /// From -1 (one is the other inverted) to 1; 0 where one of them is constant.
    fn correlation(&self) -> f64 {
        let Self { sums, products, .. } = self;
        let count = self.count.max(1) as f64;
        let [left, right, both] = [
            products[0] - sums[0] * sums[0] / count,
            products[1] - sums[1] * sums[1] / count,
            products[2] - sums[0] * sums[1] / count,
        ];
        let scale = (left.max(0.0) * right.max(0.0)).sqrt();
        if scale > count * f64::from(SILENCE).powi(2) { both / scale } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(amplitude: f32, steps: f32) -> Vec<f32> {
        (0..8_000).map(|t| ((t as f32 * 0.17).sin() * amplitude * steps).round() / steps).collect()
    }

    fn told(channels: Vec<Vec<f32>>) -> (Vec<Vec<f32>>, String) {
        let mut audio = Audio { channels, sample_rate: 8_000, warnings: vec![] };
        examine(&mut audio);
        (audio.channels, audio.warnings.join("; "))
    }

    #[test]
    fn sound_as_it_should_be_passes() {
        let (a, b) = (sine(0.4, 32_768.0), sine(0.9, 32_768.0).iter().map(|x| x * x - 0.2).collect::<Vec<_>>());
        let noise: Vec<f32> =
            (0..9_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect();
        for channels in [
            vec![a.clone()],
            vec![a.clone(), a.clone()],
            vec![a.clone(), b],
            // Eight bits, loud and soft; the top of a soft one is flat from quantisation.
            vec![sine(0.9, 128.0)],
            vec![sine(0.2, 128.0)],
            vec![sine(0.05, 128.0)],
            // A phone far away.
            vec![sine(0.002, 32_768.0)],
            vec![sine(1.0, 32_767.0)],
            vec![noise],
        ] {
            assert_eq!(told(channels.clone()), (channels, String::new()));
        }
    }

    #[test]
    fn silence_is_told() {
        for (channels, words) in [
            (vec![vec![0.0; 1_000]], "every sample is 0"),
            (vec![vec![0.25; 1_000]; 2], "one value 0.25"),
            (vec![sine(0.00006, 32_768.0)], "silent: its peak is 84 dB below"),
            (vec![sine(0.00006, 32_768.0).iter().map(|x| x + 0.3).collect()], "silent: its peak is 84 dB below"),
            (vec![sine(0.4, 32_768.0), vec![0.0; 8_000]], "its right channel is silent"),
            (vec![sine(20_000.0, 1.0)], "20000 times full scale"),
        ] {
            let (kept, told) = told(channels.clone());
            assert!(told.contains(words) && kept == channels, "{told}");
        }
        assert!(is_silent(&[]) && is_silent(&[0.5; 9]) && !is_silent(&[0.5, 0.4]));
    }

    #[test]
    fn clipping_is_told() {
        for (gain, at) in [(1.3, 1.0), (3.0, 1.0), (10.0, 0.5)] {
            let cut: Vec<f32> = sine(gain * at, 32_768.0).iter().map(|x: &f32| x.clamp(-at, at)).collect();
            let (_, told) = told(vec![cut]);
            assert!(told.contains("is clipped") && told.contains(&format!("peak of {at:.2}")), "{gain}: {told}");
        }
    }

    #[test]
    fn opposite_channels_are_turned_round() {
        let left: Vec<f32> = sine(0.4, 32_768.0).iter().map(|x| x + 0.05).collect();
        // Less loud, with an offset of the other sign, and a little noise.
        let right: Vec<f32> = left.iter().enumerate().map(|(t, x)| 0.1 - 0.7 * x + (t % 7) as f32 * 0.003).collect();
        let (turned, told) = told(vec![left.clone(), right.clone()]);
        assert!(told.contains("out of phase"), "{told}");
        assert_eq!(turned[0], left);
        assert!(turned[1].iter().zip(&right).all(|(a, b)| *a == -b));
    }
}
