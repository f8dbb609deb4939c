//! Everything else that holds sound, read at once and piece by piece.
#![no_main]

use humdinger::audio::decode::decode_sent;
use humdinger::audio::pieces::Pieces;
use humdinger_fuzz::{sound, write};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Long enough for anything that an input of this size should hold.
    let whole = decode_sent(data.to_vec(), Path::new("fuzz"), 1 << 22);
    if let Ok(audio) = &whole {
        sound(audio);
    }
    // What is longer ends early when it is decoded at once.
    let Ok(whole) = whole else { return };
    if whole.warnings.iter().any(|warning| warning.contains("ends early")) {
        return;
    }
    let Ok(Some(pieces)) = Pieces::open_above(&write("fuzz", data), 0, 0) else { return };
    let rate = pieces.sample_rate();
    let pieces = pieces.read(rate, None).expect("what can be decoded at once");
    assert!(pieces == whole, "read otherwise piece by piece: {:?} and {:?}", pieces.warnings, whole.warnings);
});
