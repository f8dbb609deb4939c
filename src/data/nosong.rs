//! Songs that are none: recordings of noise, speech and whatever else a microphone hears, from which a model learns what it is not to name.

use super::alike;

/// Names, as [`alike::key`] has them, of what is no song. `background noise` is that of Google's Speech Commands.
const NAMES: &[&str] = &["noise", "background", "backgroundnoise", "other", "nosong"];

/// Whether a song's name says that its recordings hold no song: `predict` then answers "unknown" and not with that name.
pub fn is_none(name: &str) -> bool {
    NAMES.contains(&alike::key(name).as_str())
}

/// What to tell of such songs.
#[cfg(feature = "app")]
pub(super) fn note<'a>(songs: impl Iterator<Item = &'a str>) -> Option<String> {
    let songs: std::collections::BTreeSet<&str> = songs.filter(|song| is_none(song)).collect();
    let names: Vec<String> = songs.iter().map(|song| format!("\"{song}\"")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} holds examples of no song: what is like them is answered with \"unknown\"; rename it where it is a song",
            names.join(" and ")
        )
    })
}
