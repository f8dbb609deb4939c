//! Long files are read piece by piece, with the samples and the warnings of a file that is decoded at once.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav_builder.rs"]
mod wav_builder;

use humdinger::audio::decode::decode_file;
use humdinger::audio::pieces::Pieces;
use program::{humdinger, scratch, small_data, text};
use std::io::Write;
use std::path::{Path, PathBuf};
use wav_builder::{Wav, le16};

/// All of a file, piece by piece however short it is.
fn in_pieces(path: &Path, rate: Option<u32>) -> Option<humdinger::Result<humdinger::audio::Audio>> {
    match Pieces::open_above(path, 0, 0) {
        Ok(pieces) => {
            let pieces = pieces?;
            let rate = rate.unwrap_or_else(|| pieces.sample_rate());
            Some(pieces.read(rate, None))
        }
        Err(error) => Some(Err(error)),
    }
}

fn compare(path: &Path) -> bool {
    let Some(pieces) = in_pieces(path, None) else { return false };
    match (pieces, decode_file(path)) {
        (Ok(pieces), Ok(whole)) => {
            assert_eq!(pieces.warnings, whole.warnings, "{}", path.display());
            assert!(pieces == whole, "{}: other samples", path.display());
            for rate in [8_000, 11_000] {
                let again = in_pieces(path, Some(rate)).unwrap().unwrap();
                assert!(again == whole.clone().resampled(rate).unwrap(), "{} at {rate} Hz", path.display());
            }
        }
        (Err(pieces), Err(whole)) => assert_eq!(pieces.to_string(), whole.to_string()),
        (pieces, whole) => panic!("{}: {:?} and {:?}", path.display(), pieces.map(|_| ()), whole.map(|_| ())),
    }
    true
}

#[cfg(feature = "compressed-audio")]
#[test]
fn every_compressed_file_is_the_same_piece_by_piece() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let compared = files.iter().filter(|file| compare(file)).count();
    assert!(compared >= 12, "only {compared} of {} files were read in pieces", files.len());
}

#[test]
fn every_wav_file_is_the_same_piece_by_piece() {
    // Several pieces, loud to the top, with some of everything that is told.
    let tune = |gain: f32, turned: bool| -> Vec<i16> {
        let sample = |t: u32| (gain * (t as f32 * 0.171).sin() * (1.0 + (t as f32 * 0.0003).sin())) as i16;
        (0..200_001)
            .flat_map(|t| [sample(t), if turned { sample(t).saturating_neg() } else { sample(t * 2) }])
            .collect()
    };
    let (stereo, opposite, clipped) = (le16(&tune(9e3, false)), le16(&tune(9e3, true)), le16(&tune(9e4, false)));
    let mut floats: Vec<u8> = (0..200_001u32).flat_map(|t| ((t as f32 * 0.1).sin() * 0.5).to_le_bytes()).collect();
    floats[400_000..400_004].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut cut = stereo.clone();
    cut.truncate(cut.len() - 3);
    let files = [
        ("stereo", Wav::new(1, 2, 16, stereo.clone())),
        ("opposite", Wav::new(1, 2, 16, opposite)),
        ("clipped", Wav::new(1, 2, 16, clipped)),
        ("six channels", Wav::new(1, 6, 16, stereo.clone())),
        ("silence", Wav::new(1, 1, 16, vec![0; 300_000])),
        ("floats", Wav::new(3, 1, 32, floats)),
        ("cut", Wav { data_length: Some(stereo.len() as u32), ..Wav::new(1, 2, 16, cut) }),
        ("endless", Wav { data_length: Some(u32::MAX), ..Wav::new(1, 2, 16, stereo.clone()) }),
        ("unfinished", Wav { data_length: Some(0), ..Wav::new(1, 2, 16, stereo.clone()) }),
        ("big-endian", Wav { magic: b"RIFX", ..Wav::new(1, 2, 16, stereo) }),
        ("short", Wav::new(1, 1, 16, vec![7; 90])),
    ];
    for (name, wav) in files {
        let path = scratch().join(format!("{name}.wav"));
        std::fs::write(&path, wav.bytes()).unwrap();
        assert!(compare(&path) || name == "big-endian", "{name} was not read in pieces");
    }
    let absent = scratch().join("absent.wav");
    assert!(Pieces::open(&absent).unwrap().is_none() && Pieces::open(scratch()).unwrap().is_none());
}

