//! The pitch of one voice over time.
//!
//! Every frame's autocorrelation, divided by that of the window, has a maximum near each period at which the sound repeats
//! itself; the maxima are the frame's candidates. Which of them is the pitch is decided for all frames together, by the
//! cheapest path through them (Viterbi), since voices do not jump by octaves from one hundredth of a second to the next.
//! The method is that of P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
//! ratio of a sampled sound", Proceedings of the Institute of Phonetic Sciences 17, Amsterdam 1993.

use super::hz_to_midi;
use crate::audio::resample::Resampler;
use crate::audio::window::hann_periodic;
use crate::{Error, Result};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlannerScalar};
use std::sync::Arc;

/// What a [`PitchTracker`] looks for. The costs are in units of periodicity (1 for a sound that repeats itself exactly).
#[derive(Clone, Debug, PartialEq)]
pub struct PitchOptions {
    /// Lowest pitch in Hz: a deep voice. The window holds three of its periods.
    pub floor: f64,
    /// Highest pitch in Hz: a whistle. At most [`INNER_RATE`] / 2.5.
    pub ceiling: f64,
    /// Seconds from one frame to the next.
    pub hop: f64,
    /// A frame whose best periodicity is below this has no pitch.
    pub voicing: f64,
    /// A frame whose peak is below this share of the recording's loud frames has no pitch.
    pub silence: f64,
    /// What an octave up is worth: prefers the highest of the candidates that fit alike.
    pub octave: f64,
    /// What a jump of an octave costs, for frames 10 ms apart.
    pub jump: f64,
    /// What beginning or ending a voiced stretch costs, for frames 10 ms apart.
    pub onset: f64,
}

impl Default for PitchOptions {
    /// From 70 Hz to 3 000 Hz every 10 ms, with Boersma's costs, but for those of octaves: what is sung leaps less than what is spoken.
    fn default() -> Self {
        Self {
            floor: 70.0,
            ceiling: 3000.0,
            hop: 0.01,
            voicing: 0.45,
            silence: 0.03,
            octave: 0.025,
            jump: 1.5,
            onset: 0.14,
        }
    }
}

/// One moment of a [`Contour`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PitchFrame {
    /// Fundamental frequency in Hz; `None` where nothing is sung.
    pub hz: Option<f64>,
    /// How well the sound repeats itself at that period, 0 to 1; where there is no pitch, at the best period.
    pub periodicity: f64,
    /// Largest absolute sample of the frame.
    pub peak: f64,
}

impl PitchFrame {
    /// The pitch as a MIDI note number with its fraction.
    pub fn midi(&self) -> Option<f64> {
        self.hz.map(hz_to_midi)
    }
}

/// The pitch over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Contour {
    /// Seconds from one frame to the next; frame `i` is centred at `i * hop`.
    pub hop: f64,
    /// The frames, from the beginning of the recording to its end.
    pub frames: Vec<PitchFrame>,
}

/// The sample rate in Hz at which pitch is looked for; recordings are resampled to it.
pub const INNER_RATE: u32 = 8000;

/// How many times finer than the samples the autocorrelation is interpolated, by zeros behind its spectrum.
const FINER: usize = 4;

/// Most candidates of a frame besides "no pitch".
const CANDIDATES: usize = 14;

/// Finds the pitch of recordings of one sample rate.
pub struct PitchTracker {
    options: PitchOptions,
    resampler: Option<Arc<Resampler>>,
    window: Vec<f32>,
    /// The window's own autocorrelation at the finer lags, 1 at lag 0.
    window_correlation: Vec<f32>,
    forward: Arc<dyn Fft<f32>>,
    back: Arc<dyn Fft<f32>>,
}

/// One period at which a frame may repeat itself.
#[derive(Clone, Copy)]
struct Candidate {
    hz: Option<f64>,
    periodicity: f64,
    /// What the path gains by it.
    strength: f64,
}

