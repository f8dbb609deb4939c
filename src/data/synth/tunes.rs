//! The tunes that synthetic singers know, in numbered notation, and its reader.
//!
//! Numbered notation (jianpu, the Galin-Paris-Chevé method): `1` to `7` are the degrees of the major scale of any key, so a tune is
//! written once for every singer. A minor tune is written on the sixth degree of its relative major.

use crate::melody::song::Song;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// One note or rest of a tune.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// Semitones above the tonic, or `None` for a rest.
    pub semitone: Option<i32>,
    /// Length in beats.
    pub beats: f64,
    /// A phrase ends here: the singer may breathe.
    pub phrase_end: bool,
}

/// A tune that anybody may sing: all are in the public domain.
#[derive(Clone, Debug)]
pub struct Tune {
    /// The name in file names: letters only, as in `S1_hum_1_Twinkle.wav`.
    pub name: Cow<'static, str>,
    /// A usual tempo, in beats a minute.
    pub tempo: f64,
    /// The notes, from the beginning.
    pub notes: Vec<Note>,
}

impl Tune {
    /// Songs as singers know them: rests where none of a song's notes sounds for a sixteenth of a second or more, phrases as the song has
    /// them, and names that are fit for file names and tell the tunes apart: of each song's id the letters and digits, with `-`
    /// between them.
    pub fn of_songs(songs: &[Song]) -> Vec<Self> {
        let mut taken = BTreeSet::new();
        let name = |song: &Song, taken: &mut BTreeSet<String>| {
            let words: Vec<&str> =
                song.id.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            let plain = if words.is_empty() { "song".to_string() } else { words.join("-") };
            let numbered = (2..).map(|n| format!("{plain}-{n}"));
            // Names that differ in capitals alone are one file on some systems.
            let free = std::iter::once(plain.clone()).chain(numbered).find(|name| taken.insert(name.to_lowercase()));
            free.unwrap_or(plain)
        };
        songs.iter().map(|song| Self::of_song(song, name(song, &mut taken))).collect()
    }

    /// One song, as in [`Tune::of_songs`], under this name.
    pub fn of_song(song: &Song, name: String) -> Self {
        Self { name: name.into(), tempo: song.tempo, notes: notes_of(song) }
    }

    /// Where the tune can be begun: the index of the first note of each phrase.
    pub fn phrase_starts(&self) -> Vec<usize> {
        let after = self.notes.iter().enumerate().filter(|(_, n)| n.phrase_end).map(|(i, _)| i + 1);
        std::iter::once(0).chain(after).filter(|&i| i < self.notes.len()).collect()
    }

    /// The middle of the tune in semitones above the tonic, weighted by time: what a singer puts at the middle of their voice.
    pub fn centre(&self) -> f64 {
        let sung = || self.notes.iter().filter_map(|n| n.semitone.map(|s| (f64::from(s), n.beats)));
        sung().map(|(s, b)| s * b).sum::<f64>() / sung().map(|(_, b)| b).sum::<f64>()
    }
}

/// A song's notes and rests in beats, in semitones above the first.
fn notes_of(song: &Song) -> Vec<Note> {
    const SHORTEST_REST: f64 = 1.0 / 16.0;
    let first = song.notes.first().map_or(0.0, |note| note.midi);
    let beats = |seconds: f64| seconds * song.tempo / 60.0;
    let mut notes = Vec::with_capacity(song.notes.len());
    for (i, note) in song.notes.iter().enumerate() {
        let next = song.notes.get(i + 1).map_or(note.end, |next| next.start);
        let rest = next - note.end;
        let rests = rest >= SHORTEST_REST;
        let end = if rests { note.end } else { next };
        // What was sung is not always in tune.
        let semitone = Some((note.midi - first).round() as i32);
        notes.push(Note {
            semitone,
            beats: beats(end - note.start),
            phrase_end: i + 1 == song.notes.len() || song.phrases.contains(&(i + 1)),
        });
        if rests {
            notes.push(Note { semitone: None, beats: beats(rest), phrase_end: false });
        }
    }
    notes
}

