//! Checkpoints: their headers, with zeros for weights.
#![no_main]

use humdinger::train::checkpoint::Checkpoint;
use humdinger_fuzz::{tensors, write};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = write("checkpoint.safetensors", &tensors(data));
    if let Ok(checkpoint) = Checkpoint::read(&path) {
        drop(checkpoint.write(&path));
    }
});
