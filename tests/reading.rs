//! Reading sound files: every format, the quirks of real recorders, and hostile files.

#![cfg(feature = "app")]

#[path = "common/wav_builder.rs"]
mod wav_builder;

use std::io::Write;
use std::path::Path;

use humdinger::audio::decode::decode_file;
use wav_builder::{Wav, chunk, le16, read};

#[test]
fn every_format() {
    let floats: Vec<u8> = [0.5f32, -0.25, 1.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let ints: Vec<u8> = [i32::MIN, 0, 1 << 30].iter().flat_map(|v| v.to_le_bytes()).collect();
    let wide = |v: i32| (v << 8).to_le_bytes();
    let justified: Vec<u8> = [-(1 << 23), 0, 1 << 22].iter().flat_map(|&v| wide(v)).collect();
    let low: Vec<u8> = [-(1i32 << 23), 0, 1 << 22].iter().flat_map(|v| v.to_le_bytes()).collect();
    let signed24 = vec![0, 0, 0x80, 0, 0, 0, 0, 0, 0x40];
    let expected = vec![-1.0, 0.0, 0.5];
    let table = [
        ("8 bit", Wav::new(1, 1, 8, vec![0, 128, 192]), expected.clone()),
        ("16 bit", Wav::new(1, 1, 16, le16(&[i16::MIN, 0, 1 << 14])), expected.clone()),
        ("24 bit", Wav::new(1, 1, 24, signed24.clone()), expected.clone()),
        ("32 bit", Wav::new(1, 1, 32, ints.clone()), expected.clone()),
        ("float", Wav::new(3, 1, 32, floats.clone()), vec![0.5, -0.25, 1.5]),
        ("extensible 16", Wav::extensible(1, 1, 16, 16, le16(&[i16::MIN, 0, 1 << 14])), expected.clone()),
        ("extensible 24", Wav::extensible(1, 1, 24, 24, signed24), expected.clone()),
        ("extensible 24 in 32", Wav::extensible(1, 1, 32, 24, justified), expected.clone()),
        ("extensible float", Wav::extensible(3, 1, 32, 32, floats), vec![0.5, -0.25, 1.5]),
        ("24 in 4 bytes", Wav { block: Some(4), ..Wav::new(1, 1, 24, low) }, expected),
    ];
    for (name, wav, expected) in table {
        let audio = wav.read().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(audio.channels, vec![expected], "{name}");
        assert_eq!((audio.sample_rate, audio.warnings.len()), (8_000, 0), "{name}: {:?}", audio.warnings);
    }
}

#[test]
fn telephone_codes_and_doubles() {
    // ITU-T G.711: the code that means nothing, the loudest of each sign, and one between.
    let mulaw = Wav::new(7, 1, 8, vec![0xFF, 0x80, 0x00, 0xC0]);
    let alaw = Wav::new(6, 1, 8, vec![0xD5, 0xAA, 0x2A, 0xF5]);
    let scaled = |values: [i16; 4]| values.iter().map(|&v| f32::from(v) / 32_768.0).collect::<Vec<_>>();
    let doubles: Vec<u8> = [0.5f64, -1.25, 1e-9, 0.1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let table = [
        ("mu-law", mulaw.clone(), scaled([0, 32_124, -32_124, 1_884])),
        ("A-law", alaw, scaled([8, 32_256, -32_256, 528])),
        ("extensible mu-law", Wav::extensible(7, 1, 8, 8, mulaw.data), scaled([0, 32_124, -32_124, 1_884])),
        ("64-bit float", Wav::new(3, 1, 64, doubles), vec![0.5, -1.25, 1e-9, 0.1]),
    ];
    for (name, wav, expected) in table {
        let audio = wav.read().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(audio.channels, vec![expected], "{name}");
        assert!(audio.warnings.is_empty(), "{name}: {:?}", audio.warnings);
    }
}

#[test]
fn containers_beside_riff() {
    let samples = [300i16, -20_000, 7, 12_000, -1, 31_000];
    let good = Wav::new(1, 2, 16, le16(&samples));
    let whole = good.read().unwrap().channels;
    // Every number the other way round.
    let mut swapped = good.bytes();
    swapped[..4].copy_from_slice(b"RIFX");
    for (at, bytes) in [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4)] {
        swapped[at..at + bytes].reverse();
    }
    swapped[44..].chunks_exact_mut(2).for_each(<[u8]>::reverse);
    // An ID3 tag in front, as some taggers leave it.
    let tagged = [b"ID3\x03\0\0\0\0\0\x0a".as_slice(), &[0; 10], &good.bytes()].concat();
    // Sony Wave64, with a chunk of an odd length before the format.
    let name = |tag: &[u8; 4]| {
        [tag.as_slice(), &[0xF3, 0xAC, 0xD3, 0x11, 0x8C, 0xD1, 0, 0xC0, 0x4F, 0x8E, 0xDB, 0x8A]].concat()
    };
    let wide = |tag: &[u8; 4], body: &[u8], claimed: u64| {
        let mut chunk = [name(tag), claimed.to_le_bytes().to_vec(), body.to_vec()].concat();
        chunk.resize(chunk.len().next_multiple_of(8), 0);
        chunk
    };
    let format = &good.bytes()[20..36];
    let wave64 = |data_length: u64| {
        let file = [0x2E, 0x91, 0xCF, 0x11, 0xA5, 0xD6, 0x28, 0xDB, 0x04, 0xC1, 0, 0];
        let head = [b"riff".as_slice(), &file, &0u64.to_le_bytes(), &name(b"wave")].concat();
        let (format, junk) = (wide(b"fmt ", format, 40), wide(b"junk", b"abc", 27));
        let mut data = [name(b"data"), data_length.to_le_bytes().to_vec()].concat();
        data.extend(&good.data);
        [head, junk, format, data].concat()
    };
    for (name, bytes, warnings) in [
        ("RIFX", swapped, 0),
        ("ID3 in front", tagged, 0),
        ("Wave64", wave64(24 + 12), 0),
        ("Wave64 cut short", wave64(1 << 40), 1),
        ("Wave64 that was not finished", wave64(0), 1),
    ] {
        let audio = read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(audio.channels, whole, "{name}");
        assert_eq!(audio.warnings.len(), warnings, "{name}: {:?}", audio.warnings);
    }
}

#[test]
fn blocks_that_are_cut_short_give_what_they_hold() {
    // IMA ADPCM without a step: a block of 4 + 8 bytes holds 17 samples.
    let block = [0x10, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let wav = |data: Vec<u8>, channels| Wav { block: Some(12 * channels), ..Wav::new(17, channels, 4, data) };
    assert_eq!(wav([block, block].concat(), 1).read().unwrap().frames(), 34);
    assert_eq!(wav([&block[..], &block[..7]].concat(), 1).read().unwrap().frames(), 17 + 7);
    let both = [&block[..4], &block[..4], &[0; 16]].concat();
    assert_eq!(wav([&both[..], &both[..19]].concat(), 2).read().unwrap().frames(), 17 + 9);
    // What the file says of its length counts where the rest of the last block can be padding.
    let fact = |frames: u32| Wav { before: chunk(b"fact", &frames.to_le_bytes()), ..wav([block, block].concat(), 1) };
    for (said, frames) in [(20, 20), (34, 34), (17, 34), (0, 34), (1_000, 34)] {
        assert_eq!(fact(said).read().unwrap().frames(), frames, "fact {said}");
    }
    // An index of a step that there is not: this block is lost, and only this one.
    let mut damaged = block;
    damaged[2] = 200;
    let audio = wav([block, damaged, block].concat(), 1).read().unwrap();
    assert_eq!(audio.frames(), 51);
    assert!(audio.channels[0][40] == audio.channels[0][5], "{:?}", audio.channels);
}

#[test]
fn channels() {
    let stereo = Wav::new(1, 2, 16, le16(&[1 << 14, 0, 0, 1 << 13])).read().unwrap();
    assert_eq!(stereo.channels, vec![vec![0.5, 0.0], vec![0.0, 0.25]]);
    let six = Wav::new(1, 6, 16, le16(&[3 << 12, 0, 3 << 12, 3 << 11, 3 << 12, 0])).read().unwrap();
    assert_eq!(six.channels, vec![vec![0.375], vec![0.0625]]);
}

/// The bulk conversion against hound's own sample iterator.
#[test]
fn the_same_samples_as_hound() {
    for (bits, float) in [(8, false), (16, false), (24, false), (32, false), (32, true)] {
        let sample_format = if float { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
        let spec = hound::WavSpec { channels: 2, sample_rate: 44_100, bits_per_sample: bits, sample_format };
        let mut file = std::io::Cursor::new(vec![]);
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for i in 0..2_000i64 {
            let value = (i * 2_654_435_761 % (1 << bits)) - (1 << (bits - 1));
            if float {
                writer.write_sample(value as f32 / 2e9).unwrap();
            } else {
                writer.write_sample(value as i32).unwrap();
            }
        }
        writer.finalize().unwrap();
        let bytes = file.into_inner();
        let mut reader = hound::WavReader::new(&bytes[..]).unwrap();
        let expected: Vec<f32> = if float {
            reader.samples::<f32>().map(Result::unwrap).collect()
        } else {
            reader.samples::<i32>().map(|s| (f64::from(s.unwrap()) / f64::from(bits - 1).exp2()) as f32).collect()
        };
        let audio = read(bytes).unwrap();
        assert!(audio.warnings.is_empty());
        let interleaved: Vec<f32> = (0..2_000).map(|i| audio.channels[i % 2][i / 2]).collect();
        assert_eq!(interleaved, expected, "{bits} bits");
    }
}

#[test]
fn quirks_of_recorders() {
    let good = Wav::new(1, 1, 16, le16(&[100, 200, 300, 400]));
    let whole = good.read().unwrap().channels;
    let odd = |padded: bool| {
        let mut list = chunk(b"LIST", b"abc");
        if !padded {
            list.pop();
        }
        list
    };
    let ds64: Vec<u8> = [0u64, 8, 4].iter().flat_map(|v| v.to_le_bytes()).chain([0; 4]).collect();
    let after = chunk(b"LIST", b"INFO");
    // Name, file, number of warnings, whether the samples come out whole.
    let table = [
        ("odd chunk, padded", Wav { before: odd(true), ..good.clone() }, 0),
        ("odd chunk, not padded", Wav { before: odd(false), ..good.clone() }, 0),
        ("chunk behind the data", Wav { after: after.clone(), ..good.clone() }, 0),
        ("data length 0", Wav { data_length: Some(0), ..good.clone() }, 1),
        ("data length 0xFFFFFFFF", Wav { data_length: Some(u32::MAX), ..good.clone() }, 1),
        ("data length too large", Wav { data_length: Some(1_000_000), ..good.clone() }, 1),
        ("truncated last frame", Wav { data: [good.data.clone(), vec![7]].concat(), ..good.clone() }, 1),
        ("wrong byte rate", Wav { byte_rate: Some(1), ..good.clone() }, 0),
        ("wrong block size", Wav { block: Some(0), ..good.clone() }, 1),
        ("18-byte format", Wav { extension: vec![0, 0], ..good.clone() }, 0),
        ("20-byte format", Wav { extension: vec![2, 0, 9, 9], ..good.clone() }, 0),
        ("14-bit samples in 16", Wav { bits: 14, block: Some(2), ..good.clone() }, 0),
        ("a chunk that claims too much", Wav { before: [b"junk".as_slice(), &[0xFF; 4]].concat(), ..good.clone() }, 1),
        (
            "RF64",
            Wav { magic: b"RF64", before: chunk(b"ds64", &ds64), data_length: Some(u32::MAX), after, ..good.clone() },
            0,
        ),
        ("wrong RIFF length", good.clone(), 0),
    ];
    for (name, wav, warnings) in table {
        let mut bytes = wav.bytes();
        if name == "wrong RIFF length" {
            bytes[4..8].fill(0);
        }
        let audio = read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(audio.channels, whole, "{name}");
        assert_eq!(audio.warnings.len(), warnings, "{name}: {:?}", audio.warnings);
    }
}

#[test]
fn samples_that_are_not_finite_become_silence() {
    let data = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let audio = Wav::new(3, 1, 32, data(&[0.5, f32::NAN, f32::INFINITY, -1e30, -0.5])).read().unwrap();
    assert_eq!(audio.channels, vec![vec![0.5, 0.0, 0.0, 0.0, -0.5]]);
    assert!(audio.warnings[0].contains("3 of 5 samples are not finite"), "{:?}", audio.warnings);
    let error = Wav::new(3, 1, 32, data(&[f32::NAN, f32::INFINITY])).read().unwrap_err();
    assert!(error.to_string().contains("no finite sample"), "{error}");
}

#[test]
fn hostile_files_are_refused_by_name() {
    let good = Wav::new(1, 1, 16, le16(&[1, 2, 3]));
    let bytes = good.bytes();
    let swapped = [&bytes[..12], &bytes[36..], &bytes[12..36]].concat();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "empty"),
        ("RIFF alone", b"RIFF".to_vec(), "not a WAV"),
        // Whatever it is called, it was not WAV that was cut off.
        ("AIFF alone", b"FORM".to_vec(), "cut short: 4 B are too few"),
        ("twelve bytes", bytes[..12].to_vec(), "no format chunk"),
        ("format cut short", bytes[..24].to_vec(), "no format chunk"),
        ("no data chunk", bytes[..36].to_vec(), "no data chunk"),
        ("header only", Wav { data: vec![], ..good.clone() }.bytes(), "no samples"),
        (
            "no data but a chunk behind it",
            Wav { data: vec![], after: chunk(b"LIST", b"INFOabcd"), ..good.clone() }.bytes(),
            "no samples",
        ),
        ("zero channels", Wav { channels: 0, ..good.clone() }.bytes(), "zero channels"),
        ("65535 channels", Wav { channels: 65_535, ..good.clone() }.bytes(), "more than WAV can hold"),
        ("30000 channels", Wav { channels: 30_000, ..good.clone() }.bytes(), "no samples"),
        ("0 Hz", Wav { rate: 0, ..good.clone() }.bytes(), "sample rate of 0 Hz"),
        ("1 Hz", Wav { rate: 1, ..good.clone() }.bytes(), "sample rate of 1 Hz"),
        ("4 GHz", Wav { rate: u32::MAX, ..good.clone() }.bytes(), "sample rate"),
        ("0 bits", Wav { bits: 0, ..good.clone() }.bytes(), "0-bit"),
        ("64 bits", Wav { bits: 64, ..good.clone() }.bytes(), "64-bit"),
        ("16-bit float", Wav { tag: 3, ..good.clone() }.bytes(), "16-bit floating-point"),
        ("A-law without samples", Wav { tag: 6, bits: 8, data: vec![], ..good.clone() }.bytes(), "no samples"),
        ("ADPCM without blocks", Wav { tag: 2, bits: 4, ..good.clone() }.bytes(), "ADPCM"),
        (
            "ADPCM of 4 channels",
            Wav { tag: 17, bits: 4, channels: 4, block: Some(64), ..good.clone() }.bytes(),
            "4 channels",
        ),
        ("GSM", Wav { tag: 49, block: Some(65), ..good.clone() }.bytes(), "GSM 6.10"),
        ("unknown encoding", Wav { tag: 0x4242, ..good.clone() }.bytes(), "0x4242"),
        ("extensible without its extension", Wav { tag: 0xFFFE, ..good.clone() }.bytes(), "cut short"),
        ("RIFF but not WAVE", [b"RIFF\0\0\0\0AVI ".as_slice(), &[0; 40]].concat(), "not a WAV"),
        ("big-endian", [b"RIFX\0\0\0\0WAVE".as_slice(), &[0; 40]].concat(), "no format chunk"),
        ("text", b"These are only words, many of them, and no sound.".repeat(50), "no other sound file"),
        ("zeros", vec![0; 4096], "no other sound file"),
        ("a picture", [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 3000]].concat(), "no other sound file"),
        ("an empty FLAC", [b"fLaC\x80\0\0\x22".as_slice(), &[0; 34]].concat(), "no other sound file"),
        ("an ID3 tag alone", [b"ID3\x04\0\0\x7f\x7f\x7f\x7f".as_slice(), &[0; 500]].concat(), "no other sound file"),
        ("an Ogg page alone", [b"OggS\0\x02".as_slice(), &[0; 21], &[1, 30], &[0; 30]].concat(), "no other sound file"),
    ];
    for (name, bytes, part) in table {
        let error = read(bytes).map(|a| a.channels).expect_err(name).to_string();
        assert!(error.starts_with("folder/name.wav: "), "{name}: {error}");
        assert!(error.contains(part), "{name}: {error}");
    }
    // Data in front of the format is against the rules, but all is there.
    assert_eq!(read(swapped).unwrap().frames(), 3);
}

