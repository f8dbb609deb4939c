//! Tables of labels and label tracks.
#![no_main]

use humdinger::data::labels::list;
use humdinger_fuzz::write;
use std::sync::Once;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static SOUNDS: Once = Once::new();
    SOUNDS.call_once(|| {
        for name in ["1.wav", "2.wav", "labels.wav"] {
            write(name, b"RIFF");
        }
    });
    for name in ["labels.csv", "labels.txt"] {
        if let Ok(listing) = list(&write(name, data)) {
            assert!(!listing.files.is_empty());
            assert!(listing.files.windows(2).all(|pair| pair[0].id < pair[1].id), "ids in order, each once");
        }
    }
});
