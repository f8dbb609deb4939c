//! The ways in which the recipe `melody` varies its training clips, each of which can be left out.

use super::suggest::did_you_mean;
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
    /// Bands and frames that are not heard.
    Masks,
    /// Only a part of the clip is heard.
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

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        let known = Self::ALL.into_iter().find(|variation| variation.name() == text);
        known.ok_or_else(|| format!("there are {}{}", names.join(", "), did_you_mean(text, &names)))
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variations([bool; Variation::ALL.len()]);

impl Variations {
    /// Every one.
    pub const ALL: Self = Self([true; Variation::ALL.len()]);

    /// Every one but these.
    pub fn without(left_out: &[Variation]) -> Self {
        Self(Variation::ALL.map(|variation| !left_out.contains(&variation)))
    }

    /// Whether it holds this one.
    pub fn has(self, variation: Variation) -> bool {
        self.0[variation as usize]
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
    fn names_are_read_back() {
        for variation in Variation::ALL {
            assert_eq!(variation.name().parse(), Ok(variation));
        }
        assert!("mask".parse::<Variation>().unwrap_err().contains("`masks`"));
    }
}
