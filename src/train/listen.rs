//! Long recordings and streams: windows are inferred while the sound comes, and passages are told as soon as they are decided. Only what
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
/// The share of held pitches at either end of a passage that may be a noise's, and the seconds that it keeps beyond the others.
const STRAY: f64 = 0.02;
const MARGIN: f64 = 1.0;

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
        found.extend(self.sung(rest));
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
        let part = from - self.begin..(from + self.window).min(self.end()) - self.begin;
        let samples: Vec<Vec<f32>> = self.channels.iter().map(|all| all[part.clone()].to_vec()).collect();
        let seconds = |samples: usize| samples as f64 / f64::from(self.rate);
        let (start, end) = (seconds(from), seconds(from + part.len()));
        let outputs = predictor.model.header.outputs;
        let window = if samples.iter().all(|channel| is_silent(channel)) {
            WindowPrediction { start, end, probabilities: vec![0.0; outputs], in_distribution: 1.0 }
        } else {
            let clip = Clip::alone(Path::new(&self.name), samples);
            let inferred = predictor.windows(&clip, true)?.pop();
            let inferred = inferred.ok_or_else(|| Error::Data(format!("{}: no window was inferred", self.name)))?;
            WindowPrediction { start, end, ..inferred }
        };
        let most = |window: &WindowPrediction| window.probabilities.iter().copied().fold(0.0, f64::max);
        if self.surest.as_ref().is_none_or(|surest| surest.is_silent() || most(surest) < most(&window)) {
            self.surest = Some(window.clone());
        }
        let found = self.finder.push(window);
        let found = self.sung(found);
        // What neither a window nor a passage needs any more.
        let needed = ((self.finder.undecided_from() * f64::from(self.rate)) as usize).min(from);
        let done = needed.saturating_sub(self.begin);
        self.channels.iter_mut().for_each(|all| drop(all.drain(..done.min(all.len()))));
        self.begin += done;
        Ok(found)
    }

    /// Those of the passages that are of a song, and sung and not spoken, from where pitches are held to where they are.
    fn sung(&self, found: Vec<Passage>) -> Vec<Passage> {
        let found = found.into_iter().filter(|passage| !self.no_songs.get(passage.output).is_some_and(|&none| none));
        found.filter_map(|passage| self.sung_part(passage)).collect()
    }

    fn sung_part(&self, mut passage: Passage) -> Option<Passage> {
        if !passage.may_be_sung(self.how.threshold) {
            return None;
        }
        let sample = |seconds: f64| ((seconds * f64::from(self.rate)) as usize).saturating_sub(self.begin);
        let part = |channel: &Vec<f32>| {
            channel[sample(passage.start).min(channel.len())..sample(passage.end).min(channel.len())].to_vec()
        };
        let mix = channels::to_count(self.channels.iter().map(part).collect(), 1).swap_remove(0);
        let held = Held::of(&self.tracker.track(&mix));
        if !passage.is_sung(held.tunefulness(), self.how.threshold) {
            return None;
        }
        // Windows show more than the hum.
        if let Some((from, to)) = held.span(STRAY) {
            passage.end = passage.end.min(passage.start + to + MARGIN);
            passage.start = passage.start.max(passage.start + from - MARGIN);
        }
        (passage.end - passage.start >= self.how.least - 1e-6).then_some(passage)
    }
}
