//! Everything else that holds sound.
#![no_main]

use humdinger::audio::decode::decode_sent;
use humdinger_fuzz::sound;
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Long enough for anything that an input of this size should hold.
    if let Ok(audio) = decode_sent(data.to_vec(), Path::new("fuzz"), 1 << 22) {
        sound(&audio);
    }
});
