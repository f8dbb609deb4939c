//! Finds the song of a catalogue that is sung: by its notes, and by what the base model makes of the recording where the catalogue
//! holds what it makes of the songs.

use super::base;
use super::embedder::{AT_ONCE, Embedder};
use super::worker::Worker;
use crate::audio::{Audio, channels};
use crate::melody::catalogue::Catalogue;
use crate::melody::notes::SungNote;
use crate::melody::pitch::{Contour, PitchOptions, PitchTracker};
use crate::melody::search::{Match, Query, SearchOptions, Searcher};
use crate::melody::song::Song;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A catalogue that is ready to be searched, by several threads at once.
pub struct Identifier {
    catalogue: Catalogue,
    searcher: Searcher,
    /// Where the songs have embeddings.
    embedder: Option<Worker<Embedder>>,
}

impl Identifier {
    /// A catalogue, with the base model where its songs have embeddings by it.
    ///
    /// # Errors
    /// Where no thread can be had for the base model.
    pub fn new(catalogue: Catalogue) -> Result<Self> {
        let searcher = Searcher::new(catalogue.songs());
        let embedded = catalogue.embedded_by() == base::checksum();
        let embedder = embedded.then(|| Worker::start("base model", Embedder::new)).transpose()?;
        Ok(Self { catalogue, searcher, embedder })
    }

    /// Whether its songs have embeddings by another base model, so that they are compared by their notes alone.
    pub fn is_of_another_model(&self) -> bool {
        !self.catalogue.embedded_by().is_empty() && self.embedder.is_none()
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The songs, which [`Match::song`] counts.
    pub fn songs(&self) -> &[Song] {
        self.catalogue.songs()
    }

    /// The songs that may be sung in a recording, the likeliest first; none where too little is sung.
    ///
    /// # Errors
    /// Where its rate is out of range.
    pub fn search(&self, sound: Audio, options: &SearchOptions) -> Result<Vec<Match>> {
        Ok(self.listen(sound, options)?.matches)
    }

    /// As [`Identifier::search`], with what it was found by.
    ///
    /// # Errors
    /// Where the recording's rate is out of range.
    pub fn listen(&self, sound: Audio, options: &SearchOptions) -> Result<Identified> {
        // Embeddings are of a song's beginning.
        let embedder = self.embedder.as_ref().filter(|_| !options.anywhere);
        let beginning = embedder.map(|_| Embedder::beginning(&sound));
        let tracker = PitchTracker::new(sound.sample_rate, PitchOptions::default())?;
        let contour = tracker.track(&channels::to_count(sound.channels, 1)[0]);
        let mut query = Query::new(&contour);
        if let (Some(query), Some(embedder), Some(beginning)) = (&mut query, embedder, beginning) {
            query.embedding = embedder.ask(move |embedder| embedder.recording(beginning))??.unwrap_or_default();
        }
        let silence = query.as_ref().map_or(0.0, |query| query.silence);
        let matches = query.map_or(Vec::new(), |query| self.searcher.search(self.songs(), &query, options));
        Ok(Identified { contour, silence, matches })
    }
}

/// What was found in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Identified {
    /// The pitch over time.
    pub contour: Contour,
    /// Seconds before the first pitch.
    pub silence: f64,
    /// The songs that may be sung, the likeliest first.
    pub matches: Vec<Match>,
}

impl Identified {
    /// The notes of a song in the key and at the times, in seconds of the recording, in which it was sung if this match is right; those
    /// that were not sung, too, in seconds before or after.
    pub fn notes(&self, song: &Song, found: &Match) -> Vec<SungNote> {
        let time = |at: f64| self.silence + (at - found.at.0) / found.tempo;
        let sung =
            |note: &SungNote| SungNote { start: time(note.start), end: time(note.end), midi: note.midi + found.key };
        song.notes.iter().map(sung).collect()
    }
}

/// Gives songs their embeddings that have none, or another base model's. `done` receives how many more songs of how many are done, and
/// says whether to go on.
///
/// # Errors
/// As [`Embedder::songs`]; also where it was not to go on, and the catalogue is as it was.
pub fn embed(catalogue: &mut Catalogue, mut done: impl FnMut(usize, usize) -> ControlFlow<()>) -> Result<()> {
    let by = base::checksum();
    let same = catalogue.embedded_by() == by;
    let (kept, new): (Vec<&Song>, Vec<&Song>) =
        catalogue.songs().iter().partition(|song| same && !song.embedding.is_empty());
    let mut known: BTreeMap<String, Option<Vec<f32>>> =
        kept.into_iter().map(|song| (song.id.clone(), Some(song.embedding.clone()))).collect();
    let new: Vec<Song> = new.into_iter().cloned().collect();
    let mut embedder = Embedder::new()?;
    let stopped = || Error::Data("stopped; the songs have no embeddings".into());
    if done(0, new.len()).is_break() {
        return Err(stopped());
    }
    for songs in new.chunks(AT_ONCE) {
        known.extend(songs.iter().map(|song| song.id.clone()).zip(embedder.songs(songs, |_| ())?));
        if done(songs.len(), new.len()).is_break() {
            return Err(stopped());
        }
    }
    let in_order = catalogue.songs().iter().map(|song| known.remove(&song.id).flatten()).collect();
    catalogue.embed(&by, in_order);
    Ok(())
}
