//! Long recordings and streams: windows are inferred while the sound comes, and passages are reported as soon as they are decided. Only what
//! the open passage needs is held in memory.

use super::passages::{Passage, PassageFinder};
use super::predict::{Predictor, WindowPrediction};
use crate::audio::channels;
use crate::audio::faults::is_silent;
use crate::audio::stream::StreamResampler;
use crate::data::Clip;
use crate::data::nosong::is_none;
use crate::melody::pitch::{PitchOptions, PitchTracker};
use crate::melody::steady::Held;
use crate::{Error, Result};
use std::path::Path;

/// Seconds from one pitch of a passage to the next: half as many as elsewhere tell as well whether it is sung.
const HOP: f64 = 0.02;
/// Seconds that a passage keeps before its first held pitch and after its last.
const MARGIN: f64 = 0.5;

/// How passages are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listening {
    /// The part of a window that the next one shows again, from 0 to below 1.
    pub overlap: f64,
    /// Seconds of the shortest passage.
    pub least: f64,
    /// The confidence below which a single window names no song.
    pub threshold: f64,
}

/// Listens to sound that comes piece by piece.
pub struct Listener {
    name: String,
    how: Listening,
    finder: PassageFinder,
    resampler: StreamResampler,
    tracker: PitchTracker,
    rate: u32,
    /// Samples of a window, and from one to the next.
    window: usize,
    hop: usize,
    /// The sound at the model's rate, from sample `begin` of the recording on.
    channels: Vec<Vec<f32>>,
    begin: usize,
    /// Where the next window begins.
    next: usize,
    /// Outputs that are examples of no song.
    no_songs: Vec<bool>,
    /// The surest answer of all windows: its probabilities, and whether it is in distribution.
    surest: Option<WindowPrediction>,
}

impl Listener {
    /// For sound of this rate (Hz); `name` is for messages.
    ///
    /// # Errors
    /// Where the rate is out of range.
    pub fn new(predictor: &Predictor, name: &Path, sample_rate: u32, how: Listening) -> Result<Self> {
        let front_end = &predictor.model.header.front_end;
        let hop = (front_end.window as f64 * (1.0 - how.overlap)).round() as usize;
        Ok(Self {
            name: name.display().to_string(),
            how,
            finder: PassageFinder::new(how.threshold, how.least),
            resampler: StreamResampler::new(sample_rate, front_end.sample_rate)?,
            tracker: PitchTracker::new(front_end.sample_rate, PitchOptions { hop: HOP, ..PitchOptions::default() })?,
            rate: front_end.sample_rate,
            window: front_end.window,
            hop: hop.clamp(1, front_end.window),
            channels: Vec::new(),
            begin: 0,
            next: 0,
            no_songs: predictor.model.header.names().iter().map(|name| is_none(name)).collect(),
            surest: None,
        })
    }

    /// Takes sound, all channels of one length and as many as before; the passages that are decided by it.
    ///
    /// # Errors
    /// Where the device fails, or the model's scores are not finite.
    pub fn push(&mut self, predictor: &mut Predictor, channels: Vec<Vec<f32>>) -> Result<Vec<Passage>> {
        self.take(channels, false);
        let mut found = Vec::new();
        while self.end() >= self.next + self.window {
            found.extend(self.infer(predictor, self.next)?);
            self.next += self.hop;
        }
        Ok(found)
    }

    /// The passages that are left where the sound ends.
    ///
    /// # Errors
    /// As [`Listener::push`].
    pub fn finish(&mut self, predictor: &mut Predictor) -> Result<Vec<Passage>> {
        let silent = vec![Vec::new(); self.channels.len().max(1)];
        let mut found = self.push(predictor, silent.clone())?;
        self.take(silent, true);
        // The last window ends where the sound does, unless it would nearly repeat the one before it.
        let covered_to = if self.next == 0 { 0 } else { self.next - self.hop + self.window };
        if self.end() > covered_to + if covered_to > 0 { self.hop / 8 } else { 0 } {
            let last = self.end().saturating_sub(self.window).max(self.begin);
            found.extend(self.infer(predictor, last)?);
        }
        let rest = self.finder.finish();
        found.extend(self.sung(predictor, rest, self.end())?);
        Ok(found)
    }

    /// Seconds of sound so far.
    pub fn seconds(&self) -> f64 {
        self.end() as f64 / f64::from(self.rate)
    }

    /// Seconds from the start before which nothing belongs to a passage to come.
    pub fn undecided_from(&self) -> f64 {
        self.finder.undecided_from()
    }

    /// What the window says that is surest of a song; none where there was no window.
    pub fn surest(&self) -> Option<&WindowPrediction> {
        self.surest.as_ref()
    }

    fn end(&self) -> usize {
        self.begin + self.channels.first().map_or(0, Vec::len)
    }

