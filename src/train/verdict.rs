//! What is decided of a recording, or of a part of one, and why.

use super::metrics::argmax;
use crate::data::nosong;

/// The [`Verdict::in_distribution`] below which sound is called like nothing in training, rather than one song or another.
pub const LEAST_IN_DISTRIBUTION: f64 = 0.5;

/// The kinds of decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is the likeliest song.
    Song,
    /// The likeliest song is not likely enough.
    BelowThreshold,
    /// It is so far from the training clips that no song is likely enough.
    OutOfDistribution,
    /// It is most like the training examples of no song.
    NoSong,
    /// It is silent.
    Silence,
}

impl Decision {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Song, Self::BelowThreshold, Self::OutOfDistribution, Self::NoSong, Self::Silence];

    /// The word for it in CSV and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Song => "song",
            Self::BelowThreshold => "below threshold",
            Self::OutOfDistribution => "unfamiliar",
            Self::NoSong => "no song",
            Self::Silence => "silence",
        }
    }
}

/// The confidence below which nothing is named, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// From 0 to 1.
    pub value: f64,
    /// Whether it was stored with the model, and not asked for.
    pub of_model: bool,
}

/// A decision and what it was made on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What was decided.
    pub decision: Decision,
    /// The likeliest output, whether it is named or not.
    pub best: usize,
    /// Its probability.
    pub confidence: f64,
    /// How near it is to the training clips, from 0 to 1; 1 where the model does not know.
    pub in_distribution: f64,
}

impl Verdict {
    /// Decides: the likeliest output is named where its probability reaches the threshold, and its name is a song's: see
    /// [`nosong`].
    pub fn of(probabilities: &[f64], in_distribution: f64, threshold: Threshold, names: &[String]) -> Self {
        let best = argmax(probabilities);
        let confidence = probabilities.get(best).copied().unwrap_or(0.0);
        let decision = match confidence {
            // Silence is no song, however little is asked for.
            c if c.is_nan() || c <= 0.0 && in_distribution >= 1.0 => Decision::Silence,
            c if c > 0.0 && c.is_finite() && names.get(best).is_some_and(|name| nosong::is_none(name)) => {
                Decision::NoSong
            }
            c if c >= threshold.value && c > 0.0 && c.is_finite() => Decision::Song,
            _ if in_distribution < LEAST_IN_DISTRIBUTION => Decision::OutOfDistribution,
            _ => Decision::BelowThreshold,
        };
        Self { decision, best, confidence, in_distribution }
    }

    /// The song's name, or "unknown".
    pub fn name<'a>(&self, names: &'a [String]) -> &'a str {
        match self.decision {
            Decision::Song => names.get(self.best).map_or("unknown", String::as_str),
            _ => "unknown",
        }
    }

    /// Why, in words that follow "unknown: " or the song's name.
    pub fn reason(&self, names: &[String], threshold: Threshold) -> String {
        let least = percent(threshold.value);
        let least = if threshold.of_model { format!("this model's {least}") } else { format!("the {least} asked for") };
        let best = names.get(self.best).map_or("", String::as_str);
        let confidence = percent(self.confidence);
        match self.decision {
            Decision::Song => format!("{confidence}, not below {least}"),
            Decision::BelowThreshold if self.confidence / self.in_distribution >= threshold.value => {
                format!("{confidence} {best}, below {least}, as it is not quite like the training clips")
            }
            Decision::BelowThreshold => format!("{confidence} {best}, below {least}"),
            Decision::OutOfDistribution => "like nothing in training".into(),
            Decision::NoSong => format!("{confidence} like the examples of no song ({best})"),
            Decision::Silence => "silence".into(),
        }
    }
}

/// A share in percent, with one decimal; shares that differ by less look equal, and the words around them say which is larger.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_reason() {
        let names: Vec<String> = ["OldMacDonald", "Twinkle"].map(String::from).to_vec();
        let model = Threshold { value: 0.844, of_model: true };
        let told = |p: &[f64], in_distribution: f64, threshold: Threshold| {
            let verdict = Verdict::of(p, in_distribution, threshold, &names);
            format!("{}: {}", verdict.name(&names), verdict.reason(&names, threshold))
        };
        assert_eq!(told(&[0.737, 0.2], 1.0, model), "unknown: 73.7 % OldMacDonald, below this model's 84.4 %");
        assert_eq!(told(&[0.1, 0.9], 1.0, model), "Twinkle: 90.0 %, not below this model's 84.4 %");
        let near = "unknown: 80.0 % Twinkle, below this model's 84.4 %, as it is not quite like the training clips";
        assert_eq!(told(&[0.01, 0.8], 0.85, model), near);
        assert_eq!(told(&[0.001, 0.3], 0.32, model), "unknown: like nothing in training");
        let noise: Vec<String> = ["Noise", "Twinkle"].map(String::from).to_vec();
        let verdict = Verdict::of(&[0.9, 0.1], 1.0, model, &noise);
        let of_noise = (verdict.decision, verdict.name(&noise), verdict.reason(&noise, model));
        assert_eq!(of_noise, (Decision::NoSong, "unknown", "90.0 % like the examples of no song (Noise)".to_string()));
        assert_eq!(Verdict::of(&[0.1, 0.9], 1.0, model, &noise).decision, Decision::Song);
        let asked = Threshold { value: 0.2, of_model: false };
        assert_eq!(told(&[0.1, 0.3], 0.4, asked), "Twinkle: 30.0 %, not below the 20.0 % asked for");
        for least in [0.0, 0.5] {
            let asked = Threshold { value: least, of_model: false };
            assert_eq!(told(&[0.0, 0.0], 1.0, asked), "unknown: silence");
            // So far away that the share is 0 in f64; that is not silence.
            assert_eq!(told(&[0.0, 0.0], 0.0, asked), "unknown: like nothing in training");
            assert_eq!(Verdict::of(&[f64::NAN], 1.0, asked, &names).decision, Decision::Silence);
        }
    }
}
