//! MP3, FLAC and MP4 files as they are found: joined, tagged, without the tag that says how long they are, changing on the way.

#![cfg(feature = "app")]
#![cfg(feature = "compressed-audio")]

use humdinger::audio::Audio;
use humdinger::audio::decode::{decode_bytes, decode_file};
use std::path::{Path, PathBuf};

fn sound(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(sound(name)).unwrap()
}

fn read(parts: &[&[u8]]) -> Audio {
    decode_bytes(parts.concat(), Path::new("a file")).unwrap()
}

fn told(audio: &Audio) -> String {
    audio.warnings.join("; ")
}

/// Bits, the first of them the highest.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        (0..count).rev().for_each(|i| self.0.push(value >> i & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |sum, (i, &b)| sum | u8::from(b) << (7 - i)))
            .collect()
    }
}

/// A granule of layer III for one channel: whether its windows differ, their type, whether blocks are mixed, and how many pairs of
/// lines are not 0.
type Granule = (u64, u64, u64, u64);
const PLAIN: Granule = (0, 0, 0, 12);

/// A frame of MPEG-1 layer III: 44.1 kHz, 64 kbit/s, 208 bytes, two granules of 576 samples.
fn mp3_frame(granules: [&[Granule]; 2]) -> Vec<u8> {
    let stereo = granules[0].len() == 2;
    let (mut side, mut main) = (Bits::default(), Bits::default());
    side.put(0, if stereo { 9 + 3 + 8 } else { 9 + 5 + 4 });
    for &(windows, kind, mixed, pairs) in granules.iter().copied().flatten() {
        side.put(5 * pairs, 12);
        side.put(pairs, 9);
        side.put(190, 8);
        side.put(0, 4);
        side.put(windows, 1);
        if windows == 1 {
            [(kind, 2), (mixed, 1), (1, 5), (1, 5), (0, 9)].iter().for_each(|&(value, bits)| side.put(value, bits));
        } else {
            [(1, 5), (1, 5), (1, 5), (7, 4), (7, 3)].iter().for_each(|&(value, bits)| side.put(value, bits));
        }
        side.put(0, 3);
        // Huffman's table 1: (1, 1) and two signs.
        for (value, bits) in (0..pairs).flat_map(|k| [(0, 3), (k & 1, 1), (k >> 1 & 1, 1)]) {
            main.put(value, bits);
        }
    }
    let mut frame = vec![0xFF, 0xFB, 0x50, if stereo { 0x60 } else { 0xC0 }];
    frame.extend(side.bytes());
    frame.extend(main.bytes());
    frame.resize(208, 0);
    frame
}

#[test]
fn an_mp3_is_as_long_as_its_frames() {
    // Ten frames at 320 kbit/s, then ninety at 32: whoever guesses from the first takes it for a fifth as long.
    let (loud, soft) = (bytes("loud.mp3"), bytes("soft.mp3"));
    let (long, short) = (read(&[&loud]).frames(), read(&[&soft]).frames());
    let audio = read(&[&loud, &soft]);
    assert_eq!((audio.frames(), told(&audio).as_str()), (long + short, ""));
    assert!(short > 5 * long && long % 1152 == 0 && short % 1152 == 0, "{long} {short}");
    // Tags that an encoder leaves are no sound, wherever they are; each says what to cut off of its own recording.
    let tagged = bytes("tagged.mp3");
    let one = read(&[&tagged]);
    assert_eq!((one.frames(), told(&one).as_str()), (22_050, ""));
    let id3 = b"ID3\x03\0\0\0\0\0\x0a\xff\xfb\x50\xc0123456".as_slice();
    let tail = [b"TAG".as_slice(), &[b' '; 125]].concat();
    let ape = [&b"APETAGEX"[..], &[0xD0, 7, 0, 0, 40, 0, 0, 0], &[0; 16], &[9; 8]].concat();
    let footer = [&b"APETAGEX"[..], &[0xD0, 7, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80], &[0; 8]].concat();
    for (parts, count) in [
        (vec![&tagged[..], &tagged], 2),
        (vec![id3, &tagged, &tail, id3, &tagged, &tail], 2),
        (vec![id3, &tagged, &ape, &footer, &tail], 1),
        (vec![&tagged[..], &tagged, &tagged, &tail], 3),
    ] {
        let audio = read(&parts);
        assert_eq!(audio.frames(), 22_050 * count, "{}", told(&audio));
        assert_eq!(told(&audio).contains(&format!("{count} recordings joined")), count > 1, "{}", told(&audio));
        // Each begins as one alone does.
        assert_eq!(audio.channels[0][22_050 * (count - 1)..], one.channels[0][..]);
    }
    // Another layout in the same file: it comes at its own rate, and with its own channels.
    let other = bytes("sound.mp2");
    let audio = read(&[&tagged, &other]);
    let expected = 22_050 + (read(&[&other]).frames() as f64 * 44_100.0 / 32_000.0).ceil() as usize;
    assert_eq!(audio.frames(), expected, "{}", told(&audio));
}

