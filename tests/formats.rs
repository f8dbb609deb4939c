//! Files that phones, browsers and recorders write: each decodes to the sine that `tools/make_sounds.sh` put into it.

#![cfg(feature = "app")]
#![cfg(feature = "compressed-audio")]

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use humdinger::audio::Audio;
use humdinger::audio::decode::{decode_bytes, decode_file, is_sound_file};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds").join(name)
}

/// How much of the energy between `from` and `to` (seconds) is a sine of 440 Hz, from 0 to 1, and its amplitude.
fn sine(audio: &Audio, from: f64, to: f64) -> (f64, f64) {
    let rate = f64::from(audio.sample_rate);
    let range = (from * rate) as usize..(to * rate) as usize;
    let (mut cosine, mut sine, mut energy, count) = (0.0, 0.0, 0.0, range.len() as f64);
    for t in range {
        let (x, phase) = (f64::from(audio.channels[0][t]), TAU * 440.0 * t as f64 / rate);
        cosine += x * phase.cos();
        sine += x * phase.sin();
        energy += x * x;
    }
    let amplitude = (cosine * cosine + sine * sine).sqrt() * 2.0 / count;
    (amplitude * amplitude / 2.0 * count / energy, amplitude)
}

#[test]
fn every_container_gives_the_sine_back() {
    // Name, sample rate, channels, frames, and how many more frames than that the container cannot tell from sound.
    let cases = [
        ("voice.opus", 48_000, 1, 24_000, 0),
        ("music.ogg", 48_000, 2, 24_000, 0),
        ("browser.webm", 48_000, 1, 24_000, 0),
        ("pages.opus", 48_000, 1, 24_000, 0),
        ("lossless.m4a", 8_000, 1, 4_000, 0),
        ("sound.mka", 8_000, 1, 4_000, 0),
        ("sound.flac", 8_000, 2, 4_000, 0),
        ("sound.aiff", 8_000, 1, 4_000, 0),
        ("sound.caf", 8_000, 1, 4_000, 0),
        ("sound.mp2", 32_000, 1, 16_000, 1_152),
        // What fills up their last block, where nothing in the file says how much that is.
        ("ms-adpcm.wav", 8_000, 1, 4_000, 2_036),
        ("ima-adpcm.wav", 8_000, 2, 4_000, 1_017),
        ("wave64.w64", 8_000, 1, 4_000, 0),
        ("mpeg.wav", 16_000, 1, 8_000, 1_728),
    ];
    for (name, rate, channels, frames, more) in cases {
        assert!(is_sound_file(Path::new(name)), "{name} is passed over in folders");
        let audio = decode_file(&file(name)).unwrap();
        assert_eq!((audio.sample_rate, audio.channels.len()), (rate, channels), "{name}");
        assert!((frames..=frames + more).contains(&audio.frames()), "{name}: {} frames", audio.frames());
        assert!(audio.warnings.is_empty(), "{name}: {:?}", audio.warnings);
        let (purity, amplitude) = sine(&audio, 0.1, 0.4);
        assert!(purity > 0.98, "{name}: {purity} of the sound is the sine");
        // ffmpeg's sine has an amplitude of an eighth; in stereo each side has all or 3 dB less of it.
        assert!((0.08..0.14).contains(&amplitude), "{name}: amplitude {amplitude}");
    }
}

#[test]
fn joined_ogg_files_are_read_one_after_the_other() {
    let audio = decode_file(&file("joined.ogg")).unwrap();
    assert_eq!(audio.frames(), 48_000);
    assert!(audio.warnings.iter().any(|w| w.contains("2 recordings joined")), "{:?}", audio.warnings);
    for from in [0.1, 0.6] {
        assert!(sine(&audio, from, from + 0.3).0 > 0.98, "from {from} s");
    }
}

#[test]
fn flac_is_read_to_its_end_where_rate_and_channels_change() {
    let audio = decode_file(&file("changing.flac")).unwrap();
    assert_eq!((audio.sample_rate, audio.channels.len(), audio.frames()), (8_000, 2, 8_000));
    assert!(
        audio.warnings.iter().any(|w| w.contains("sample rate and number of channels change")),
        "{:?}",
        audio.warnings
    );
    for from in [0.1, 0.6] {
        assert!(sine(&audio, from, from + 0.3).0 > 0.98, "from {from} s");
    }
}

#[test]
fn damaged_files_of_every_kind_neither_panic_nor_give_what_is_not_finite() {
    let mut state = 1u32;
    for entry in std::fs::read_dir(file("")).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        for round in 0..24 {
            let mut bytes = whole.clone();
            for _ in 0..1 + round {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % bytes.len();
                bytes[at] ^= (state >> 24) as u8 | 1;
            }
            bytes.truncate(bytes.len() - (state as usize >> 8) % (bytes.len() / 2));
            if let Ok(audio) = decode_bytes(bytes, &path) {
                assert!(audio.channels.iter().flatten().all(|x| x.is_finite()), "{}", path.display());
            }
        }
    }
}