    fn take(&mut self, channels: Vec<Vec<f32>>, last: bool) {
        let channels = self.resampler.push(channels, last);
        if self.channels.is_empty() {
            self.channels = vec![Vec::new(); channels.len()];
        }
        self.channels.iter_mut().zip(channels).for_each(|(all, new)| all.extend(new));
    }

    /// Infers the window that begins at this sample.
    fn infer(&mut self, predictor: &mut Predictor, from: usize) -> Result<Vec<Passage>> {
        let to = (from + self.window).min(self.end());
        let window = self.look(predictor, from, to)?;
        let most = |window: &WindowPrediction| window.probabilities.iter().copied().fold(0.0, f64::max);
        if self.surest.as_ref().is_none_or(|surest| surest.is_silent() || most(surest) < most(&window)) {
            self.surest = Some(window.clone());
        }
        let found = self.finder.push(window);
        let found = self.sung(predictor, found, to)?;
        // What neither a window nor a passage needs any more.
        let needed = ((self.finder.undecided_from() * f64::from(self.rate)) as usize).min(from);
        let done = needed.saturating_sub(self.begin);
        self.channels.iter_mut().for_each(|all| drop(all.drain(..done.min(all.len()))));
        self.begin += done;
        Ok(found)
    }

    /// What the model says of the sound from one sample to another, a window at most.
    fn look(&self, predictor: &mut Predictor, from: usize, to: usize) -> Result<WindowPrediction> {
        let part = from - self.begin..to - self.begin;
        let samples: Vec<Vec<f32>> = self.channels.iter().map(|all| all[part.clone()].to_vec()).collect();
        let seconds = |samples: usize| samples as f64 / f64::from(self.rate);
        let (start, end) = (seconds(from), seconds(to));
        let outputs = predictor.model.header.outputs;
        if samples.iter().all(|channel| is_silent(channel)) {
            return Ok(WindowPrediction { start, end, probabilities: vec![0.0; outputs], in_distribution: 1.0 });
        }
        let clip = Clip::alone(Path::new(&self.name), samples);
        let inferred = predictor.windows(&clip, true)?.pop();
        let inferred = inferred.ok_or_else(|| Error::Data(format!("{}: no window was inferred", self.name)))?;
        Ok(WindowPrediction { start, end, ..inferred })
    }

    /// What is sung in those of the passages that are of a song. Sound from sample `to` on is not looked at, so that the answer does not depend
    /// on how it comes.
    fn sung(&self, predictor: &mut Predictor, found: Vec<Passage>, to: usize) -> Result<Vec<Passage>> {
        let mut sung = Vec::new();
        for passage in found {
            if !self.no_songs.get(passage.output).is_some_and(|&none| none) {
                sung.extend(self.tunes(predictor, &passage, to)?);
            }
        }
        Ok(sung)
    }

    /// The tunes in a passage, each from where its pitches are held to where they are: the most tuneful one, and what else there is before it and
    /// after it. The windows show the first; another one is judged by the look at itself alone.
    fn tunes(&self, predictor: &mut Predictor, passage: &Passage, to: usize) -> Result<Vec<Passage>> {
        let (rate, threshold) = (f64::from(self.rate), self.how.threshold);
        let sample = |seconds: f64| ((seconds * rate) as usize).clamp(self.begin, to);
        let part = sample(passage.start) - self.begin..sample(passage.end) - self.begin;
        let mix: Vec<Vec<f32>> = self.channels.iter().map(|channel| channel[part.clone()].to_vec()).collect();
        let held = Held::of(&self.tracker.track(&channels::to_count(mix, 1).swap_remove(0)));
        let mut tunes = Vec::new();
        let mut left = vec![(0.0..passage.end - passage.start, *passage)];
        while let Some((within, shown)) = left.pop() {
            let Some(tune) = held.tune(within.clone(), self.window as f64 / rate) else { continue };
            // No look would be enough.
            if within.end - within.start < self.how.least - 1e-6 || !shown.is_sung(tune.tunefulness, 1.0, threshold) {
                continue;
            }
            let from = sample(passage.start + tune.best);
            let look = self.look(predictor, from, (from + self.window).min(to))?;
            let look = look.probabilities.get(passage.output).copied().unwrap_or(0.0);
            let first = tunes.is_empty();
            let shown = if first { shown } else { Passage { confidence: look, score: look, ..shown } };
            if !shown.is_sung(tune.tunefulness, look, threshold) {
                continue;
            }
            let (start, end) = (within.start.max(tune.start - MARGIN), within.end.min(tune.end + MARGIN));
            let rest = Passage { confidence: 1.0, score: 1.0, ..shown };
            left.extend([(within.start..start, rest), (end..within.end, rest)]);
            let (start, end) = (passage.start + start, passage.start + end);
            tunes.push(Passage { start, end, confidence: shown.confidence.max(look), ..shown });
        }
        tunes.retain(|tune| tune.end - tune.start >= self.how.least - 1e-6);
        tunes.sort_by(|a, b| a.start.total_cmp(&b.start));
        Ok(tunes)
    }
}