impl PitchTracker {
    /// A tracker for recordings of `rate` samples a second.
    ///
    /// # Errors
    /// [`Error::Value`] for an option out of range; a `rate` that cannot be resampled.
    pub fn new(rate: u32, options: PitchOptions) -> Result<Self> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| Error::value(name, format!("{value} is not from {low} to {high}")))
        };
        within("floor", options.floor, 30.0, 1000.0)?;
        within("ceiling", options.ceiling, options.floor * 2.0, f64::from(INNER_RATE) / 2.5)?;
        within("hop", options.hop, 0.001, 0.1)?;
        within("voicing", options.voicing, 0.0, 1.0)?;
        within("silence", options.silence, 0.0, 1.0)?;
        for (name, cost) in [("octave", options.octave), ("jump", options.jump), ("onset", options.onset)] {
            within(name, cost, 0.0, 10.0)?;
        }
        let resampler = if rate == INNER_RATE { None } else { Some(Resampler::shared(rate, INNER_RATE)?) };
        let length = (3.0 * f64::from(INNER_RATE) / options.floor).ceil() as usize;
        let window: Vec<f32> = hann_periodic(length).into_iter().map(|w| w as f32).collect();
        // Half a window of zeros behind it, so that no lag up to there wraps around.
        let size = (length + length / 2).next_power_of_two();
        let mut planner = FftPlannerScalar::new();
        let (forward, back) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size * FINER));
        let mut tracker = Self { options, resampler, window, window_correlation: Vec::new(), forward, back };
        let ones = vec![1.0; length];
        tracker.window_correlation = tracker.correlation(&ones, 0.0);
        Ok(tracker)
    }

    /// The pitch of one channel of samples. Samples that are no finite numbers count as silence.
    pub fn track(&self, samples: &[f32]) -> Contour {
        let finite = |x: &f32| if x.is_finite() { *x } else { 0.0 };
        let samples: Vec<f32> = samples.iter().map(finite).collect();
        let samples = match &self.resampler {
            Some(resampler) => resampler.run(&samples),
            None => samples,
        };
        let step = self.options.hop * f64::from(INNER_RATE);
        let count = if samples.is_empty() { 0 } else { (samples.len() as f64 / step) as usize + 1 };
        // Cut out twice rather than kept: frames overlap, and an hour of them would be half a gigabyte.
        let frame = |i: usize| self.frame(&samples, (i as f64 * step) as usize);
        let peaks: Vec<f64> = (0..count).map(|i| peak(&frame(i))).collect();
        // Not the very loudest: a click would silence the rest.
        let mut sorted = peaks.clone();
        sorted.sort_by(f64::total_cmp);
        let loud = sorted.get(sorted.len() * 19 / 20).copied().unwrap_or(0.0);
        let candidates: Vec<Vec<Candidate>> =
            peaks.iter().enumerate().map(|(i, &peak)| self.candidates(&frame(i), peak, loud)).collect();
        let path = self.cheapest(&candidates);
        let frames = candidates.iter().zip(path).zip(peaks).map(|((of_frame, chosen), peak)| {
            let Candidate { hz, periodicity, .. } = of_frame[chosen];
            PitchFrame { hz, periodicity, peak }
        });
        let frames = frames.collect();
        Contour { hop: self.options.hop, frames }
    }

    /// A window's length of samples around `centre`, zeros where the recording has none.
    fn frame(&self, samples: &[f32], centre: usize) -> Vec<f32> {
        let length = self.window.len();
        let at = |i: usize| (centre + i).checked_sub(length / 2).and_then(|i| samples.get(i)).copied().unwrap_or(0.0);
        (0..length).map(at).collect()
    }

    /// The autocorrelation of `frame` less `mean`, windowed, at every `1 / FINER` of a sample up to half a window; 1 at lag 0, or
    /// all zeros for silence.
    fn correlation(&self, frame: &[f32], mean: f32) -> Vec<f32> {
        let zero = Complex::new(0.0, 0.0);
        let size = self.forward.len();
        let mut spectrum = vec![zero; size * FINER];
        for ((to, &x), &w) in spectrum.iter_mut().zip(frame).zip(&self.window) {
            to.re = (x - mean) * w;
        }
        self.forward.process(&mut spectrum[..size]);
        // Powers belong at both ends of the longer spectrum, zeros between them.
        let powers: Vec<f32> = spectrum[..size].iter().map(Complex::norm_sqr).collect();
        spectrum.fill(zero);
        for k in 0..size / 2 {
            spectrum[k].re = powers[k];
            if k > 0 {
                spectrum[size * FINER - k].re = powers[k];
            }
        }
        self.back.process(&mut spectrum);
        let lags = self.window.len() / 2 * FINER;
        let total = spectrum[0].re;
        let scale = if total > 0.0 { total.recip() } else { 0.0 };
        spectrum[..lags].iter().map(|c| c.re * scale).collect()
    }

    fn candidates(&self, frame: &[f32], peak: f64, loud: f64) -> Vec<Candidate> {
        let options = &self.options;
        let rate = f64::from(INNER_RATE) * FINER as f64;
        let mean = frame.iter().sum::<f32>() / frame.len() as f32;
        let mut found = Vec::new();
        if peak > 0.0 {
            let mut correlation = self.correlation(frame, mean);
            for (c, w) in correlation.iter_mut().zip(&self.window_correlation) {
                *c /= w.max(1e-6);
            }
            let last = ((rate / options.floor) as usize + 1).min(correlation.len() - 2);
            for lag in ((rate / options.ceiling) as usize).max(1)..=last {
                let [left, middle, right] = [lag - 1, lag, lag + 1].map(|i| f64::from(correlation[i]));
                if middle <= 0.3 * options.voicing || middle <= left || middle < right {
                    continue;
                }
                // The top of the parabola through the three.
                let (slope, bend) = ((right - left) / 2.0, left - 2.0 * middle + right);
                let hz = rate / (lag as f64 - slope / bend);
                let height = middle - slope * slope / (2.0 * bend);
                // What rises above 1 is the interpolation's fault; Boersma folds it back.
                let periodicity = if height > 1.0 { height.recip() } else { height };
                let strength = periodicity + options.octave * (hz / options.floor).log2();
                if (options.floor..=options.ceiling).contains(&hz) {
                    found.push(Candidate { hz: Some(hz), periodicity, strength });
                }
            }
        }
        found.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        found.truncate(CANDIDATES);
        let relative = if loud > 0.0 { peak / loud } else { 0.0 };
        let quiet = (2.0 - relative * (1.0 + options.voicing) / options.silence.max(1e-9)).max(0.0);
        let best = found.iter().map(|c| c.periodicity).fold(0.0, f64::max);
        found.push(Candidate { hz: None, periodicity: best, strength: options.voicing + quiet });
        found
    }

    /// For each frame the candidate on the path whose strengths less its costs are the most.
    fn cheapest(&self, frames: &[Vec<Candidate>]) -> Vec<usize> {
        let scale = 0.01 / self.options.hop;
        let cost = |from: &Candidate, to: &Candidate| match (from.hz, to.hz) {
            (None, None) => 0.0,
            (Some(a), Some(b)) => scale * self.options.jump * (a / b).log2().abs(),
            _ => scale * self.options.onset,
        };
        let mut scores: Vec<f64> = Vec::new();
        let mut came_from: Vec<Vec<usize>> = Vec::with_capacity(frames.len());
        for (t, frame) in frames.iter().enumerate() {
            let (mut next, mut from) = (Vec::with_capacity(frame.len()), Vec::with_capacity(frame.len()));
            for to in frame {
                let before = |(i, score): (usize, &f64)| (i, score - cost(&frames[t - 1][i], to));
                let (i, score) =
                    scores.iter().enumerate().map(before).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
                next.push(score + to.strength);
                from.push(i);
            }
            scores = next;
            came_from.push(from);
        }
        let last = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
        let mut path = vec![last; frames.len()];
        for t in (1..frames.len()).rev() {
            path[t - 1] = came_from[t][path[t]];
        }
        path
    }
}

fn peak(frame: &[f32]) -> f64 {
    f64::from(frame.iter().fold(0.0, |most: f32, x| most.max(x.abs())))
}
