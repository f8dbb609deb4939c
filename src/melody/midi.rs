//! Notes as a MIDI file.

use super::notes::{SungNote, tuning};
use crate::{Error, Result};
use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};

/// Ticks a second of the files: 500 a beat at 120 beats a minute.
const TICKS: f64 = 1000.0;

/// The bytes of a MIDI file of one track that plays `notes`, each at the nearest semitone of the singer's own tuning
/// ([`tuning`]), at the times at which they were sung.
///
/// # Errors
/// [`Error::Value`] where a note ends later than a MIDI file can say: after three days.
pub fn midi_file(notes: &[SungNote]) -> Result<Vec<u8>> {
    let off = tuning(notes);
    let tick = |seconds: f64| (seconds * TICKS).round() as u64;
    let mut events: Vec<(u64, bool, u8)> = Vec::new();
    for note in notes {
        let key = (note.midi - off).round().clamp(0.0, 127.0) as u8;
        events.push((tick(note.start), true, key));
        events.push((tick(note.end), false, key));
    }
    // Where one note ends as another begins, the end comes first.
    events.sort();
    let meta = |message| TrackEvent { delta: u28::new(0), kind: TrackEventKind::Meta(message) };
    let mut track = vec![meta(MetaMessage::Tempo(u24::new(500_000)))];
    let mut now = 0;
    for (at, on, key) in events {
        let delta = u28::try_from((at - now) as u32)
            .filter(|_| at - now <= u64::from(u28::max_value().as_int()))
            .ok_or_else(|| Error::value("notes", format!("a pause before {} s is too long for MIDI", at / 1000)))?;
        now = at;
        let (key, vel) = (u7::new(key), u7::new(80));
        let message = if on { MidiMessage::NoteOn { key, vel } } else { MidiMessage::NoteOff { key, vel: u7::new(0) } };
        track.push(TrackEvent { delta, kind: TrackEventKind::Midi { channel: u4::new(0), message } });
    }
    track.push(meta(MetaMessage::EndOfTrack));
    let header = Header::new(Format::SingleTrack, Timing::Metrical(u15::new((TICKS / 2.0) as u16)));
    let mut bytes = Vec::new();
    let written = Smf { header, tracks: vec![track] }.write_std(&mut bytes);
    written.map_err(|e| Error::value("notes", format!("cannot be written as MIDI: {e}")))?;
    Ok(bytes)
}
