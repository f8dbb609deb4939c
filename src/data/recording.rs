//! Data sets out of recordings that a program has, instead of a folder or a table: samples in memory, or files one by one.

use super::dataset::{Clip, Dataset, LoadOptions};
use super::reader::Reader;
use super::samples::{Arena, Samples};
use super::{alike, dataset::progress_bar};
use crate::audio::Audio;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a recording's sound is.
#[derive(Clone, Debug, PartialEq)]
pub enum Sound {
    /// In a file of any kind that is read.
    File(PathBuf),
    /// Here: see [`Audio::of_samples`].
    Samples(Audio),
}

/// A recording with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Its name, no other recording's. In order of these, clips are numbered: see [`Dataset::clips`].
    pub id: String,
    /// Its sound.
    pub sound: Sound,
    /// The song.
    pub song: String,
    /// Who sings, where that is known.
    pub person: Option<String>,
}

impl Sound {
    /// The sound at [`LoadOptions::sample_rate`], no more than [`LoadOptions::most_samples`] of it.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn load(&self, options: &LoadOptions) -> Result<Audio> {
        match self {
            Self::File(path) => super::reader::load_file(path, options),
            Self::Samples(audio) => {
                let mut audio = audio.clone().resampled(options.sample_rate)?;
                if let Some(most) = options.most_samples {
                    audio.channels.iter_mut().for_each(|channel| channel.truncate(most.max(1)));
                }
                Ok(audio)
            }
        }
    }

    /// Where it lies; of samples in memory, their name.
    fn path(&self, id: &str) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Samples(_) => PathBuf::from(id),
        }
    }
}

impl Dataset {
    /// A data set of these recordings, read and resampled on all cores. None is left out: one that cannot be read is an error.
    /// Where `stop` is set meanwhile, no further one is read.
    ///
    /// # Errors
    /// Where there is none, two have one name, one cannot be read, or it was stopped.
    pub fn of_recordings(recordings: Vec<Recording>, options: &LoadOptions, stop: &AtomicBool) -> Result<Self> {
        if recordings.is_empty() {
            return Err(Error::Data("there are no recordings".into()));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = recordings.iter().find(|recording| !ids.insert(&recording.id)) {
            return Err(Error::Data(format!("two recordings have the name {}", twice.id)));
        }
        let bar = progress_bar(recordings.len(), "reading recordings", options.progress);
        let arena = Arena::default();
        let read = |reader: &mut Reader, recording: &Recording| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Data("stopped while recordings were read".into()));
            }
            let put = |audio: &Audio| {
                let path = recording.sound.path(&recording.id);
                let span = arena.put(&audio.channels).ok_or_else(|| super::load::no_memory(&path, audio))?;
                Ok((span, audio.warnings.clone()))
            };
            let placed = match &recording.sound {
                Sound::File(path) => put(reader.read(path, None, options)?),
                sound @ Sound::Samples(_) => put(&sound.load(options)?),
            };
            bar.inc(1);
            placed
        };
        let placed: Vec<_> = recordings.par_iter().map_init(Reader::default, read).collect::<Result<_>>()?;
        bar.finish_and_clear();
        let classes: BTreeSet<&String> = recordings.iter().map(|recording| &recording.song).collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let (spans, told): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        let mut warnings: Vec<String> = (recordings.iter().zip(told))
            .flat_map(|(recording, told)| told.into_iter().map(|text| format!("{}: {text}", recording.id)))
            .collect();
        let clip = |(recording, samples): (Recording, _)| Clip {
            path: recording.sound.path(&recording.id),
            label: classes.partition_point(|class| *class < recording.song),
            id: recording.id,
            samples,
            stretch: None,
            person: recording.person,
            columns: BTreeMap::new(),
        };
        let mut clips: Vec<Clip> =
            recordings.into_iter().zip(Samples::lying_in(&arena.close(), spans)).map(clip).collect();
        clips.sort_by(|a, b| a.id.cmp(&b.id));
        for equal in alike::equal_sounds(&clips) {
            let names: Vec<_> = equal.iter().map(|&i| (&*clips[i].id, &*classes[clips[i].label])).collect();
            warnings.push(alike::same_recording(&names));
        }
        let labels_from = "the program that asked".into();
        Ok(Self { clips, classes, sample_rate: options.sample_rate, warnings, labels_from, ..Self::default() })
    }
}

