//! Long files are read piece by piece, with the samples and the warnings of a file that is decoded at once.

#![cfg(feature = "app")]

#[path = "common/both_ways.rs"]
mod both_ways;
#[path = "common/program.rs"]
mod program;
#[path = "common/wav_builder.rs"]
mod wav_builder;

use both_ways::in_pieces;
use humdinger::audio::decode::decode_file;
use humdinger::audio::pieces::Pieces;
use program::{humdinger, scratch, small_data, text};
use std::io::Write;
use std::path::{Path, PathBuf};
use wav_builder::{Wav, le16};

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
    assert!(files.len() > 15);
    for file in files {
        assert!(compare(&file), "{} was not read in pieces", file.display());
    }
}

/// Recordings of MPEG audio at other rates and of other channels, joined as with `cat`, as they are and in a WAV file.
#[cfg(feature = "compressed-audio")]
#[test]
fn joined_recordings_are_the_same_piece_by_piece() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds");
    let sound = |name: &str| std::fs::read(folder.join(name)).unwrap();
    // Frames of layer III at 44.1 kHz without a bit of sound, and a tag in front of a file.
    let (silence, id3) = ([0xFF, 0xFB, 0x50, 0xC0].repeat(52), b"ID3\x04\0\0\0\0\0\x0a0123456789".to_vec());
    let joined = [
        ("two", vec![sound("tagged.mp3"), sound("tagged.mp3")]),
        ("two, of other layers", vec![sound("sound.mp2"), sound("soft.mp3")]),
        ("three, of other layers", vec![sound("tagged.mp3"), sound("sound.mp2"), sound("soft.mp3")]),
        ("one between what is none", vec![silence.repeat(3), sound("loud.mp3"), silence.repeat(2)]),
        ("two behind a tag", vec![sound("loud.mp3"), sound("sound.mp2")]),
    ];
    for (name, parts) in joined {
        let tag = if name.ends_with("tag") { &id3[..] } else { &[] };
        let (mp3, wav) = (scratch().join(format!("{name}.mp3")), scratch().join(format!("{name}.wav")));
        let in_wav = Wav { block: Some(1), ..Wav::new(0x55, 1, 0, parts.concat()) }.bytes();
        std::fs::write(&mp3, [tag, &parts.concat()].concat()).unwrap();
        std::fs::write(&wav, [tag, &in_wav].concat()).unwrap();
        for path in [mp3, wav] {
            assert!(compare(&path), "{} was not read in pieces", path.display());
            let audio = in_pieces(&path, None).unwrap().unwrap();
            let recordings = audio.warnings.iter().filter(|text| text.contains("recordings joined")).count();
            assert_eq!(recordings, usize::from(!name.starts_with("one")), "{name}: {:?}", audio.warnings);
            // A passage that begins behind the first recording's end.
            let (from, to) = (audio.seconds() * 0.8, audio.seconds() * 0.9);
            let (passage, _) = Pieces::open_above(&path, 0, 0).unwrap().unwrap().part(from, Some(to)).unwrap();
            let at = (from * f64::from(audio.sample_rate)).round() as usize;
            assert!(passage.channels[0] == audio.channels[0][at..at + passage.frames()], "{name}: another passage");
        }
    }
}

/// Blocks of compressed samples, of any bytes behind the head of each channel in each, which is `head` and what fills it up to `length`.
#[cfg(feature = "compressed-audio")]
fn blocks(count: usize, size: usize, channels: usize, head: &[u8], length: usize) -> Vec<u8> {
    let mut data: Vec<u8> = (0..count * size).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for block in data.chunks_mut(size) {
        block[..channels * length].fill(0);
        (0..channels).for_each(|channel| block[channel * length..][..head.len()].copy_from_slice(head));
    }
    data
}

