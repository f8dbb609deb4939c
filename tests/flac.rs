//! FLAC files as they are found: with odd metadata, and changing on the way.

#![cfg(feature = "app")]
#![cfg(feature = "compressed-audio")]

#[path = "common/bits.rs"]
mod bits;
#[path = "common/both_ways.rs"]
mod both_ways;
#[path = "common/program.rs"]
mod program;

use bits::Bits;
use both_ways::{decode, read, told};

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, b| (0..8).fold(sum ^ b, |sum, _| if sum & 0x80 != 0 { sum << 1 ^ 7 } else { sum << 1 }))
}

fn crc16(bytes: &[u8]) -> u16 {
    let step = |sum: u16| if sum & 0x8000 != 0 { sum << 1 ^ 0x8005 } else { sum << 1 };
    bytes.iter().fold(0, |sum, &b| (0..8).fold(sum ^ u16::from(b) << 8, |sum, _| step(sum)))
}

/// A frame with samples as they are; `code` is the sample rate's, `size` that of bits a sample.
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
    let error = decode(&[&bytes]).unwrap_err();
    assert!(error.contains("sound-file: "), "{error}");
}

/// A tone of so many samples, none of them above 20 000.
fn tone(count: i64) -> Vec<i64> {
    (0..count).map(|t| (t * 37 % 2_001 - 1_000) * 20).collect()
}

#[test]
fn the_sample_rate_may_change() {
    let first = tone(4_000);
    // The third as its head says, the others as that of the file.
    let frames = [(0, 8), (1, 0), (2, 5), (3, 5), (4, 8)].map(|(i, code)| flac_frame(i, &[(&first, 16)], 0, code, 4));
    let head = |total, md5| flac_head(4_000, 32_000, 1, 16, total, md5, &[]);
    let audio = read(&[&head(0, [0; 16]), &frames.concat()]);
    // 0.25 s at 32 kHz, 0.5 s at 16 kHz, and 0.125 s at 32 kHz again.
    assert_eq!((audio.sample_rate, audio.frames()), (32_000, 8_000 + 16_000 + 4_000), "{}", told(&audio));
    assert_eq!(told(&audio), "its sample rate changes, 2 time(s); all of it was brought to 32000 Hz");
    assert_eq!(audio.channels[0][24_000..], audio.channels[0][..4_000]);
    // The same, whether the header counts all samples, some of them, or those at its own rate alone.
    for (total, text) in [(20_000, ""), (12_000, "12000 samples, 20000"), (28_000, "28000 samples, 20000")] {
        let again = read(&[&head(total, [9; 16]), &frames.concat()]);
        assert!(again.channels == audio.channels && told(&again).contains("its MD5 sum was not checked"));
        assert_eq!(again.warnings.len(), 1 + usize::from(!text.is_empty()), "{total}: {}", told(&again));
        assert!(told(&again).contains(text), "{total}: {}", told(&again));
    }
}

#[test]
fn the_number_of_channels_and_the_bits_may_change() {
    let (high, low) = (tone(4_000), tone(4_000).iter().map(|x| x / 256).collect::<Vec<_>>());
    let mono = |i, code, size, bits| flac_frame(i, &[(if bits == 8 { &low } else { &high }, bits)], 0, code, size);
    let stereo = |i, code| flac_frame(i, &[(&high, 16), (&high, 16)], 1, code, 4);
    let head = |channels, bits| flac_head(4_000, 8_000, channels, bits, 0, [0; 16], &[]);
    let expected: Vec<f32> = high.iter().map(|&x| x as f32 / 32_768.0).collect();

    let audio = read(&[&head(1, 16), &mono(0, 4, 4, 16), &stereo(1, 4), &mono(2, 4, 0, 16)]);
    assert_eq!(told(&audio), "its number of channels changes, 2 time(s); all of it was brought to 8000 Hz");
    assert!(audio.channels == [expected.repeat(3)], "mono");
    let audio = read(&[&head(2, 16), &stereo(0, 4), &mono(1, 5, 4, 16)]);
    assert!(told(&audio).starts_with("its sample rate and number of channels change, 1 time(s)"), "{}", told(&audio));
    assert_eq!((audio.channels.len(), audio.frames()), (2, 6_000));

    let audio = read(&[&head(1, 16), &mono(0, 4, 4, 16), &mono(1, 4, 1, 8)]);
    assert_eq!(told(&audio), "its sample size changes, 1 time(s); all of it was brought to 8000 Hz");
    let quiet = low.iter().map(|&x| x as f32 / 128.0);
    assert!(audio.channels == [expected.iter().copied().chain(quiet).collect::<Vec<_>>()], "bits");
}

