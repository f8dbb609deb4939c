//! Embeddings of recordings and, by a synthetic singer, of songs without recordings, so that the two can be compared.
//!
//! A synthetic singer sings the song, and what the network's last layer makes of that is the song's embedding. Embeddings are
//! measured from the middle of the songs that the base model was made with, in the shape of those songs' clouds ([`TrainingDistribution`]), and
//! scaled to length 1, so that the product of two is the cosine of the angle between them.

use super::base;
use super::distribution::TrainingDistribution;
use super::predict::{Predictor, mean_vector};
use super::recipe::Recipe;
use crate::audio::Audio;
use crate::data::Clip;
use crate::data::synth::{self, Channels, Plan, Singer, Style, Tune};
use crate::device::{Device, DeviceChoice};
use crate::melody::song::Song;
use crate::{Error, Result};
use std::path::Path;

/// Songs that are sung at a time: enough for all cores, little in memory.
pub(super) const AT_ONCE: usize = 64;

/// See the top of this file.
pub struct Embedder {
    predictor: Predictor,
    distribution: TrainingDistribution,
    /// The middle of the base model's songs.
    centre: Vec<f32>,
}

impl Embedder {
    /// With the base model, on the CPU.
    ///
    /// # Errors
    /// As [`base::model`].
    pub fn new() -> Result<Self> {
        let path = Path::new(base::PATH);
        let device = Device::choose_for_little(DeviceChoice::Auto)?;
        let predictor = Predictor::new(base::model()?, path, &device)?;
        let distribution = predictor.model.distribution.clone();
        let distribution = distribution.ok_or_else(|| Error::file(path, "does not say where its songs lie"))?;
        let centre = distribution.centre();
        Ok(Self { predictor, distribution, centre })
    }

    /// Of the beginning of a recording, as much of it as one window of the model holds; nothing where that is silent.
    ///
    /// # Errors
    /// Where its rate is out of range.
    pub fn recording(&mut self, audio: Audio) -> Result<Option<Vec<f32>>> {
        let audio = audio.resampled(self.predictor.model.header.front_end.sample_rate)?;
        self.clip(&Clip::alone(Path::new("a recording"), audio.channels))
    }

    /// As much of a recording as [`Embedder::recording`] uses: its first seconds.
    pub fn beginning(audio: &Audio) -> Audio {
        let front_end = Recipe::Melody.front_end();
        let seconds = front_end.window as f64 / f64::from(front_end.sample_rate);
        let most = (seconds * f64::from(audio.sample_rate)).ceil() as usize + 1;
        let channels = audio.channels.iter().map(|channel| channel[..channel.len().min(most)].to_vec()).collect();
        Audio { channels, sample_rate: audio.sample_rate, warnings: Vec::new() }
    }

    /// The embeddings of songs, sung from the beginning; `done` receives the number of songs that were done since the last call. How a
    /// song is sung depends on its id and its notes alone. A song without an audible note has no embedding.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn songs(&mut self, songs: &[Song], mut done: impl FnMut(usize)) -> Result<Vec<Option<Vec<f32>>>> {
        let front_end = &self.predictor.model.header.front_end;
        let options = synth::Options {
            seconds: front_end.window as f64 / f64::from(front_end.sample_rate),
            rate: front_end.sample_rate,
            channels: Channels::Mono,
            anywhere: 0.0,
            ..synth::Options::default()
        };
        let mut embeddings = Vec::with_capacity(songs.len());
        for songs in songs.chunks(AT_ONCE) {
            let tunes: Vec<Tune> = songs.iter().map(|song| Tune::of_song(song, song.id.clone())).collect();
            let plan = |tune| Plan { tune, person: options.first_person, style: Style::Hum, take: 1 };
            let plans: Vec<Plan<'_>> = tunes.iter().map(plan).collect();
            let sung = synth::clips_by(&plans, &options, |person| Singer::new(options.seed, person))?;
            for (song, channels) in songs.iter().zip(sung) {
                embeddings.push(self.clip(&Clip::alone(Path::new(&song.id), channels))?);
            }
            done(songs.len());
        }
        Ok(embeddings)
    }

    fn clip(&mut self, clip: &Clip) -> Result<Option<Vec<f32>>> {
        let windows = self.predictor.vectors(clip, true)?;
        if windows.iter().all(|window| window.silent) {
            return Ok(None);
        }
        let direction = self.distribution.whitened(&mean_vector(&windows), &self.centre);
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let unit = || direction.iter().map(|x| (x / length) as f32).collect();
        Ok((length > 0.0 && length.is_finite()).then(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::notes::SungNote;

    fn song(id: &str, midi: &[i32]) -> Result<Song> {
        let note =
            |(i, &m): (usize, &i32)| SungNote { start: 0.5 * i as f64, end: 0.5 * i as f64 + 0.5, midi: m.into() };
        Song::new(id, "", 120.0, midi.iter().enumerate().map(note).collect(), &[]).map_err(Error::Data)
    }

    #[test]
    fn a_song_is_nearest_to_itself_in_another_key_and_silence_is_like_nothing() -> Result<()> {
        let one = [60, 60, 67, 67, 69, 69, 67, 67, 65, 65, 64, 64, 62, 62, 60, 60];
        let other = [72, 71, 69, 67, 65, 64, 62, 60, 62, 64, 65, 67, 69, 71, 72, 72];
        let higher = one.map(|m| m + 5);
        let mut embedder = Embedder::new()?;
        let mut told = 0;
        let songs = [song("one", &one)?, song("higher", &higher)?, song("other", &other)?];
        let made = embedder.songs(&songs, |more| told += more)?;
        let [Some(one), Some(higher), Some(other)] = &made[..] else { panic!("{made:?}") };
        let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((cosine(one, one) - 1.0).abs() < 1e-5 && told == 3);
        assert!(cosine(one, higher) > 0.5 && cosine(one, higher) > cosine(one, other) + 0.3);
        let silence = Audio { channels: vec![vec![0.0; 44_100]], sample_rate: 44_100, warnings: vec![] };
        assert_eq!(embedder.recording(silence)?, None);
        Ok(())
    }
}