/// G.711 has no blocks, ADPCM has; the last one may be cut short, or hold more than the file says, and some are damaged.
#[cfg(feature = "compressed-audio")]
#[test]
fn compressed_wav_files_are_the_same_piece_by_piece() {
    let noise = blocks(1, 200_001, 1, &[], 0);
    let said = |frames: u32| [b"fact\x04\0\0\0".to_vec(), frames.to_le_bytes().to_vec()].concat();
    let ima = |channels: u16, data: Vec<u8>, frames: u32| Wav {
        block: Some(1024),
        extension: vec![2, 0, 249, 1],
        before: said(frames),
        ..Wav::new(0x11, channels, 4, data)
    };
    let mut damaged = blocks(300, 1024, 2, &[1, 0, 20], 4);
    // The size of a step that is not there.
    [3, 150, 299].iter().for_each(|at| damaged[at * 1024 + 2] = 200);
    let whole = blocks(300, 1024, 1, &[1, 0, 20], 4);
    // Of small steps, as large ones grow beyond all bounds.
    let microsoft: Vec<u8> = blocks(900, 256, 1, &[0, 16, 0], 7).into_iter().map(|byte| byte & 0x33).collect();
    // Behind it a part of a head, by a predictor that there is not.
    let cut = [microsoft.clone(), vec![200; 5]].concat();
    // Behind what the file says that it holds a part of a block, by such a predictor.
    let longer = [microsoft.clone(), vec![200; 80]].concat();
    let frames = 300 * 2041;
    let files = [
        ("A-law", Wav::new(6, 1, 8, noise.clone()), 200_001),
        ("mu-law in stereo, cut", Wav::new(7, 2, 8, noise.clone()), 100_000),
        ("mu-law of six channels", Wav::new(7, 6, 8, noise), 33_333),
        ("IMA", ima(1, whole.clone(), frames), frames),
        ("IMA, filled up", ima(1, whole.clone(), frames - 700), frames - 700),
        ("IMA, saying too little", ima(1, whole.clone(), 5), frames),
        ("IMA, cut", ima(1, whole[..whole.len() - 300].to_vec(), frames), frames - 600),
        ("IMA, damaged", ima(2, damaged, 300 * 1017), 300 * 1017),
        ("Microsoft", Wav { block: Some(256), ..Wav::new(2, 1, 4, microsoft) }, 900 * 500),
        (
            "Microsoft, saying less",
            Wav { block: Some(256), before: said(450_000), ..Wav::new(2, 1, 4, longer) },
            450_000,
        ),
        ("Microsoft, cut in a head", Wav { block: Some(256), ..Wav::new(2, 1, 4, cut) }, 900 * 500),
    ];
    for (name, wav, frames) in files {
        let path = scratch().join(format!("{name}.wav"));
        std::fs::write(&path, wav.bytes()).unwrap();
        assert!(compare(&path), "{name} was not read in pieces");
        let audio = in_pieces(&path, None).unwrap().unwrap();
        assert_eq!(audio.frames(), frames as usize, "{name}");
        assert_eq!(audio.warnings.iter().any(|text| text.contains("3 damaged blocks")), name.ends_with("damaged"));
        assert!(audio.channels[0].iter().any(|x| x.abs() > 1e-3), "{name} is silent");
        // A passage begins within a block.
        let (passage, _) = Pieces::open_above(&path, 0, 0).unwrap().unwrap().part(1.2345, Some(3.0)).unwrap();
        if !name.ends_with("channels") && !name.ends_with("damaged") {
            assert!(passage.channels[0] == audio.channels[0][9_876..24_000], "{name}: another passage");
        }
    }
    // Of fewer bytes than PCM: they hold as much sound.
    let path = scratch().join("mu-law in stereo, cut.wav");
    assert!(Pieces::open_above(&path, 400_000, u64::MAX).unwrap().is_some());
    assert!(Pieces::open_above(&path, 900_000, u64::MAX).unwrap().is_none());
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
        // So short that nothing is said of it: its channels are not turned round either.
        ("short and opposite", Wav::new(1, 2, 16, le16(&[900, -900, -1700, 1700].repeat(12)))),
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
    sparse_wav(path, &Wav::new(1, 2, 16, vec![]), seconds * 44_100 * 4, heard);
}

/// That of any kind, with so many bytes of sound.
#[cfg(target_os = "linux")]
fn sparse_wav(path: &Path, wav: &Wav, length: u64, heard: &[u8]) {
    let mut header = Wav { rate: 44_100, ..wav.clone() }.bytes();
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

/// Compressed samples are blocks that are decoded one after the other.
#[cfg(all(target_os = "linux", feature = "compressed-audio"))]
#[test]
fn an_hour_of_compressed_samples_needs_little_memory() {
    let seconds = if cfg!(debug_assertions) { 400 } else { 3600 };
    let path = scratch().join("compressed hour.wav");
    let head = [0, 0, 40, 0, 0, 0, 40, 0];
    let tune = blocks(400, 2048, 1, &head, head.len());
    let ima = Wav { block: Some(2048), extension: vec![2, 0, 249, 7], ..Wav::new(0x11, 2, 4, vec![]) };
    for (name, wav, bytes) in [("IMA", ima, seconds * 44_100), ("mu-law", Wav::new(7, 2, 8, vec![]), seconds * 88_200)]
    {
        sparse_wav(&path, &wav, bytes, &tune);
        let used = memory(&["predict", "--device", "cpu", text(&path)]);
        assert!(used < 150.0, "{name}: {used} MB");
    }
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