#[test]
fn what_cannot_be_decoded_of_a_changing_file_is_said() {
    let first = tone(4_000);
    let frame = |i, code, size, bits| flac_frame(i, &[(&first[..], bits)], 0, code, size);
    let head = |bits, md5| flac_head(4_000, 8_000, 1, bits, 0, md5, &[]);
    // A frame of silence at 200 Hz, less than what is read.
    let mut odd = vec![0xFF, 0xF8, 0x7D, 4 << 1, 1, 0x0F, 0x9F, 0, 200];
    odd.push(crc8(&odd));
    odd.extend([0; 3]);
    odd.extend(crc16(&odd).to_be_bytes());
    let audio = read(&[&head(16, [0; 16]), &frame(0, 4, 4, 16), &odd, &frame(2, 4, 4, 16)]);
    assert_eq!(audio.frames(), 8_000);
    assert!(told(&audio).contains("1 more parts of the file hold no sound"), "{}", told(&audio));
    // 32 bits are not trusted without a checksum.
    let error = decode(&[&head(32, [1; 16]), &frame(0, 4, 7, 32), &frame(1, 5, 7, 32)]).unwrap_err();
    assert!(error.contains("sound-file: ") && error.contains("because its sample rate changes"), "{error}");
}

/// What the head says of blocks is only a promise, and what is cut out of a stream has none.
#[test]
fn frames_count_more_than_the_head() {
    let samples = tone(9_000);
    let expected: Vec<f32> = samples.iter().map(|&x| x as f32 / 32_768.0).collect();
    let (first, rest) = samples.split_at(4_000);
    let (second, third) = rest.split_at(3_000);
    // Numbered, although not of one length, as old encoders wrote them.
    let frames: Vec<u8> =
        [first, second, third].iter().zip(0..).flat_map(|(part, i)| flac_frame(i, &[(part, 16)], 0, 4, 4)).collect();
    let head = |least| flac_head(least, 8_000, 1, 16, 9_000, [0; 16], &[]);
    let mut short_blocks = head(16);
    short_blocks[10..12].copy_from_slice(&1_000u16.to_be_bytes());
    let cases = [
        ("blocks of several lengths", vec![head(2_000), frames.clone()]),
        ("blocks of one length", vec![head(4_000), frames.clone()]),
        ("blocks that are longer than the longest", vec![short_blocks, frames.clone()]),
        ("other channels than it has", vec![flac_head(4_000, 8_000, 2, 16, 9_000, [0; 16], &[]), frames.clone()]),
        ("another rate than it has", vec![flac_head(4_000, 44_100, 1, 16, 9_000, [0; 16], &[]), frames.clone()]),
        ("more metadata than was said", vec![head(4_000), vec![0; 100], frames.clone()]),
        ("no head", vec![frames]),
    ];
    for (name, parts) in cases {
        let audio = read(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(audio.channels == [expected.clone()] && audio.warnings.is_empty(), "{name}: {}", told(&audio));
    }
    // A frame alone, or one that does not say how it is coded, may be anything.
    assert!(decode(&[&flac_frame(0, &[(first, 16)], 0, 4, 4)]).is_err());
    let silent: Vec<u8> = (0..3).flat_map(|i| flac_frame(i, &[(first, 16)], 0, 0, 4)).collect();
    assert!(decode(&[&silent]).is_err());
}
