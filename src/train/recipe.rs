//! The two recipes and what they differ in.

#[cfg(feature = "app")]
use crate::data::LoadOptions;
use crate::nn::{Anneal, Classifier, OneCycle, Schedule};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How sound becomes an image, which network looks at it, and how that is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Recognises a tune in any key, tempo and voice: a spectrum with 24 bands an octave, a convolutional network that
    /// takes the maximum over pitch.
    #[default]
    Melody,
    /// The reference notebook, number for number.
    Notebook,
}

/// A recipe's defaults for what the user can set.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Defaults {
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub label_smoothing: f64,
}

/// The settings of the front end, which a model file carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// Samples a second after resampling.
    pub sample_rate: u32,
    /// Channels that the network sees.
    pub channels: usize,
    /// Samples that it sees at once.
    pub window: usize,
    /// Length of the Fourier transform.
    pub n_fft: usize,
    /// Length of the Hann window, centred in the transform.
    pub frame: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Number of bands.
    pub bands: usize,
    /// How many decibels below the maximum everything else is silence.
    pub top_db: f64,
    /// Whether what is shorter than the window is repeated until the window is full; else silence follows.
    /// Models from before there was a choice were trained with silence.
    #[serde(default)]
    pub repeat: bool,
    /// Test-time augmentation: a trained model predicts every window under each of these, and its probabilities are the means. Model
    /// files call them `views`; those from before there was a choice have none, which means the window as it is.
    #[serde(rename = "views", default = "Augmentation::only_none")]
    pub augmentations: Vec<Augmentation>,
}

/// A spectrogram changed as though the tune had been sung in another key and tempo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// How many bands higher.
    pub shift: f32,
    /// How many times as fast.
    pub stretch: f32,
}

impl Augmentation {
    /// The spectrogram as it is.
    pub const NONE: Self = Self { shift: 0.0, stretch: 1.0 };

    fn only_none() -> Vec<Self> {
        vec![Self::NONE]
    }
}

/// The test-time augmentation of `melody`: the window as it is, and a quarter of an octave higher and lower, each a little slower and faster. Further ones
/// bring nothing more.
fn melody_augmentations() -> Vec<Augmentation> {
    let others =
        [(-6.0, 0.9), (6.0, 0.9), (-6.0, 1.12), (6.0, 1.12)].map(|(shift, stretch)| Augmentation { shift, stretch });
    [Augmentation::NONE].into_iter().chain(others).collect()
}

impl FrontEnd {
    /// The input `warp` of one window under [`FrontEnd::augmentations`]: shift and stretch of each, one after the other.
    pub fn warps(&self) -> impl Iterator<Item = f32> + '_ {
        self.augmentations.iter().flat_map(|augmentation| [augmentation.shift, augmentation.stretch])
    }

    /// Frames of a window: centred, so one more than hops.
    pub fn frames(&self) -> usize {
        self.window / self.hop + 1
    }
}

impl Recipe {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Melody, Self::Notebook];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Melody => "melody",
            Self::Notebook => "notebook",
        }
    }

    /// How recordings are loaded for it.
    #[cfg(feature = "app")]
    pub fn load_options(self) -> LoadOptions<'static> {
        let front_end = self.front_end();
        let most_samples = self.first_window_only().then_some(front_end.window);
        LoadOptions { sample_rate: front_end.sample_rate, most_samples, ..LoadOptions::default() }
    }

    /// Whether of a clip longer than the window only the first window counts, unless asked otherwise.
    pub fn first_window_only(self) -> bool {
        self == Self::Notebook
    }

    /// The defaults.
    pub fn defaults(self) -> Defaults {
        match self {
            Self::Melody => {
                Defaults { epochs: 120, batch_size: 16, learning_rate: 4e-3, weight_decay: 0.01, label_smoothing: 0.1 }
            }
            Self::Notebook => {
                Defaults { epochs: 200, batch_size: 4, learning_rate: 1e-3, weight_decay: 0.0, label_smoothing: 0.0 }
            }
        }
    }

    /// Passes over so many training clips where the user does not say how many. `melody` makes about as many steps whatever the
    /// number of clips, within reason: 120 passes over 400 clips, 240 over 200, and never fewer than 90.
    pub fn epochs(self, clips: usize) -> usize {
        let usual = self.defaults().epochs;
        match self {
            Self::Melody => ((usual as f64 * 400.0 / clips.max(1) as f64).round() as usize).clamp(90, 300),
            Self::Notebook => usual,
        }
    }

    /// The network of models that are trained now.
    pub fn classifier(self, outputs: usize) -> Classifier {
        match self {
            Self::Melody => Classifier::melody(outputs),
            Self::Notebook => Classifier::notebook(outputs),
        }
    }

    /// Learning rate and beta1 over a run of this many steps: one cycle, as PyTorch's `OneCycleLR` with its defaults;
    /// in straight lines for `notebook`, along cosines for `melody`.
    pub fn schedule(self, max: f64, steps: usize) -> Schedule {
        let anneal = match self {
            Self::Melody => Anneal::Cosine,
            Self::Notebook => Anneal::Linear,
        };
        Schedule::OneCycle(OneCycle::new(max, steps, anneal))
    }

    /// The front end's settings.
    pub fn front_end(self) -> FrontEnd {
        match self {
            Self::Melody => FrontEnd {
                sample_rate: 8_000,
                channels: 1,
                window: 64_000,
                n_fft: 2048,
                frame: 1024,
                hop: 256,
                bands: 120,
                top_db: 70.0,
                repeat: true,
                augmentations: melody_augmentations(),
            },
            Self::Notebook => FrontEnd {
                sample_rate: 11_000,
                channels: 2,
                window: 44_000,
                n_fft: 1024,
                frame: 1024,
                hop: 512,
                bands: 64,
                top_db: 80.0,
                repeat: false,
                augmentations: Augmentation::only_none(),
            },
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_clips_are_gone_over_more_often() {
        let epochs = [1, 40, 100, 384, 400, 480, 1600, 100_000].map(|clips| Recipe::Melody.epochs(clips));
        assert_eq!(epochs, [300, 300, 300, 125, 120, 100, 90, 90]);
        assert_eq!([1, 400, 100_000].map(|clips| Recipe::Notebook.epochs(clips)), [200; 3]);
    }

    #[test]
    fn the_notebooks_image_is_64_by_86() {
        let front_end = Recipe::Notebook.front_end();
        assert_eq!((front_end.bands, front_end.frames()), (64, 86));
        assert_eq!(Recipe::Melody.front_end().frames(), 251);
    }
}