#[test]
fn what_the_decoder_of_mp3_cannot_do_is_silence_and_told() {
    let (start, short, stop): (Granule, Granule, Granule) = ((1, 1, 0, 12), (1, 2, 0, 12), (1, 3, 0, 12));
    let mixed = |(windows, kind, _, pairs): Granule| (windows, kind, 1, pairs);
    let plain = mp3_frame([&[PLAIN], &[PLAIN]]);
    let frames = [
        vec![plain.clone(); 4],
        vec![mp3_frame([&[PLAIN], &[mixed(start)]])],
        vec![mp3_frame([&[mixed(short)], &[mixed(short)]]); 3],
        vec![mp3_frame([&[mixed(stop)], &[PLAIN]])],
        vec![plain; 6],
    ];
    let audio = read(&[&frames.concat().concat()]);
    assert_eq!(audio.frames(), 15 * 1152);
    assert!(audio.channels[0].iter().all(|x| x.abs() < 0.3), "other samples");
    assert!(audio.channels[0][4 * 1152..10 * 1152].iter().all(|&x| x == 0.0));
    assert!(audio.channels[0][11 * 1152..].iter().any(|x| x.abs() > 0.1));
    assert!(told(&audio).contains("6 damaged packets; 0.157 s of silence"), "{}", told(&audio));
    // Joint stereo whose channels differ in their blocks: Symphonia issue 556.
    let both = mp3_frame([&[PLAIN, PLAIN], &[PLAIN, PLAIN]]);
    let frames = [
        vec![both.clone(); 4],
        vec![mp3_frame([&[PLAIN, PLAIN], &[start, PLAIN]])],
        vec![mp3_frame([&[short, PLAIN], &[short, PLAIN]]); 3],
        vec![mp3_frame([&[stop, PLAIN], &[PLAIN, PLAIN]])],
        vec![both; 6],
    ];
    let audio = read(&[&frames.concat().concat()]);
    assert_eq!(audio.frames(), 15 * 1152);
    assert!(told(&audio).contains("5 damaged packets; 0.131 s of silence"), "{}", told(&audio));
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, b| (0..8).fold(sum ^ b, |sum, _| if sum & 0x80 != 0 { sum << 1 ^ 7 } else { sum << 1 }))
}

fn crc16(bytes: &[u8]) -> u16 {
    let step = |sum: u16| if sum & 0x8000 != 0 { sum << 1 ^ 0x8005 } else { sum << 1 };
    bytes.iter().fold(0, |sum, &b| (0..8).fold(sum ^ u16::from(b) << 8, |sum, _| step(sum)))
}

/// A frame of FLAC with samples as they are; `code` is the sample rate's, `size` that of bits a sample.
fn flac_frame(number: u8, channels: &[(&[i64], u32)], assignment: u8, code: u8, size: u8) -> Vec<u8> {
    let count = channels[0].0.len() as u16 - 1;
    let mut frame = vec![0xFF, 0xF8, 0x70 | code, assignment << 4 | size << 1, number, (count >> 8) as u8, count as u8];
    frame.push(crc8(&frame));
    let mut body = Bits::default();
    for (samples, bits) in channels {
        body.put(2, 8);
        samples.iter().for_each(|&x| body.put(x as u64, *bits));
    }
    frame.extend(body.bytes());
    let sum = crc16(&frame);
    frame.extend(sum.to_be_bytes());
    frame
}

