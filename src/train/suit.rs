//! Defaults that depend on the number of training clips.

use super::config::{Config, Init, Settings};
use super::variations::Parts;

/// Which of the settings that depend on the number of recordings the user chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// `epochs`.
    pub epochs: bool,
    /// `learning_rate`.
    pub learning_rate: bool,
    /// `frozen`.
    pub frozen: bool,
    /// `parts`.
    pub parts: bool,
    /// `batch_size`.
    pub batch_size: bool,
    /// `frozen_norms`.
    pub frozen_norms: bool,
}

impl Chosen {
    /// All of them: of a run that goes on.
    pub const ALL: Self =
        Self { epochs: true, learning_rate: true, frozen: true, parts: true, batch_size: true, frozen_norms: true };

    /// Those that the user set.
    pub fn of(settings: &Settings) -> Self {
        Self {
            epochs: settings.epochs.is_some(),
            learning_rate: settings.learning_rate.is_some(),
            frozen: settings.frozen.is_some(),
            parts: settings.parts.is_some(),
            batch_size: settings.batch_size.is_some(),
            frozen_norms: settings.frozen_norms.is_some(),
        }
    }
}

/// How `melody` is trained where it begins with the base model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// Passes over the training clips.
    pub epochs: usize,
    /// The schedule's highest learning rate.
    pub learning_rate: f64,
    /// How many of the network's first blocks stay as they are.
    pub frozen: usize,
    /// How clips are cut.
    pub parts: Parts,
    /// Clips in a step.
    pub batch_size: usize,
    /// Whether batch norm keeps the base model's statistics.
    pub frozen_norms: bool,
}

impl FineTuning {
    /// The best settings for this number of training clips. Chosen with 8 to 384 recordings of 8 songs: see docs/results/base-model.md
    /// and few-recordings.md.
    pub fn with(clips: usize) -> Self {
        let passes = |over: f64| (over / clips as f64).round() as usize;
        let few = passes(1500.0).clamp(6, 100);
        // Short parts are learnt from many of them: as many steps as ten passes over 384 clips are.
        let epochs = if clips < 100 { few } else { few.max(passes(3840.0).min(24)) };
        let many =
            Self { epochs, learning_rate: 4e-3, frozen: 0, parts: Parts::MOST, batch_size: 16, frozen_norms: false };
        match clips {
            // What so few clips change in the network's middle is chance, and parts of them tell less than they cost.
            0..20 => Self { epochs: 100, learning_rate: 8e-3, frozen: 5, parts: Parts::SOME, ..many },
            // Four times as many steps in the same time. A batch of so few clips says less of the statistics than the base model knows, and the fewer
            // there are, the more is lost for whole clips where many are cut.
            20..32 => Self { parts: Parts::SOME, batch_size: 4, frozen_norms: true, ..many },
            32..100 => Self { parts: Parts::HALF, batch_size: 4, frozen_norms: true, ..many },
            _ => many,
        }
    }
}

impl Config {
    /// Sets the options that the user did not choose to fit the number of training clips.
    pub fn suit(&mut self, clips: usize, chosen: Chosen) {
        if self.init != Init::Base {
            if !chosen.epochs {
                self.epochs = self.recipe.epochs(clips);
            }
            return;
        }
        let FineTuning { epochs, learning_rate, frozen, parts, batch_size, frozen_norms } = FineTuning::with(clips);
        if !chosen.epochs {
            self.epochs = epochs;
        }
        if !chosen.learning_rate {
            self.learning_rate = learning_rate;
        }
        if !chosen.frozen {
            self.frozen = frozen;
        }
        if !chosen.parts {
            self.parts = parts;
        }
        if !chosen.batch_size {
            self.batch_size = batch_size;
        }
        if !chosen.frozen_norms {
            self.frozen_norms = frozen_norms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Result};

    #[test]
    fn few_clips_are_gone_over_more_often_from_the_base_model_on() {
        let epochs = [0, 8, 24, 40, 400, 100_000].map(|clips| FineTuning::with(clips).epochs);
        assert_eq!(
            [100, 160, 240, 384, 640, 2_000].map(|clips| FineTuning::with(clips).epochs),
            [24, 24, 16, 10, 6, 6]
        );
        assert_eq!([20, 40, 99].map(|clips| FineTuning::with(clips).epochs), [75, 38, 15]);
        assert!(epochs.windows(2).all(|pair| pair[0] >= pair[1]), "{epochs:?}");
        assert!(epochs[5] >= 5 && epochs[0] <= 120, "{epochs:?}");
        let steps = [8, 24, 40].map(|clips: usize| {
            let FineTuning { epochs, batch_size, .. } = FineTuning::with(clips);
            epochs * clips.div_ceil(batch_size)
        });
        assert!(steps.iter().all(|&steps| steps >= 90), "{steps:?}");
    }

    #[test]
    fn some_dozen_clips_have_small_batches_and_fixed_norms_unless_somebody_chose_otherwise() -> Result<()> {
        let suited = |clips, settings: Settings| {
            let chosen = Chosen::of(&settings);
            let mut config = settings.resolve()?;
            config.suit(clips, chosen);
            Ok::<_, Error>((config.batch_size, config.frozen_norms))
        };
        let usual = |clips| suited(clips, Settings::default());
        assert_eq!([usual(8)?, usual(384)?], [(16, false); 2]);
        assert_eq!([usual(20)?, usual(40)?, usual(99)?], [(4, true); 3]);
        let own = Settings { batch_size: Some(16), frozen_norms: Some(false), ..Settings::default() };
        assert_eq!(suited(40, own)?, (16, false));
        assert_eq!(suited(40, Settings { init: Some("none".into()), ..Settings::default() })?, (16, false));
        Ok(())
    }

    #[test]
    fn clips_are_cut_as_often_as_helps_and_as_before_in_runs_of_before() -> Result<()> {
        let free = Chosen::of(&Settings::default());
        let suited = |clips, chosen| {
            let mut config = Settings::default().resolve()?;
            config.suit(clips, chosen);
            Ok::<_, Error>(config)
        };
        assert_eq!(
            [8, 24, 40, 400].map(|clips| suited(clips, free).map(|c| c.parts).ok()),
            [Some(Parts::SOME), Some(Parts::SOME), Some(Parts::HALF), Some(Parts::MOST)]
        );
        assert_eq!(suited(400, Chosen { parts: true, ..free })?.parts, Parts::SOME);
        let text = suited(400, free)?.to_toml()?;
        let again = Settings::parse(&text).map_err(Error::Data)?.resolve()?;
        assert_eq!(again.parts, Parts::MOST);
        // Without the table, as programs of before wrote it.
        let before = text.split("[parts]").next().unwrap_or_default();
        let before = Settings::parse(before).map_err(Error::Data)?.of_earlier_runs().resolve()?;
        assert_eq!((before.parts, before.differences(&again)), (Parts::SOME, vec!["parts".to_string()]));
        let wrong = Settings::parse("recipe = \"notebook\"\n[parts]\nshare = 0.5\nshortest = 0.5\nlongest = 0.75")
            .map_err(Error::Data)?;
        assert!(wrong.resolve().unwrap_err().to_string().contains("notebook uses all"));
        Ok(())
    }
}