#[test]
fn files_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing.wav"), folder.path().to_path_buf()] {
        let error = decode_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
}

#[test]
fn the_real_recordings() {
    let Some(data) = real_data() else { return };
    let mut files: Vec<_> = walk(&data).into_iter().filter(|p| p.extension().is_some_and(|e| e == "wav")).collect();
    files.sort();
    assert_eq!(files.len(), 483);
    let mut clipped = 0;
    for path in files {
        let audio = decode_file(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Some singers are too loud for their phones; nothing else is wrong.
        assert!(audio.warnings.iter().all(|w| w.contains("is clipped")), "{name}: {:?}", audio.warnings);
        clipped += audio.warnings.len();
        assert!(audio.seconds() > 7.9 && audio.seconds() < 16.0, "{name}: {} s", audio.seconds());
        assert!(audio.channels.iter().flatten().all(|x| x.abs() <= 1.0), "{name}");
        assert!(audio.channels.iter().flatten().any(|x| x.abs() > 0.01), "{name} is silent");
    }
    assert!(clipped < 100, "{clipped} recordings are said to be clipped");
}

/// The development data beside the checkout, which is never part of the project.
fn real_data() -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !path.is_dir() {
        // Past the test harness's capture, so that it is seen in an ordinary run.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there are no recordings at {}", path.display());
        return None;
    }
    Some(path)
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}