/// The head of a FLAC file, with further blocks of metadata.
fn flac_head(
    least: u16,
    rate: u64,
    channels: u64,
    bits: u64,
    total: u64,
    md5: [u8; 16],
    blocks: &[(u8, Vec<u8>)],
) -> Vec<u8> {
    let mut head = b"fLaC".to_vec();
    head.extend([if blocks.is_empty() { 0x80 } else { 0 }, 0, 0, 34]);
    head.extend([least.to_be_bytes(), 4_000u16.to_be_bytes(), [0; 2], [0; 2], [0; 2]].concat());
    head.extend((rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | total).to_be_bytes());
    head.extend(md5);
    for (i, (kind, body)) in blocks.iter().enumerate() {
        let last = if i + 1 == blocks.len() { 0x80 } else { 0 };
        head.extend([kind | last, 0, (body.len() >> 8) as u8, body.len() as u8]);
        head.extend(body);
    }
    head
}

#[test]
fn what_stands_around_the_frames_of_flac_does_no_harm() {
    let samples: Vec<i64> = (0..8_000).map(|t| (t * 37 % 2_001 - 1_000) * 20).collect();
    let frames: Vec<u8> =
        samples.chunks(4_000).zip(0..).flat_map(|(part, i)| flac_frame(i, &[(part, 16)], 0, 4, 4)).collect();
    let expected: Vec<f32> = samples.iter().map(|&x| x as f32 / 32_768.0).collect();
    let head = |least, total, blocks: &[(u8, Vec<u8>)]| flac_head(least, 8_000, 1, 16, total, [0; 16], blocks);
    let tail = [b"TAG".as_slice(), &[b' '; 125]].concat();
    // A sheet of a disc whose track begins where none of a disc can, and metadata of a kind that is not known.
    let sheet = [&[0; 128 + 8][..], &[0x80], &[0; 258], &[1, 0, 0, 0, 0, 0, 0, 3, 0xE8, 1], &[0; 26], &[0]].concat();
    let cases = [
        ("as it should be", vec![head(4_000, 8_000, &[]), frames.clone()]),
        ("ID3v1 behind", vec![head(4_000, 8_000, &[]), frames.clone(), tail]),
        ("no smallest block", vec![head(0, 8_000, &[]), frames.clone()]),
        ("cue sheet", vec![head(4_000, 8_000, &[(5, sheet)]), frames.clone()]),
        ("unknown block", vec![head(4_000, 8_000, &[(99, vec![1, 2, 3])]), frames.clone()]),
        ("length not known", vec![head(4_000, 0, &[]), frames.clone()]),
    ];
    for (name, parts) in cases {
        let audio = read(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(audio.channels == [expected.clone()] && audio.warnings.is_empty(), "{name}: {}", told(&audio));
    }
    // Longer or shorter than it says; other samples than it says.
    let audio = read(&[&head(4_000, 12_000, &[]), &frames]);
    assert!(told(&audio).contains("the header says 1.500 s, 1.000 s could be decoded"), "{}", told(&audio));
    let audio = read(&[&flac_head(4_000, 8_000, 1, 16, 8_000, [7; 16], &[]), &frames]);
    assert!(audio.frames() == 8_000 && told(&audio).contains("MD5"), "{}", told(&audio));
    // The sum is of the side channel, too, which needs 33 bits here.
    let (left, right) = ([i64::from(i32::MIN); 64], [i64::from(i32::MAX); 64]);
    let side: Vec<i64> = left.iter().zip(&right).map(|(l, r)| l - r).collect();
    let frame = flac_frame(0, &[(&left, 32), (&side, 33)], 8, 4, 7);
    let bytes = [flac_head(64, 8_000, 2, 32, 64, [7; 16], &[]), frame].concat();
    let error = decode_bytes(bytes, Path::new("a file")).unwrap_err().to_string();
    assert!(error.contains("a file: "), "{error}");
}

#[test]
fn flac_goes_on_where_its_sample_rate_changes() {
    let tone = |count: i64| (0..count).map(|t| (t * 37 % 2_001 - 1_000) * 20).collect::<Vec<i64>>();
    let first = tone(4_000);
    let frames = [
        flac_frame(0, &[(&first, 16)], 0, 8, 4),
        flac_frame(1, &[(&first, 16)], 0, 8, 4),
        flac_frame(2, &[(&first, 16)], 0, 5, 4),
        flac_frame(3, &[(&first, 16)], 0, 5, 4),
        flac_frame(4, &[(&first, 16)], 0, 8, 4),
    ];
    let audio = read(&[&flac_head(4_000, 32_000, 1, 16, 0, [0; 16], &[]), &frames.concat()]);
    // 0.25 s at 32 kHz, 0.5 s at 16 kHz, and 0.125 s at 32 kHz again.
    assert_eq!((audio.sample_rate, audio.frames()), (32_000, 8_000 + 16_000 + 4_000), "{}", told(&audio));
    assert!(told(&audio).contains("its sample rate changes, 2 time(s)"), "{}", told(&audio));
    assert_eq!(audio.channels[0][24_000..], audio.channels[0][..4_000]);
}

/// What was lost on its way becomes silence of its length, so that what follows comes at its time.
#[test]
fn missing_packets_are_silence_of_their_length() {
    let energy = |audio: &Audio, from: f64, to: f64| {
        let at = |seconds: f64| (seconds * f64::from(audio.sample_rate)) as usize;
        audio.channels[0][at(from)..at(to)].iter().map(|x| x * x).sum::<f32>()
    };
    // Matroska's blocks, turned into a filler (EBML's Void).
    let mut webm = bytes("browser.webm");
    let whole = read(&[&webm]);
    let block = |at: usize| match webm[at..] {
        [0xA3, size @ 0x81..=0xFE, 0x81, ..] => Some(2 + usize::from(size & 0x7F)),
        [0xA3, high @ 0x40..=0x7F, low, 0x81, ..] => Some(3 + (usize::from(high & 0x3F) << 8 | usize::from(low))),
        _ => None,
    };
    let (mut at, mut blocks) = (0, Vec::new());
    while at < webm.len() {
        match block(at) {
            Some(length) => {
                blocks.push(at);
                at += length;
            }
            None => at += 1,
        }
    }
    assert!(blocks.len() > 20, "{} blocks", blocks.len());
    blocks[8..13].iter().for_each(|&at| webm[at] = 0xEC);
    let without = read(&[&webm]);
    assert_eq!(without.frames(), whole.frames());
    assert!(told(&without).contains("packets are missing; 0.1"), "{}", told(&without));
    assert!(energy(&without, 0.18, 0.24) == 0.0 && energy(&without, 0.4, 0.45) > 1.0);
    // A page of Ogg.
    let ogg = bytes("pages.opus");
    let whole = read(&[&ogg]);
    let mut starts: Vec<usize> = (0..ogg.len()).filter(|&at| ogg[at..].starts_with(b"OggS")).collect();
    starts.push(ogg.len());
    assert!(starts.len() > 6, "{} pages", starts.len());
    // Behind two pages of headers and one of sound.
    let without = read(&[&ogg[..starts[3]], &ogg[starts[4]..]]);
    assert!(whole.frames().abs_diff(without.frames()) <= 960, "{} {}", whole.frames(), without.frames());
    assert!(told(&without).contains("packets are missing; 0."), "{}", told(&without));
    assert!(energy(&without, 0.3, 0.4) > 1.0);
}

/// What is decoded is held against what the container says, and a difference is told with both lengths.
#[test]
fn a_file_that_is_shorter_than_it_says_is_told() {
    let said = |audio: &Audio| {
        let decoded = format!(", {:.3} s could be decoded", audio.seconds());
        told(audio).contains("the file says ") && told(audio).contains(&decoded)
    };
    let (mp3, aiff, untagged) = (bytes("tagged.mp3"), bytes("sound.aiff"), bytes("soft.mp3"));
    for whole in [&mp3, &aiff, &untagged] {
        assert!(!told(&read(&[whole])).contains("the file says"), "{}", told(&read(&[whole])));
    }
    assert!(said(&read(&[&mp3[..mp3.len() / 2]])), "{}", told(&read(&[&mp3[..mp3.len() / 2]])));
    // Without an encoder's tag an MP3 does not say how long it is.
    assert!(!said(&read(&[&untagged[..untagged.len() / 2]])));
    let mut promising = aiff.clone();
    let at = aiff.windows(4).position(|name| name == b"COMM").unwrap() + 10;
    let frames = u32::from_be_bytes(aiff[at..at + 4].try_into().unwrap());
    promising[at..at + 4].copy_from_slice(&(2 * frames).to_be_bytes());
    assert!(said(&read(&[&promising])), "{}", told(&read(&[&promising])));
}

#[test]
fn an_mp4s_edit_list_is_followed() {
    let audio = decode_file(&sound("delayed.m4a")).unwrap();
    assert_eq!((audio.sample_rate, audio.frames(), told(&audio).as_str()), (16_000, 8_000, ""));
    // A sine of 440 Hz begins at its first sample, and not 1024 samples later.
    let first = audio.channels[0][..400].iter().map(|x| x.abs()).fold(0.0, f32::max);
    assert!((0.08..0.2).contains(&first), "{first}");
}
