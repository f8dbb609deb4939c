//! Small WAV files for tests.

use std::path::Path;

/// Writes 16-bit mono at `rate` samples a second, with the folders that the path needs.
pub fn write_wav(path: &Path, rate: u32, samples: impl IntoIterator<Item = i16>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}
