//! The notes of a song, as files of melodies have them.

use super::notes::SungNote;

/// A song that can be looked for: its melody, one note after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Song {
    /// What tells it from the other songs of a catalogue: the file's name without its ending, as a rule.
    pub id: String,
    /// What people call it: any text.
    pub title: String,
    /// Beats a minute at which the notes have the times that they have.
    pub tempo: f64,
    /// The notes in time order, none beginning before the last has ended; times in seconds from the beginning of the first note.
    pub notes: Vec<SungNote>,
    /// Where a phrase begins: indices of notes, ascending, 0 the first.
    pub phrases: Vec<usize>,
    /// What the base model makes of it, sung from the beginning: a vector of length 1 ([`crate::train::embedder`]). Empty where that is
    /// not known.
    pub embedding: Vec<f32>,
}

/// A melody needs this many notes to be one.
pub const FEWEST_NOTES: usize = 4;

/// Of a longer melody only the first part, in seconds, is kept: ten minutes.
const LONGEST: f64 = 600.0;

/// A rest of this many seconds ends a phrase.
const REST: f64 = 0.25;

/// A note this many times as long as the usual one ends a phrase.
const HELD: f64 = 1.9;

/// Quarters a minute for notes of which nothing tells the tempo and which last `mean` whole notes on average: one at which they last from
/// 0.3 to 0.6 seconds, since nothing tells either whether a book writes slow songs in halves or in eighths.
pub(super) fn usual_tempo(mean: f64) -> f64 {
    // At 120 a whole note lasts two seconds.
    let halvings = if mean > 0.0 { (2.0 * mean / 0.3).log2().floor() } else { 0.0 };
    120.0 * halvings.clamp(-6.0, 6.0).exp2()
}

impl Song {
    /// A song of these notes, in any order. Where two sound at once, the later begun ends the earlier, and of two that begin together
    /// the higher stays: the melody is on top. Phrases begin where `marks` (seconds, in the times of `notes`) say, after rests, and
    /// after notes that are long beside the others.
    ///
    /// # Errors
    /// Why this is no melody, worded to follow "name: ".
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        tempo: f64,
        mut notes: Vec<SungNote>,
        marks: &[f64],
    ) -> Result<Self, String> {
        let sound = |n: &SungNote| n.start.is_finite() && n.end > n.start && (0.0..=140.0).contains(&n.midi);
        notes.retain(sound);
        notes.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.midi.total_cmp(&a.midi)));
        let mut melody: Vec<SungNote> = Vec::with_capacity(notes.len());
        for note in notes {
            match melody.last_mut() {
                // Two voices of a chord, which players strike almost together.
                Some(last) if note.start - last.start < 0.03 && note.start < last.end => {
                    if note.midi > last.midi {
                        *last = SungNote { start: last.start, ..note };
                    }
                    continue;
                }
                Some(last) => last.end = last.end.min(note.start),
                None => {}
            }
            melody.push(note);
        }
        let first = melody.first().map_or(0.0, |n| n.start);
        for note in &mut melody {
            (note.start, note.end) = (note.start - first, note.end - first);
        }
        melody.retain(|n| n.end <= LONGEST);
        if melody.len() < FEWEST_NOTES {
            return Err(format!("{} notes are no melody; at least {FEWEST_NOTES}", melody.len()));
        }
        let lengths: Vec<f64> = melody.windows(2).map(|w| w[1].start - w[0].start).collect();
        let usual = super::notes::median(&lengths);
        let marked = |at: f64| marks.iter().any(|mark| (mark - first - at).abs() < 1e-3);
        let begins = |i: &usize| {
            let (before, note) = (&melody[i - 1], &melody[*i]);
            note.start - before.end > REST || before.end - before.start > HELD * usual || marked(note.start)
        };
        let phrases = std::iter::once(0).chain((1..melody.len()).filter(begins)).collect();
        let tempo = if tempo.is_finite() { tempo.clamp(10.0, 1000.0) } else { 120.0 };
        Ok(Self { id: id.into(), title: title.into(), tempo, notes: melody, phrases, embedding: Vec::new() })
    }

    /// Seconds from the beginning of the first note to the end of the last.
    pub fn seconds(&self) -> f64 {
        self.notes.last().map_or(0.0, |n| n.end)
    }
}
