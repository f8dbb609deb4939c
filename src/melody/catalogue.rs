//! Songs in one file, to be looked for.
//!
//! The file: the text `MAGIC`, the format's version (u32), the payload's length and its XXH3 (u64 each), and the payload, all little
//! endian. The payload: the number of songs (u32); for each its id and title (length in bytes as u32, UTF-8), tempo (f32, beats
//! a minute), notes (count as u32; start, length in seconds and MIDI number, f32 each) and phrases (count as u32; u32 each). In version 2
//! what the embeddings come from follows (length in bytes as u32, UTF-8), and each song's embedding (count as u32, 0 for a song
//! without one; f32 each). Catalogues without embeddings are written as version 1.

use super::notes::SungNote;
use super::song::Song;
use crate::{Error, Result};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// With what a catalogue begins.
const MAGIC: &[u8; 20] = b"HUMDINGER CATALOGUE\n";

/// The newest version.
const VERSION: u32 = 2;

/// The version that has no embeddings.
const NOTES_ALONE: u32 = 1;

/// Songs, each with an id of its own, in order of id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    songs: Vec<Song>,
    embedded_by: String,
}

impl Catalogue {
    /// The songs, in order of id.
    pub fn songs(&self) -> &[Song] {
        &self.songs
    }

    /// Adds a song; one that has its id is replaced, and returned.
    pub fn add(&mut self, mut song: Song) -> Option<Song> {
        // As the file keeps them, so that what is added and what is read are the same.
        let short = |x: f64| f64::from(x as f32);
        song.tempo = short(song.tempo);
        for note in &mut song.notes {
            let length = short(note.end - note.start);
            *note = SungNote { start: short(note.start), end: short(note.start) + length, midi: short(note.midi) };
        }
        match self.songs.binary_search_by(|s| s.id.cmp(&song.id)) {
            Ok(at) => Some(std::mem::replace(&mut self.songs[at], song)),
            Err(at) => {
                self.songs.insert(at, song);
                None
            }
        }
    }

    /// What made the songs' embeddings: a checksum of the base model. Empty where there are none.
    pub fn embedded_by(&self) -> &str {
        &self.embedded_by
    }

    /// Gives songs their embeddings, in order of id; a song may have none. Those that there were are forgotten.
    pub fn embed(&mut self, by: &str, embeddings: Vec<Option<Vec<f32>>>) {
        by.clone_into(&mut self.embedded_by);
        self.songs.iter_mut().for_each(|song| song.embedding.clear());
        for (song, embedding) in self.songs.iter_mut().zip(embeddings) {
            song.embedding = embedding.unwrap_or_default();
        }
    }

    /// Takes a song out, by its id.
    pub fn remove(&mut self, id: &str) -> Option<Song> {
        let at = self.songs.binary_search_by(|s| s.id.as_str().cmp(id)).ok()?;
        Some(self.songs.remove(at))
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let count = |payload: &mut Vec<u8>, n: usize| payload.extend((n as u32).to_le_bytes());
        count(&mut payload, self.songs.len());
        for song in &self.songs {
            for text in [&song.id, &song.title] {
                count(&mut payload, text.len());
                payload.extend(text.as_bytes());
            }
            payload.extend((song.tempo as f32).to_le_bytes());
            count(&mut payload, song.notes.len());
            for note in &song.notes {
                for x in [note.start, note.end - note.start, note.midi] {
                    payload.extend((x as f32).to_le_bytes());
                }
            }
            count(&mut payload, song.phrases.len());
            song.phrases.iter().for_each(|&p| count(&mut payload, p));
        }
        let version = if self.embedded_by.is_empty() { NOTES_ALONE } else { VERSION };
        if version > NOTES_ALONE {
            count(&mut payload, self.embedded_by.len());
            payload.extend(self.embedded_by.as_bytes());
            for song in &self.songs {
                count(&mut payload, song.embedding.len());
                payload.extend(song.embedding.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(xxh3_64(&payload).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Reads the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] where they are no catalogue, of a version that is not known, or damaged.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let failed = |detail: &str| Error::file(path, detail);
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(failed("is no catalogue of songs; `humdinger catalogue make` makes one"));
        };
        let damaged = || failed("is damaged; make the catalogue again");
        let mut head = Bytes(rest);
        let version = head.u32().ok_or_else(damaged)?;
        if !(NOTES_ALONE..=VERSION).contains(&version) {
            let detail = format!(
                "is a catalogue of version {version}, and this program reads versions {NOTES_ALONE} to {VERSION}"
            );
            return Err(Error::file(path, format!("{detail}; make the catalogue again")));
        }
        let length = head.u64().ok_or_else(damaged)?;
        let sum = head.u64().ok_or_else(damaged)?;
        if head.0.len() as u64 != length || xxh3_64(head.0) != sum {
            return Err(damaged());
        }
        Self::from_payload(&mut head, version).ok_or_else(damaged)
    }

    fn from_payload(bytes: &mut Bytes<'_>, version: u32) -> Option<Self> {
        let mut songs = Vec::new();
        for _ in 0..bytes.u32()? {
            let (id, title, tempo) = (bytes.text()?, bytes.text()?, f64::from(bytes.f32()?));
            let mut notes = Vec::new();
            for _ in 0..bytes.u32()? {
                let [start, length, midi] = [bytes.f32()?, bytes.f32()?, bytes.f32()?].map(f64::from);
                notes.push(SungNote { start, end: start + length, midi });
            }
            let mut phrases = Vec::new();
            for _ in 0..bytes.u32()? {
                phrases.push(bytes.u32()? as usize);
            }
            let sound = notes.iter().all(|n| n.start.is_finite() && n.end.is_finite() && n.midi.is_finite());
            if !sound || notes.is_empty() || phrases.iter().any(|&p| p >= notes.len()) {
                return None;
            }
            songs.push(Song { id, title, tempo, notes, phrases, embedding: Vec::new() });
        }
        let mut embedded_by = String::new();
        if version > NOTES_ALONE {
            embedded_by = bytes.text()?;
            for song in &mut songs {
                for _ in 0..bytes.u32()? {
                    song.embedding.push(bytes.f32()?);
                }
                if song.embedding.iter().any(|x| !x.is_finite()) {
                    return None;
                }
            }
        }
        (bytes.0.is_empty() && songs.is_sorted_by(|a, b| a.id < b.id)).then_some(Self { songs, embedded_by })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, and as [`Catalogue::from_bytes`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        Self::from_bytes(&bytes, path)
    }
}

/// Bytes that are read from the front; nothing where there are too few.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}