/// Reads numbered notation. Notes are apart by spaces: an optional `#` or `b`, a degree `1` to `7` (or `0`, a rest), then any of
/// `'` an octave up, `,` an octave down, `-` one beat longer, `_` half as long, `.` half as long again; a note with none of these lasts
/// one beat. `|` ends a phrase.
///
/// # Errors
/// The note that is none, by its text.
pub fn parse(notation: &str) -> Result<Vec<Note>, String> {
    const DEGREES: [i32; 7] = [0, 2, 4, 5, 7, 9, 11];
    let mut notes: Vec<Note> = Vec::new();
    for word in notation.split_whitespace() {
        if word == "|" {
            notes.last_mut().ok_or("a phrase ends before the first note")?.phrase_end = true;
            continue;
        }
        let (shift, rest) = match word.as_bytes()[0] {
            b'#' => (1, &word[1..]),
            b'b' => (-1, &word[1..]),
            _ => (0, word),
        };
        let mut marks = rest.chars();
        let mut semitone = match marks.next() {
            Some('0') => None,
            Some(c @ '1'..='7') => Some(DEGREES[c as usize - '1' as usize] + shift),
            _ => return Err(format!("`{word}` is no note")),
        };
        let mut beats = 1.0;
        for mark in marks {
            match mark {
                '\'' => semitone = semitone.map(|s| s + 12),
                ',' => semitone = semitone.map(|s| s - 12),
                '-' => beats += 1.0,
                '_' => beats /= 2.0,
                '.' => beats *= 1.5,
                _ => return Err(format!("`{word}` has an unknown mark `{mark}`")),
            }
        }
        notes.push(Note { semitone, beats, phrase_end: false });
    }
    if notes.iter().all(|n| n.semitone.is_none()) {
        return Err("there is no note".to_owned());
    }
    Ok(notes)
}

/// All tunes, in the order in which a data set takes them: the first [`DEFAULT_TUNES`] are the default data set.
pub fn tunes() -> &'static [Tune] {
    static TUNES: OnceLock<Vec<Tune>> = OnceLock::new();
    TUNES.get_or_init(|| {
        let read = |&(name, tempo, text): &(&'static str, f64, &str)| Tune {
            name: Cow::Borrowed(name),
            tempo,
            notes: parse(text).unwrap_or_else(|e| unreachable!("{name}: {e}; a test reads every tune")),
        };
        NOTATION.iter().map(read).collect()
    })
}

/// The tune of that name, whatever its capitals.
pub fn find(name: &str) -> Option<&'static Tune> {
    tunes().iter().find(|t| t.name.eq_ignore_ascii_case(name))
}

/// How many tunes the default data set has.
pub const DEFAULT_TUNES: usize = 12;

