//! Decodes sound files to raw samples, as `humdinger` hears them: for each path on standard input a line of sample rate, channels, frames
//! and warnings, separated by tabs, and a file of its name with `.f32` behind it, 32-bit floats whose channels take turns.

use humdinger::audio::decode::decode_file;
use std::io::{BufRead, Write};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let line = match decode_file(Path::new(&path)) {
            Ok(audio) => {
                let frames = 0..audio.frames();
                let samples = frames.flat_map(|t| audio.channels.iter().map(move |channel| channel[t]));
                let bytes: Vec<u8> = samples.flat_map(f32::to_le_bytes).collect();
                std::fs::write(format!("{path}.f32"), bytes)?;
                let warnings = audio.warnings.join("; ");
                format!("{}\t{}\t{}\t{warnings}", audio.sample_rate, audio.channels.len(), audio.frames())
            }
            Err(error) => format!("0\t0\t0\t{error}"),
        };
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}
