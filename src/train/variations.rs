//! The ways in which the recipe `melody` varies its training clips, each of which can be left out.

use super::suggest::did_you_mean;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variation {
    /// Sung higher or lower.
    Key,
    /// Sung faster or slower.
    Tempo,
    /// Bands and frames that are masked.
    Masks,
    /// Only a part of the clip is used.
    Parts,
}

impl Variation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Key, Self::Tempo, Self::Masks, Self::Parts];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tempo => "tempo",
            Self::Masks => "masks",
            Self::Parts => "parts",
        }
    }
}

impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Variation {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        let known = Self::ALL.into_iter().find(|variation| variation.name() == text);
        known.ok_or_else(|| format!("there are {}{}", names.join(", "), did_you_mean(text, &names)))
    }
}

/// How often [`Variation::Parts`] leaves only a part of a clip, and how long such a part is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The share of the training clips that are cut.
    pub share: f64,
    /// The shortest part, in windows.
    pub shortest: f64,
    /// The longest part, in windows.
    pub longest: f64,
}

impl Parts {
    /// Three clips in ten, cut to any length from three eighths of a window up.
    pub const SOME: Self = Self { share: 0.3, shortest: 0.375, longest: 1.0 };
    /// One clip in two, cut to about half a window.
    pub const HALF: Self = Self { share: 0.5, ..Self::MOST };
    /// Three clips in four, cut to about half a window.
    pub const MOST: Self = Self { share: 0.75, shortest: 0.375, longest: 0.65 };

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the setting.
    pub fn check(&self) -> Result<()> {
        let Self { share, shortest, longest } = *self;
        if (0.0..=1.0).contains(&share) && 0.0 < shortest && shortest <= longest && longest <= 1.0 {
            return Ok(());
        }
        let detail = format!(
            "share {share}, shortest {shortest}, longest {longest}: the share must be from 0 to 1, and the lengths above 0, at most 1 (a \
             window), the longest no shorter than the shortest"
        );
        Err(Error::usage("parts", detail))
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variations {
    has: [bool; Variation::ALL.len()],
    /// How [`Variation::Parts`] cuts, where it is in the set.
    pub parts: Parts,
}

impl Variations {
    /// Every one.
    pub const ALL: Self = Self { has: [true; Variation::ALL.len()], parts: Parts::SOME };

    /// Every one but these.
    pub fn without(left_out: &[Variation]) -> Self {
        Self { has: Variation::ALL.map(|variation| !left_out.contains(&variation)), ..Self::ALL }
    }

    /// The same, with clips cut like this where they are.
    pub fn cut(self, parts: Parts) -> Self {
        Self { parts, ..self }
    }

    /// Whether it holds this one.
    pub fn has(self, variation: Variation) -> bool {
        self.has[variation as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_is_not_left_out() {
        let set = Variations::without(&[Variation::Tempo]);
        let held: Vec<&str> = Variation::ALL.into_iter().filter(|&v| set.has(v)).map(Variation::name).collect();
        assert_eq!(held, ["key", "masks", "parts"]);
        assert_eq!(Variations::without(&[]), Variations::ALL);
    }

    #[test]
    fn parts_that_make_no_sense_are_refused() {
        assert!([Parts::SOME, Parts::HALF, Parts::MOST].iter().all(|parts| parts.check().is_ok()));
        let wrong = [
            Parts { share: 1.1, ..Parts::SOME },
            Parts { share: f64::NAN, ..Parts::SOME },
            Parts { shortest: 0.0, ..Parts::SOME },
            Parts { longest: 0.3, ..Parts::SOME },
            Parts { longest: 1.5, ..Parts::SOME },
        ];
        for parts in wrong {
            let message = parts.check().unwrap_err().to_string();
            assert!(message.contains("parts") && message.contains("longest"), "{message}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for variation in Variation::ALL {
            assert_eq!(variation.name().parse(), Ok(variation));
        }
        assert!("mask".parse::<Variation>().unwrap_err().contains("`masks`"));
    }
}
