//! Names in file names: `anna-1.wav`, `anna-2.wav`, `ben-1.wav`.
//!
//! No rule can tell whether they are people's: `hum-1.wav` and `whistle-1.wav`, or `phone-1.wav` and `laptop-1.wav`, look the
//! same, and a split by them would train on hums and validate on whistles. So nothing is split by them unless
//! [`SplitBy::Name`](super::split::SplitBy::Name) asks for it, and whoever could ask for it is told.

use super::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// The name in each clip's file name, in small letters: see [`of_files`].
///
/// # Errors
/// As [`of_files`].
pub fn names(data: &Dataset) -> Result<Vec<String>, String> {
    of_files(data.clips.iter().map(|clip| (clip.id.as_str(), clip.label)))
}

/// The name in each of some files' names, in small letters; of each file its path and its song.
///
/// A file is called `<name>-<number>` or `<name>_<number>`, with the same sign in all files, and the name is one word of letters
/// and digits, at least one of them a letter. Two names at least occur in more than one song: where none does, they are
/// rather the songs'.
///
/// # Errors
/// Where one of this does not hold: which, in a few words.
pub fn of_files<'a, S: Ord>(files: impl Iterator<Item = (&'a str, S)>) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut first: Option<(char, &str)> = None;
    let mut songs = BTreeMap::<String, BTreeSet<S>>::new();
    for (path, song) in files {
        let Some((name, sign)) = parse(path) else {
            return Err(format!("{path} is not named <name>-<number> or <name>_<number>"));
        };
        let (usual, other) = *first.get_or_insert((sign, path));
        if sign != usual {
            return Err(format!("before the number {other} has `{usual}`, but {path} has `{sign}`"));
        }
        let name = name.to_lowercase();
        songs.entry(name.clone()).or_default().insert(song);
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

/// What to tell somebody whose recordings do not say who sings, though their file names have names: these, and what to do.
pub fn hint(mut names: Vec<String>) -> String {
    names.sort_unstable();
    names.dedup();
    let (count, more) = (names.len(), if names.len() > 3 { ", ..." } else { "" });
    names.truncate(3);
    format!(
        "the file names begin with {count} names ({}{more}): if these are people, setting `split` = `name` keeps each on one side",
        names.join(", ")
    )
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
