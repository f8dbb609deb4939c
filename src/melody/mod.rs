//! Melodies: the pitch of singing, humming or whistling over time, and its notes.
//!
//! ```
//! use humdinger::melody::{notes::notes, pitch::{PitchOptions, PitchTracker}};
//!
//! // Half a second of A4, with overtones as a voice has them.
//! let wave = |i: usize| (1..5).map(|h| (i as f32 * 0.05 * h as f32 * std::f32::consts::TAU).sin() / h as f32).sum();
//! let samples: Vec<f32> = (0..4400).map(wave).collect();
//! let contour = PitchTracker::new(8800, PitchOptions::default())?.track(&samples);
//! let found = notes(&contour);
//! assert_eq!(found.len(), 1);
//! assert!((found[0].midi - 69.0).abs() < 0.1);
//! # Ok::<(), humdinger::Error>(())
//! ```

#[cfg(feature = "app")]
pub mod abc;
#[cfg(feature = "app")]
pub mod catalogue;
#[cfg(feature = "app")]
pub mod midi;
#[cfg(feature = "app")]
pub mod midi_in;
#[cfg(feature = "app")]
pub mod musicxml;
pub mod notes;
pub mod pitch;
#[cfg(feature = "app")]
pub mod search;
#[cfg(feature = "app")]
pub mod song;
pub mod steady;
pub mod stretches;

/// The MIDI note number of a frequency in Hz, with its fraction: 69 is A4 (440 Hz), and 1 is a semitone.
pub fn hz_to_midi(hz: f64) -> f64 {
    69.0 + 12.0 * (hz / 440.0).log2()
}

/// The frequency in Hz of a MIDI note number: the inverse of [`hz_to_midi`].
pub fn midi_to_hz(midi: f64) -> f64 {
    440.0 * ((midi - 69.0) / 12.0).exp2()
}

/// The name of the nearest note, `A4` for 440 Hz, with sharps.
pub fn note_name(midi: f64) -> String {
    const NAMES: [&str; 12] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
    let number = midi.round() as i64;
    format!("{}{}", NAMES[number.rem_euclid(12) as usize], number.div_euclid(12) - 1)
}
