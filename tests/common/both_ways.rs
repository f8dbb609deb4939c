//! Sound files decoded at once and, with the same result, piece by piece.

#![allow(dead_code, reason = "each test file uses a part")]

use super::program::scratch;
use humdinger::audio::Audio;
use humdinger::audio::decode::decode_bytes;
use humdinger::audio::pieces::Pieces;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All of a file, piece by piece however short it is.
pub fn in_pieces(path: &Path, rate: Option<u32>) -> Option<humdinger::Result<humdinger::audio::Audio>> {
    match Pieces::open_above(path, 0, 0) {
        Ok(pieces) => {
            let pieces = pieces?;
            let rate = rate.unwrap_or_else(|| pieces.sample_rate());
            Some(pieces.read(rate, None))
        }
        Err(error) => Some(Err(error)),
    }
}

/// A file of these parts.
pub fn decode(parts: &[&[u8]]) -> Result<Audio, String> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = scratch().join(format!("{}-sound-file", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, parts.concat()).unwrap();
    let whole = decode_bytes(parts.concat(), &path).map_err(|e| e.to_string());
    // What only ffmpeg reads fails where there is none.
    let by_ffmpeg = |audio: &Audio| audio.warnings.iter().find(|text| text.starts_with("read by ffmpeg")).cloned();
    let whole = whole.and_then(|audio| by_ffmpeg(&audio).map_or(Ok(audio), Err));
    match in_pieces(&path, None) {
        Some(Ok(pieces)) => {
            assert_eq!(Ok(&pieces.warnings), whole.as_ref().map(|whole| &whole.warnings));
            assert!(Ok(pieces) == whole, "other sound piece by piece");
        }
        Some(Err(error)) => assert!(whole.is_err(), "fails only piece by piece: {error}"),
        None => assert!(whole.is_err(), "was not read in pieces"),
    }
    whole
}

pub fn read(parts: &[&[u8]]) -> Audio {
    decode(parts).unwrap()
}

/// Its warnings, in a line.
pub fn told(audio: &Audio) -> String {
    audio.warnings.join("; ")
}
