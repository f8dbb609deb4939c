//! WAV files, read at once and piece by piece.
#![no_main]

use humdinger::audio::decode::decode_bytes;
use humdinger::audio::pieces::Pieces;
use humdinger_fuzz::{sound, write};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = decode_bytes(data.to_vec(), Path::new("fuzz.wav"));
    if let Ok(audio) = &whole {
        sound(audio);
    }
    let Ok(Some(pieces)) = Pieces::open_above(&write("fuzz.wav", data), 0, u64::MAX) else { return };
    let rate = pieces.sample_rate();
    match (pieces.read(rate, None), whole) {
        (Ok(pieces), Ok(whole)) => assert!(pieces == whole, "read otherwise piece by piece"),
        (Err(_), Err(_)) => {}
        (pieces, whole) => panic!("{:?} and {:?}", pieces.map(|_| ()), whole.map(|_| ())),
    }
});