/// Name, beats a minute, notes. Traditional tunes, and those whose authors are long dead: Home, Sweet Home (H. Bishop, 1823), Good
/// Morning to All, now Happy Birthday (M. and P. Hill, 1893), Ode to Joy (Beethoven, 1824), Jingle Bells (J. Pierpont, 1857),
/// Oh! Susanna (S. Foster, 1848), Silent Night (F. X. Gruber, 1818).
const NOTATION: &[(&str, f64, &str)] = &[
    (
        "Twinkle",
        138.0,
        "1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- | 5 5 4 4 3 3 2- | 5 5 4 4 3 3 2- | 1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- |",
    ),
    (
        "OldMacDonald",
        185.0,
        "1 1 1 5, 6, 6, 5,- | 3 3 2 2 1-- 5, | 1 1 1 5, 6, 6, 5,- | 3 3 2 2 1-- 5,_ 5,_ | 1 1 1 5,_ 5,_ 1 1 1- |
         1_ 1_ 1 1_ 1_ 1 1_ 1_ 1_ 1_ 1 1 | 1 1 1 5, 6, 6, 5,- | 3 3 2 2 1--- |",
    ),
    (
        "HappyBirthday",
        115.0,
        "5,_. 5,__ 6, 5, 1 7,- | 5,_. 5,__ 6, 5, 2 1- | 5,_. 5,__ 5 3 1 7, 6, | 4_. 4__ 3 1 2 1-- |",
    ),
    (
        "BrotherJohn",
        155.0,
        "1 2 3 1 | 1 2 3 1 | 3 4 5- | 3 4 5- | 5_. 6__ 5_. 4__ 3 1 | 5_. 6__ 5_. 4__ 3 1 | 1 5, 1- | 1 5, 1- |",
    ),
    (
        "Jasmine",
        92.0,
        "3 3_ 5_ 6_ 1'_ 1'_ 6_ | 5 5_ 6_ 5- | 3 3_ 5_ 6_ 1'_ 1'_ 6_ | 5 5_ 6_ 5- | 5 5 5 3_ 5_ | 6 6 5- | 3 2_ 3_ 5 3_ 2_ |
         1 1_ 2_ 1- | 3_ 2_ 1_ 3_ 2. 3_ | 5 6_ 1'_ 5- | 2 3_ 5_ 2_ 3_ 1_ 6,_ | 5,- 6, 1 | 2. 3_ 1_ 2_ 1_ 6,_ | 5,--- |",
    ),
    (
        "LondonBridge",
        172.0,
        "5. 6_ 5 4 3 4 5- | 2 3 4- 3 4 5- | 5. 6_ 5 4 3 4 5- | 2- 5- 3 1-- |",
    ),
    (
        "HomeSweetHome",
        100.0,
        "1_ 2_ | 3. 4_ 4. 5_ 5- 3 5 | 4. 3_ 4 2 3-- 1_ 2_ | 3. 4_ 4. 5_ 5- 3 5 | 4. 3_ 4 2 1-- 5 |
         1'. 7_ 6 5 5- 3 5 | 4. 3_ 4 2 3-- 5 | 1'. 7_ 6 5 5- 3 5 | 4. 3_ 4 2 1--- |",
    ),
    (
        "Augustin",
        125.0,
        "1_ 3_ | 5. 6_ 5_ 4_ 3 1 1 | 2 5, 5, 3 1 1_ 3_ | 5. 6_ 5_ 4_ 3 1 1 | 2- 5, 1-- | 2 5, 5, 3 1 1 | 2 5, 5, 3 1 1_ 3_ |
         5. 6_ 5_ 4_ 3 1 1 | 2- 5, 1-- |",
    ),
    (
        "OdeToJoy",
        120.0,
        "3 3 4 5 5 4 3 2 | 1 1 2 3 3. 2_ 2- | 3 3 4 5 5 4 3 2 | 1 1 2 3 2. 1_ 1- | 2 2 3 1 2 3_ 4_ 3 1 | 2 3_ 4_ 3 2 1 2 5,- |
         3 3 4 5 5 4 3 2 | 1 1 2 3 2. 1_ 1- |",
    ),
    (
        "JingleBells",
        150.0,
        "3 3 3- 3 3 3- | 3 5 1. 2_ 3--- | 4 4 4. 4_ 4 3 3 3_ 3_ | 3 2 2 3 2- 5- | 3 3 3- 3 3 3- | 3 5 1. 2_ 3--- |
         4 4 4. 4_ 4 3 3 3_ 3_ | 5 5 4 2 1--- |",
    ),
    (
        "AmazingGrace",
        95.0,
        "5, | 1- 3_ 1_ 3- 2 1- 6, 5,- 5, | 1- 3_ 1_ 3- 2 5---- 3 | 5- 3_ 1_ 3- 2 1- 6, 5,- 5, | 1- 3_ 1_ 3- 2 1---- |",
    ),
    (
        "YankeeDoodle",
        140.0,
        "1 1 2 3 1 3 2 5, | 1 1 2 3 1- 7,- | 1 1 2 3 4 3 2 1 | 7, 5, 6, 7, 1- 1- | 6,. 7,_ 6, 5, 6, 7, 1- |
         5,. 6,_ 5, 4, 3,- 5,- | 6,. 7,_ 6, 5, 6, 7, 1 6, | 5, 1 7, 2 1- 1- |",
    ),
    (
        "MaryLamb",
        125.0,
        "3. 2_ 1 2 3 3 3- | 2 2 2- 3 5 5- | 3. 2_ 1 2 3 3 3 3 | 2 2 3 2 1--- |",
    ),
    (
        "AuldLangSyne",
        100.0,
        "5, | 1. 1_ 1 3 2. 1_ 2 3 | 1. 1_ 3 5 6-- 6 | 5. 3_ 3 1 2. 1_ 2 3_ 2_ | 1. 6,_ 6, 5, 1-- 6 | 5. 3_ 3 1 2. 1_ 2 6 |
         5. 3_ 3 5 6-- 6 | 5. 3_ 3 1 2. 1_ 2 3_ 2_ | 1. 6,_ 6, 5, 1-- |",
    ),
    (
        "Greensleeves",
        150.0,
        "6, | 1- 2 3. 4_ 3 2- 7, 5,. 6,_ 7, | 1- 6, 6,. #5,_ 6, 7,- #5, 3,- 6, | 1- 2 3. 4_ 3 2- 7, 5,. 6,_ 7, |
         1. 7,_ 6, #5,. #4,_ #5, 6,-- 6,-- | 5-- 5. 4_ 3 2- 7, 5,. 6,_ 7, | 1- 6, 6,. #5,_ 6, 7,- #5, 3,-- |
         5-- 5. 4_ 3 2- 7, 5,. 6,_ 7, | 1. 7,_ 6, #5,. #4,_ #5, 6,-- 6,-- |",
    ),
    (
        "OhSusanna",
        140.0,
        "1_ 2_ | 3 5 5. 6_ 5 3 1. 2_ | 3 3 2 1 2-- 1_ 2_ | 3 5 5. 6_ 5 3 1. 2_ | 3 3 2 2 1--- | 4- 4- 6 6- 6 | 5 5 3 1 2-- 1_ 2_ |
         3 5 5. 6_ 5 3 1. 2_ | 3 3 2 2 1--- |",
    ),
    (
        "RowBoat",
        200.0,
        "1-- 1-- 1- 2 3-- | 3- 2 3- 4 5----- | 1' 1' 1' 5 5 5 3 3 3 1 1 1 | 5- 4 3- 2 1----- |",
    ),
    (
        "SilentNight",
        110.0,
        "5. 6_ 5 3-- | 5. 6_ 5 3-- | 2'- 2' 7-- | 1'- 1' 5-- | 6- 6 1'. 7_ 6 | 5. 6_ 5 3-- | 6- 6 1'. 7_ 6 | 5. 6_ 5 3-- |
         2'- 2' 4'. 2'_ 7 | 1'-- 3'-- | 1'. 5_ 3 5. 4_ 2 | 1----- |",
    ),
    (
        "Saints",
        160.0,
        "1 3 4 5---- | 1 3 4 5---- | 1 3 4 5- 3- 1- 3- 2---- | 3 3 2 1-- 1 3- 5 5 5 4---- | 3 4 5- 3- 1- 2- 1---- |",
    ),
    (
        "Clementine",
        110.0,
        "1_. 1__ 1 5, 3_. 3__ 3 1 | 1_. 3__ 5 5 4_. 3__ 2- | 2_. 3__ 4 4 3_. 2__ 3 1 | 1_. 3__ 2 5, 7,_. 2__ 1- |",
    ),
    (
        "DeckTheHalls",
        140.0,
        "5. 4_ 3 2 1 2 3 1 | 2_ 3_ 4_ 2_ 3. 2_ 1 7, 1- | 5. 4_ 3 2 1 2 3 1 | 2_ 3_ 4_ 2_ 3. 2_ 1 7, 1- | 2. 3_ 4 2 3. 4_ 5 2 |
         3_ #4_ 5 6_ 7_ 1' 7 6 5- | 5. 4_ 3 2 1 2 3 1 | 6_ 6_ 6_ 6_ 5. 4_ 3 2 1- |",
    ),
    (
        "MyBonnie",
        120.0,
        "5, | 3. 2_ 1 2 1 6, 5, 3,--- 5, | 3. 2_ 1 1 7, 1 2---- 5, | 3. 2_ 1 2 1 6, 5, 3,--- 5, | 6, 2 1 7, 6, 7, 1---- |",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::notes::SungNote;

    #[test]
    fn notation_is_read() {
        let notes = parse("1 #4,_ b7'-- | 0. 3__ |").unwrap();
        let plain: Vec<_> = notes.iter().map(|n| (n.semitone, n.beats, n.phrase_end)).collect();
        assert_eq!(
            plain,
            [
                (Some(0), 1.0, false),
                (Some(-6), 0.5, false),
                (Some(22), 3.0, true),
                (None, 1.5, false),
                (Some(4), 0.25, true)
            ]
        );
        for bad in ["8", "1x", "| 1", "0 0", "#", ""] {
            assert!(parse(bad).is_err(), "`{bad}` was accepted");
        }
    }

    #[test]
    fn songs_are_sung_as_they_are_written() -> Result<(), String> {
        let note = |start: f64, end: f64, midi: f64| SungNote { start, end, midi };
        // At 120 beats a minute: a crotchet, a quaver with a triplet's gap too short for a rest, a rest that ends a phrase, the end.
        let notes = vec![note(0.0, 0.5, 60.2), note(0.5, 0.72, 64.0), note(0.75, 1.25, 67.0), note(2.25, 2.75, 59.0)];
        let song = |id: &str| Song::new(id, "", 120.0, notes.clone(), &[]);
        let tunes = Tune::of_songs(&[song("a/Küche_7:2")?, song("a-küche-7 2")?, song("//")?]);
        let names: Vec<&str> = tunes.iter().map(|tune| &*tune.name).collect();
        assert_eq!(names, ["a-Küche-7-2", "a-küche-7-2-2", "song"]);
        let sung: Vec<_> = tunes[0].notes.iter().map(|n| (n.semitone, n.beats, n.phrase_end)).collect();
        let want = [
            (Some(0), 1.0, false),
            (Some(4), 0.5, false),
            (Some(7), 1.0, true),
            (None, 2.0, false),
            (Some(-1), 1.0, true),
        ];
        assert_eq!(sung, want);
        Ok(())
    }

    #[test]
    fn every_tune_is_whole() {
        let names: std::collections::BTreeSet<_> = tunes().iter().map(|t| t.name.to_lowercase()).collect();
        assert_eq!(names.len(), tunes().len(), "two tunes share a name");
        assert!(tunes().len() >= 16 && DEFAULT_TUNES <= tunes().len());
        for (name, _, text) in NOTATION {
            let notes = parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(notes.last().unwrap().phrase_end, "{name} does not end");
            let sung: Vec<i32> = notes.iter().filter_map(|n| n.semitone).collect();
            let span = sung.iter().max().unwrap() - sung.iter().min().unwrap();
            assert!((5..=19).contains(&span), "{name} spans {span} semitones");
            let beats: f64 = notes.iter().map(|n| n.beats).sum();
            assert!((beats * 2.0).fract() == 0.0 && beats >= 20.0, "{name} has {beats} beats");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name} does not fit a file name");
        }
        assert_eq!(tunes()[0].phrase_starts(), [0, 7, 14, 21, 28, 35]);
    }

    #[test]
    fn known_beginnings() {
        let semitones =
            |name: &str| -> Vec<i32> { find(name).unwrap().notes.iter().filter_map(|n| n.semitone).take(7).collect() };
        assert_eq!(semitones("twinkle"), [0, 0, 7, 7, 9, 9, 7]);
        assert_eq!(semitones("LondonBridge"), [7, 9, 7, 5, 4, 5, 7]);
        assert_eq!(semitones("Greensleeves"), [-3, 0, 2, 4, 5, 4, 2]);
    }
}
