//! What is the same under two names: recordings of equal sound, and names of songs or people that look alike.

use super::dataset::Clip;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use unicode_normalization::UnicodeNormalization;

/// A name with composed letters (NFC): a letter with an accent can be written as one sign or as two, and file systems differ.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Groups of at least two clips whose samples are equal, each in ascending order; clips without samples equal nothing.
pub fn equal_sounds(clips: &[Clip]) -> Vec<Vec<usize>> {
    let mut candidates = HashMap::<(usize, usize, u64), Vec<usize>>::new();
    for (i, clip) in clips.iter().enumerate().filter(|(_, clip)| !clip.is_empty()) {
        candidates.entry((clip.len(), clip.samples.channels(), clip.samples.fingerprint())).or_default().push(i);
    }
    let mut groups = Vec::<Vec<usize>>::new();
    for candidates in candidates.into_values() {
        let mut found = Vec::<Vec<usize>>::new();
        for i in candidates {
            match found.iter_mut().find(|group| clips[group[0]].samples == clips[i].samples) {
                Some(group) => group.push(i),
                None => found.push(vec![i]),
            }
        }
        groups.extend(found.into_iter().filter(|group| group.len() > 1));
    }
    groups.sort();
    groups
}

/// One sentence on recordings of equal sound, given as (file, song): of two songs when they contradict each other.
pub fn same_recording(files: &[(&str, &str)]) -> String {
    let songs: BTreeSet<&str> = files.iter().map(|(_, song)| *song).collect();
    let names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
    let names = enumerate(&names);
    match songs.len() {
        1 => format!("{names} are the same recording under {} names", files.len()),
        _ => {
            let songs: Vec<String> = songs.iter().map(|song| format!("\"{song}\"")).collect();
            let songs: Vec<&str> = songs.iter().map(String::as_str).collect();
            format!(
                "{names} are the same recording, but are given as different songs: {}; at most one is right",
                enumerate(&songs)
            )
        }
    }
}

/// Names as in "a, b and c", no more than six of them.
fn enumerate(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] if names.len() <= 6 => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..5].join(", "), names.len() - 5),
    }
}

/// What is left of a name without case, spaces, signs, accents and forms of the same letters: names that look alike have one key. Of signs
/// alone there is nothing left to compare, and the key is the name.
pub fn key(name: &str) -> String {
    let key: String = name.nfkd().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if key.is_empty() { name.to_string() } else { key }
}

/// One sentence for each group of names that differ in no more than case, spaces, signs, or forms of the same letters; `kind` is
/// what they are names of, in the plural.
pub fn look_alike<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut groups = BTreeMap::<String, BTreeSet<&str>>::new();
    for name in names {
        groups.entry(key(name)).or_default().insert(name);
    }
    let alike = groups.into_values().filter(|names| names.len() > 1);
    alike
        .map(|names| {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
            format!("{kind} whose names look alike: {}; where they are one, give them one name", enumerate(&quoted))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_alike_in_spite_of_case_spaces_and_forms_of_letters() {
        let names = ["Twinkle", "twinkle", "Twinkle ", "Fu\u{308}r Elise", "fur_elise", "Rain", "Rains", "1", "!", "?"];
        assert_eq!(
            look_alike("songs", names.into_iter()),
            [
                "songs whose names look alike: \"Fu\u{308}r Elise\" and \"fur_elise\"; where they are one, give them one name",
                "songs whose names look alike: \"Twinkle\", \"Twinkle \" and \"twinkle\"; where they are one, give them one name",
            ]
        );
        assert_eq!(composed("Fu\u{308}r"), "F\u{fc}r");
    }
}
