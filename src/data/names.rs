//! Names in file names: `anna-1.wav`, `anna-2.wav`, `ben-1.wav`.
//!
//! No rule can tell whether they are people's: `hum-1.wav` and `whistle-1.wav`, or `phone-1.wav` and `laptop-1.wav`, look the
//! same, and a split by them would train on hums and validate on whistles. So nothing is split by them unless
//! [`SplitBy::Name`](super::split::SplitBy::Name) asks for it, and whoever could ask for it is told.

use super::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// The name in each clip's file name, in small letters.
///
/// A file is called `<name>-<number>` or `<name>_<number>`, with the same sign in all files, and the name is one word of letters
/// and digits, at least one of them a letter. Two names at least occur in more than one song: where none does, they are
/// rather the songs'.
///
/// # Errors
/// Where one of this does not hold: which, in a few words.
pub fn names(data: &Dataset) -> Result<Vec<String>, String> {
    let mut names = Vec::with_capacity(data.clips.len());
    let mut first: Option<(char, &str)> = None;
    let mut songs = BTreeMap::<String, BTreeSet<usize>>::new();
    for clip in &data.clips {
        let Some((name, sign)) = parse(&clip.id) else {
            return Err(format!("{} is not named <name>-<number> or <name>_<number>", clip.id));
        };
        let (usual, other) = *first.get_or_insert((sign, &clip.id));
        if sign != usual {
            return Err(format!("before the number {other} has `{usual}`, but {} has `{sign}`", clip.id));
        }
        let name = name.to_lowercase();
        songs.entry(name.clone()).or_default().insert(clip.label);
        names.push(name);
    }
    if songs.len() < 2 {
        return Err("all files have the same name before the number".into());
    }
    if songs.values().filter(|songs| songs.len() > 1).count() < 2 {
        return Err("the names before the number are not people's: hardly any occurs in more than one song".into());
    }
    Ok(names)
}

/// The name in a file name, and the sign after it.
fn parse(id: &str) -> Option<(&str, char)> {
    let file = id.split("#t=").next()?.rsplit('/').next()?;
    let (stem, _) = file.rsplit_once('.')?;
    let at = stem.rfind(['-', '_'])?;
    let (name, number) = (&stem[..at], &stem[at + 1..]);
    let word = name.chars().all(char::is_alphanumeric) && name.chars().any(char::is_alphabetic);
    let counts = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (word && counts).then(|| (name, if stem[at..].starts_with('-') { '-' } else { '_' }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_numbers() {
        assert_eq!(parse("Rain/anna-1.wav"), Some(("anna", '-')));
        assert_eq!(parse("Rain/more/Zoë_012.FLAC"), Some(("Zoë", '_')));
        assert_eq!(parse("S3-1.wav"), Some(("S3", '-')));
        for bad in [
            "Rain/anna.wav",
            "anna1.wav",
            "anna-.wav",
            "-1.wav",
            "12-1.wav",
            "anna-b.wav",
            "anna-1b.wav",
            "anna maria-1.wav",
            "S3_hum_1.wav",
            "anna-²-1.wav",
            "anna-1",
            "anna-1/x.wav",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