/// A WAV file of 44.1 kHz stereo of which the disk holds only the header, and `heard` at its beginning.
#[cfg(target_os = "linux")]
fn sparse(path: &Path, seconds: u64, heard: &[u8]) {
    let length = seconds * 44_100 * 4;
    let mut header = Wav { rate: 44_100, ..Wav::new(1, 2, 16, vec![]) }.bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&(length as u32).to_le_bytes());
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&header).unwrap();
    file.write_all(heard).unwrap();
    file.set_len(header.len() as u64 + length).unwrap();
}

/// Megabytes that a command of the program took at most.
#[cfg(target_os = "linux")]
fn memory(arguments: &[&str]) -> f64 {
    let output = humdinger().arg("-v").args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let at = told.find("at most ").unwrap_or_else(|| panic!("{told}")) + 8;
    told[at..].split(' ').next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn an_hour_needs_little_memory() {
    // Without optimisation an hour takes minutes.
    let seconds = if cfg!(debug_assertions) { 250 } else { 3600 };
    let path = scratch().join("hour.wav");
    let tune: Vec<i16> = (0..44_100 * 9).flat_map(|t| [((f64::from(t) * 0.05).sin() * 9e3) as i16; 2]).collect();
    sparse(&path, seconds, &le16(&tune));
    let file = text(&path);
    let picture = scratch().join("hour.png");
    let used = memory(&["spectrogram", file, "--out", text(&picture)]);
    assert!(used < 150.0, "spectrogram: {used} MB");
    let used = memory(&["predict", "--device", "cpu", file]);
    assert!(used < 150.0, "predict: {used} MB");
    let used = memory(&["check", text(&folder_with(&path))]);
    assert!(used < 150.0, "check: {used} MB");
    std::fs::remove_file(path).unwrap();
}

/// A folder of two songs, one of which has a link to this file.
#[cfg(target_os = "linux")]
fn folder_with(path: &Path) -> PathBuf {
    let folder = scratch().join("with a long one");
    for song in ["A", "B"] {
        std::fs::create_dir_all(folder.join(song)).unwrap();
    }
    std::os::unix::fs::symlink(path, folder.join("A/long.wav")).unwrap();
    std::fs::write(folder.join("B/1.wav"), Wav::new(1, 1, 16, le16(&[5; 8_000])).bytes()).unwrap();
    folder
}

/// What does not fit into memory is left out with its reason, and the run goes on.
#[cfg(target_os = "linux")]
#[test]
fn five_hours_without_the_memory_for_them_are_left_out() {
    let folder = scratch().join("five hours");
    let data = small_data();
    let copy = std::process::Command::new("cp").args(["-r", text(data), text(&folder)]).status().unwrap();
    assert!(copy.success());
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.filter(|name| name.ends_with(".wav")).min().unwrap();
    let song = name.rsplit_once('_').unwrap().1;
    sparse(&folder.join(format!("S900_hum_1_{song}")), 5 * 3600, &[]);
    let run = scratch().join("five hours run");
    let command = format!(
        "ulimit -v 1200000; exec {} train --data '{}' --epochs 1 --no-augment --no-cache --device cpu --out '{}'",
        env!("CARGO_BIN_EXE_humdinger"),
        folder.display(),
        run.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &command])
        .env("HUMDINGER_CACHE", scratch().join("cache"))
        .current_dir(scratch())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("lasts 300 minutes, and there is not enough memory for so much sound"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_passage_of_a_long_file_is_read_alone() {
    let samples: Vec<i16> = (0..80_000u32).flat_map(|t| [(t % 20_011) as i16, (t % 10_007) as i16]).collect();
    let path = scratch().join("passages.wav");
    std::fs::write(&path, Wav::new(1, 2, 16, le16(&samples)).bytes()).unwrap();
    let pieces = || Pieces::open_above(&path, 0, 0).unwrap().unwrap();
    let (audio, short) = pieces().part(2.5, Some(4.0)).unwrap();
    assert_eq!((audio.frames(), audio.channels[0][0], short), (12_000, 20_000.0 / 32_768.0, None));
    let (audio, short) = pieces().part(9.5, Some(12.0)).unwrap();
    assert_eq!((audio.frames(), short), (4_000, Some(10.0)));
    let error = pieces().part(11.0, None).unwrap_err().to_string();
    assert!(error.contains("lasts 10.000 s, and the passage begins at 11.000 s"), "{error}");
}
