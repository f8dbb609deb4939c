//! Reading compressed sound files.

#![cfg(feature = "compressed-audio")]

#[path = "common/wav_builder.rs"]
mod wav_builder;

use std::path::Path;

use humdinger::audio::decode::decode_bytes;
use proptest::prelude::*;
use wav_builder::{Wav, chunk, le16, read};

/// A FLAC file written by hand: 16-bit mono at 8 kHz, `frames` times `n` equal samples (constant subframes).
fn flac_frames(frames: u16, n: u32, value: i16) -> Vec<u8> {
    let size = n as u16;
    let mut info = vec![];
    info.extend(size.to_be_bytes());
    info.extend(size.to_be_bytes());
    info.extend([0; 6]);
    // 20 bits sample rate, 3 bits channels - 1, 5 bits bits - 1, 36 bits total samples.
    info.extend(((8_000u64 << 44) | (15 << 36) | (u64::from(n) * u64::from(frames))).to_be_bytes());
    info.extend([0; 16]);
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend(info);
    let crc = |bytes: &[u8], bits: u32, polynomial: u32| {
        let mask = (1u32 << bits) - 1;
        bytes.iter().fold(0u32, |mut crc, &byte| {
            crc ^= u32::from(byte) << (bits - 8);
            for _ in 0..8 {
                crc = if crc >> (bits - 1) & 1 == 1 { (crc << 1 ^ polynomial) & mask } else { crc << 1 & mask };
            }
            crc
        })
    };
    for number in 0..frames {
        // Fixed block size, 16-bit block size at the end of the header, sample rate and bits from the stream info; then the
        // frame's number, coded as UTF-8 codes characters.
        let mut frame = vec![0xFF, 0xF8, 0x70, 0x00];
        frame.extend(char::from_u32(u32::from(number)).unwrap().to_string().bytes());
        frame.extend((size - 1).to_be_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        frame.push(0);
        frame.extend(value.to_be_bytes());
        let sum = crc(&frame, 16, 0x8005) as u16;
        frame.extend(sum.to_be_bytes());
        file.extend(frame);
    }
    file
}

fn flac(n: u16, value: i16) -> Vec<u8> {
    flac_frames(1, u32::from(n), value)
}

/// A few kilobytes can hold a day of silence: it is read as far as is in proportion.
#[test]
fn a_small_file_cannot_take_much_memory() {
    use humdinger::audio::decode::most_samples;
    let day = flac_frames(2_000, 65_535, 0);
    let most = most_samples(day.len());
    assert!(day.len() < 40_000 && most < 20_000_000);
    let audio = read(day).unwrap();
    assert!(audio.frames() <= most && audio.frames() > most - 65_535, "{} of at most {most}", audio.frames());
    assert!(audio.warnings[0].contains("out of proportion"), "{:?}", audio.warnings);
    let whole = read(flac_frames(130, 4_000, 5)).unwrap();
    assert_eq!(whole.frames(), 520_000);
    assert!(
        whole.warnings.iter().all(|w| w.contains("is silent: every sample has the one value")),
        "{:?}",
        whole.warnings
    );
}

#[test]
fn flac_is_read_whatever_its_name() {
    let audio = read(flac(4_000, 8_192)).unwrap();
    assert_eq!(audio.channels, vec![vec![0.25; 4_000]]);
    assert_eq!(audio.sample_rate, 8_000);
    let mut tagged = b"ID3\x04\0\0\0\0\0\x05abcde".to_vec();
    tagged.extend(flac(4_000, 8_192));
    assert_eq!(read(tagged).unwrap().channels, audio.channels);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any byte of a good file changed, any cut: an error or some samples, never a panic, never more than the file can hold.
    #[test]
    fn damaged_wav_files(cut in 0usize..200, changes in prop::collection::vec((0usize..80, any::<u8>()), 0..6)) {
        let mut wav = Wav::extensible(1, 2, 16, 16, le16(&[1; 60]));
        wav.before = chunk(b"LIST", b"abc");
        let mut bytes = wav.bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(cut.max(1));
        let size = bytes.len();
        if let Ok(audio) = read(bytes) {
            prop_assert!(audio.frames() > 0 && audio.frames() * audio.channels.len() <= size);
            prop_assert!(audio.channels.iter().flatten().all(|x| x.is_finite()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_flac_files(cut in 0usize..80, changes in prop::collection::vec((0usize..60, any::<u8>()), 0..4)) {
        let mut bytes = flac(4_000, 77);
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        bytes.truncate(cut.max(1));
        if let Ok(audio) = read(bytes) {
            prop_assert!(audio.frames() > 0);
        }
    }
}

/// The files of tests/golden/encoded: half a second of 440 Hz, stereo.
fn encoded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoded");
    let names = ["tone.flac", "flac-in.ogg", "tone.mp3", "tone.ogg", "tone.m4a"];
    names.map(|name| (name.to_string(), std::fs::read(folder.join(name)).unwrap())).to_vec()
}

#[test]
fn compressed_formats() {
    // Named as they are, and as somebody may have named them.
    for (real_name, bytes) in encoded() {
        for name in [real_name.as_str(), "recording.wav", "recording"] {
            let audio = decode_bytes(bytes.clone(), Path::new(name)).unwrap_or_else(|e| panic!("{real_name}: {e}"));
            assert_eq!((audio.sample_rate, audio.channels.len()), (16_000, 2), "{real_name}");
            assert!(audio.warnings.is_empty(), "{real_name}: {:?}", audio.warnings);
            // MP3 and AAC pad with some silence.
            assert!((0.45..0.65).contains(&audio.seconds()), "{real_name}: {} s", audio.seconds());
            let middle = &audio.channels[0][2_000..6_000];
            let rises = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            assert!((109..=111).contains(&rises), "{real_name}: {rises} periods in a quarter of a second");
            let loudest = middle.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            // ffmpeg's sine has an eighth of full scale, and 3 dB less in each of two channels.
            assert!((0.08..0.1).contains(&loudest), "{real_name}: {loudest}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes changed, cut out and cut off: an error or finite samples, never a panic, never out of proportion.
    #[test]
    fn damaged_compressed_files(
        which in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        gap in (any::<prop::sample::Index>(), 0usize..40),
        cut in prop::option::of(any::<prop::sample::Index>())
    ) {
        let (name, mut bytes) = encoded().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let from = gap.0.index(bytes.len());
        bytes.drain(from..(from + gap.1).min(bytes.len()));
        if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
            bytes.truncate(cut.index(bytes.len()));
        }
        let most = humdinger::audio::decode::most_samples(bytes.len());
        match decode_bytes(bytes, Path::new(&name)) {
            Ok(audio) => {
                prop_assert!(audio.frames() > 0 && audio.frames() * audio.channels.len() <= most);
                prop_assert!(audio.channels.iter().flatten().all(|x| x.is_finite()));
            }
            Err(error) => prop_assert!(error.to_string().starts_with(&name), "{}", error),
        }
    }
}