impl Audio {
    /// Sound that a program has: `channels` of one length, samples between -1 and 1. More than two channels are mixed to two, and
    /// what a recording can suffer from ([`crate::audio::faults`]) is among its warnings, as of one that is read from a file.
    ///
    /// # Errors
    /// Where there are no samples, channels differ in length, a sample is not finite, or the rate is outside
    /// [`crate::audio::resample::RATES`]. `name` is for the message.
    pub fn of_samples(channels: Vec<Vec<f32>>, sample_rate: u32, name: &str) -> Result<Self> {
        use crate::audio::{channels::at_most_two, faults, resample::RATES};
        let refuse = |detail: String| Err(Error::file(Path::new(name), detail));
        let length = channels.first().map_or(0, Vec::len);
        if length == 0 {
            return refuse("has no samples".into());
        }
        if let Some(other) = channels.iter().find(|channel| channel.len() != length) {
            return refuse(format!("has channels of {length} and of {} samples", other.len()));
        }
        if let Some(at) = channels.iter().find_map(|channel| channel.iter().position(|x| !x.is_finite())) {
            return refuse(format!("its sample {at} is not a finite number (NaN or infinity)"));
        }
        if !RATES.contains(&sample_rate) {
            return refuse(format!(
                "a sample rate of {sample_rate} Hz is outside {} to {} Hz",
                RATES.start(),
                RATES.end()
            ));
        }
        let mut audio = Self { channels: at_most_two(channels), sample_rate, warnings: Vec::new() };
        faults::examine(&mut audio);
        Ok(audio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, seconds: f64, rate: u32) -> Audio {
        let sample = |i: usize| (0.3 * (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin()) as f32;
        let samples = (0..(seconds * f64::from(rate)) as usize).map(sample).collect();
        Audio::of_samples(vec![samples], rate, "sine").unwrap_or_else(|e| panic!("{e}"))
    }

    fn recording(id: &str, song: &str, sound: Sound) -> Recording {
        Recording { id: id.into(), sound, song: song.into(), person: Some("Anna".into()) }
    }

    #[test]
    fn samples_become_clips_as_files_do() -> Result<()> {
        let go_on = AtomicBool::new(false);
        let options = LoadOptions { sample_rate: 8_000, most_samples: Some(4_000), ..LoadOptions::default() };
        let memory = |audio: Audio| Sound::Samples(audio);
        let recordings = vec![
            recording("b", "Twinkle", memory(sine(440.0, 1.0, 44_100))),
            recording("a", "Rain", memory(sine(330.0, 0.25, 8_000))),
        ];
        let data = Dataset::of_recordings(recordings.clone(), &options, &go_on)?;
        let seen: Vec<_> = data.clips.iter().map(|clip| (&*clip.id, clip.label, clip.len())).collect();
        assert_eq!(seen, [("a", 0, 2_000), ("b", 1, 4_000)]);
        assert_eq!((data.classes, data.sample_rate), (vec!["Rain".to_string(), "Twinkle".into()], 8_000));
        let twice = vec![recordings[0].clone(), recordings[0].clone()];
        let error = Dataset::of_recordings(twice, &options, &go_on).unwrap_err().to_string();
        assert!(error.contains("two recordings have the name b"), "{error}");
        let missing = vec![recording("c", "Rain", Sound::File("missing.wav".into()))];
        let error = Dataset::of_recordings(missing, &options, &go_on).unwrap_err().to_string();
        assert!(error.contains("missing.wav: cannot be read"), "{error}");
        let stopped = Dataset::of_recordings(recordings, &options, &AtomicBool::new(true)).unwrap_err().to_string();
        assert!(stopped.contains("stopped"), "{stopped}");
        Ok(())
    }

    #[test]
    fn senseless_samples_are_refused() {
        let error = |channels: Vec<Vec<f32>>, rate| Audio::of_samples(channels, rate, "x").unwrap_err().to_string();
        assert_eq!(error(vec![], 8_000), "x: has no samples");
        assert_eq!(error(vec![vec![0.0; 3], vec![0.0; 4]], 8_000), "x: has channels of 3 and of 4 samples");
        assert!(error(vec![vec![0.0, f32::NAN]], 8_000).contains("sample 1 is not a finite number"));
        assert!(error(vec![vec![0.0; 9]], 10).contains("10 Hz is outside"));
        let four = Audio::of_samples(vec![vec![0.5; 800]; 4], 8_000, "x");
        assert!(four.is_ok_and(|audio| audio.channels.len() == 2 && audio.warnings[0].contains("silent")));
    }
}
