//! MP3, MP4, AIFF and WebM files as they are found: joined, tagged, without the tag that says how long they are, changing on the way.

#![cfg(feature = "app")]
#![cfg(feature = "compressed-audio")]

#[path = "common/bits.rs"]
mod bits;
#[path = "common/both_ways.rs"]
mod both_ways;
#[path = "common/program.rs"]
mod program;

use bits::Bits;
use both_ways::{read, told};
use humdinger::audio::Audio;
use humdinger::audio::decode::decode_file;
use std::path::{Path, PathBuf};

fn sound(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(sound(name)).unwrap()
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

/// The encoder's padding is the last that a file has: one that was cut off has none, however much its tag says.
#[test]
fn of_an_mp3_that_was_cut_off_no_padding_is_cut() {
    let tagged = bytes("tagged.mp3");
    let whole = read(&[&tagged]);
    // The last three frames are missing, or more than the sound's half.
    for missing in [300, tagged.len() / 2] {
        let cut = read(&[&tagged[..tagged.len() - missing]]);
        let frames = cut.frames();
        assert!(cut.channels[0] == whole.channels[0][..frames], "{missing}");
        assert_eq!((frames + 1_105) % 1_152, 0, "{missing}: {frames} frames");
        // A tenth of a second is not worth a word.
        assert_eq!(told(&cut).contains("the file says"), missing > 300, "{frames} frames, {}", told(&cut));
    }
    // With more in front of the sound than there is, all of it is taken for sound.
    let at = tagged.windows(4).position(|name| name == b"Lavf").unwrap() + 21;
    let mut late = tagged[..tagged.len() - 17 * 104].to_vec();
    assert_eq!(u16::from_be_bytes([tagged[at], tagged[at + 1]]) >> 4, 576, "the tag's delay");
    late[at] = 0xFF;
    let audio = read(&[&late]);
    assert!(audio.frames() > 0 && audio.frames().is_multiple_of(1_152), "{} {}", audio.frames(), told(&audio));
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = if body.len() % 2 == 1 { &[0][..] } else { &[] };
    [name, &(body.len() as u32).to_be_bytes()[..], body, padding].concat()
}

#[test]
fn aiff_is_read_whatever_stands_around_its_samples() {
    let samples: Vec<f32> = (0..2_000).map(|t| (t * 37 % 201 - 100) as f32 / 256.0).collect();
    let rate = [0x40, 0x0B, 0xFA, 0, 0, 0, 0, 0, 0, 0];
    let common = |bits: u16, kind: &[u8]| {
        let numbers = [&[0, 1][..], &2_000u32.to_be_bytes(), &bits.to_be_bytes(), &rate].concat();
        chunk(b"COMM", &[&numbers[..], kind].concat())
    };
    let form = |kind: &[u8; 4], chunks: &[&[u8]]| chunk(b"FORM", &[&kind[..], &chunks.concat()].concat());
    let sound = |bytes: &[u8]| chunk(b"SSND", &[&[0; 8], bytes].concat());
    let words: Vec<u8> = samples.iter().flat_map(|x| ((x * 32_768.0) as i16).to_be_bytes()).collect();
    let floats: Vec<u8> = samples.iter().flat_map(|x| x.to_be_bytes()).collect();
    // The name of a type in a chunk that is much longer than the name, as some programs write it.
    let long_name = [&b"fl32\0\0\x0032-bit floating point"[..], &[0; 391]].concat();
    let behind = [&8u32.to_be_bytes()[..], &[0; 4], &[9; 8], &words].concat();
    let mut streamed = form(b"AIFF", &[&common(16, b""), &sound(&words)]);
    let at = streamed.windows(4).position(|name| name == b"SSND").unwrap();
    streamed[at + 4..at + 8].fill(0);
    let mut lengths = form(b"AIFF", &[&common(16, b""), &sound(&words)]);
    lengths[4..8].copy_from_slice(&[0xFF; 4]);
    let files = [
        ("as it should be", form(b"AIFF", &[&common(16, b""), &sound(&words)])),
        ("floating point", form(b"AIFC", &[&common(32, b"fl32\0\0"), &sound(&floats)])),
        ("a long name", form(b"AIFC", &[&common(32, &long_name), &chunk(b"CHAN", &[0; 32]), &sound(&floats)])),
        ("sound first", form(b"AIFF", &[&sound(&words), &chunk(b"odd ", b"123"), &common(16, b"")])),
        ("tags without anything", form(b"AIFF", &[&common(16, b""), &sound(&words), &chunk(b"ID3 ", b"")])),
        ("sound behind an offset", form(b"AIFF", &[&common(16, b""), &chunk(b"SSND", &behind)])),
        ("no length of the sound", streamed),
        ("a wrong length of the file", lengths),
    ];
    for (name, file) in files {
        let audio = read(&[&file]);
        assert!(audio.channels == [samples.clone()], "{name}: other samples, {}", audio.frames());
        assert_eq!((audio.sample_rate, told(&audio).as_str()), (8_000, ""), "{name}");
    }
    let audio = read(&[&form(b"AIFF", &[&common(16, b""), &sound(&words[..2_000])])]);
    assert!(told(&audio).contains("the file says 0.250 s, 0.125 s could be decoded"), "{}", told(&audio));
}

/// Matroska may put several packets into a block, which has the time of the first.
#[test]
fn packets_of_one_block_follow_each_other() {
    let webm = bytes("browser.webm");
    let at = webm.windows(4).position(|id| id == [0x1F, 0x43, 0xB6, 0x75]).unwrap();
    let (mut head, mut rest) = (webm[..at].to_vec(), &webm[at + 9..]);
    // The segment is of no known length.
    let segment = head.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap();
    head[segment + 5..segment + 12].fill(0xFF);
    // What says where its parts are becomes a filler.
    let parts = head.windows(4).position(|id| id == [0x11, 0x4D, 0x9B, 0x74]).unwrap();
    assert!((0x80..0xFC).contains(&head[parts + 4]), "a size of one byte");
    (head[parts], head[parts + 1]) = (0xEC, head[parts + 4] + 3);
    let mut packets = Vec::new();
    while let [0xA3, size @ 0x81..=0xFE, ..] = *rest {
        let end = 2 + usize::from(size & 0x7F);
        packets.push(&rest[6..end]);
        rest = &rest[end..];
    }
    assert!(packets.len() > 20 && packets.iter().all(|packet| packet.len() < 255));
    let length = |bytes: usize| [&[0x10 | (bytes >> 24) as u8], &(bytes as u32).to_be_bytes()[1..]].concat();
    let mut cluster = vec![0xE7, 0x81, 0];
    for (i, packets) in packets.chunks(8).enumerate() {
        let time = i * 160;
        let mut body = vec![0x81, (time >> 8) as u8, time as u8, 0x82, packets.len() as u8 - 1];
        body.extend(packets[..packets.len() - 1].iter().map(|packet| packet.len() as u8));
        cluster.extend([&[0xA3], &length(body.len() + packets.concat().len())[..], &body, &packets.concat()].concat());
    }
    let laced = [&head[..], &[0x1F, 0x43, 0xB6, 0x75], &length(cluster.len()), &cluster].concat();
    let (audio, whole) = (read(&[&laced]), read(&[&webm]));
    assert!(!told(&audio).contains("missing"), "{}", told(&audio));
    let frames = audio.frames().min(whole.frames());
    assert!(frames >= 22_000 && audio.channels[0][..frames] == whole.channels[0][..frames]);
}

/// Frames lie in it in pieces, between heads of packets.
#[test]
fn a_transport_stream_is_not_taken_for_what_it_holds() {
    let packets: Vec<u8> =
        bytes("soft.mp3").chunks(184).flat_map(|part| [&[0x47, 0, 0x40, 0x10], part].concat()).collect();
    let error = both_ways::decode(&[&packets]).unwrap_err();
    assert!(error.contains("transport stream"), "{error}");
}

/// Readers refuse whole files for pictures and chapters that they do not understand.
#[test]
fn sound_is_read_whatever_stands_beside_it() {
    let boxed = |kind: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat();
    // A track of pictures without anything that a track must have, behind all others, where nothing else moves.
    let sound = bytes("lossless.m4a");
    let movie = sound.windows(4).position(|name| name == b"moov").unwrap() - 4;
    assert!(movie > sound.windows(4).position(|name| name == b"mdat").unwrap());
    let handler = boxed(b"hdlr", &[&[0; 8], &b"vide"[..], &[0; 12]].concat());
    let pictures = boxed(b"trak", &boxed(b"mdia", &handler));
    let film = [&sound[..movie], &boxed(b"moov", &[&sound[movie + 8..], &pictures].concat())].concat();
    let audio = read(&[&film]);
    assert!(audio == read(&[&sound]) && audio.warnings.is_empty(), "{}", told(&audio));
    // Without a track of sound there is none.
    let mut silent = film.clone();
    let handlers = film.windows(4).enumerate().filter(|(_, name)| *name == b"soun").map(|(at, _)| at);
    handlers.for_each(|at| silent[at..at + 4].copy_from_slice(b"vide"));
    assert!(both_ways::decode(&[&silent]).is_err());

    // Chapters whose edition has no number.
    let webm = bytes("browser.webm");
    let at = webm.windows(4).position(|id| id == [0x1F, 0x43, 0xB6, 0x75]).unwrap();
    let chapters = [0x10, 0x43, 0xA7, 0x70, 0x83, 0x45, 0xB9, 0x80];
    let mut file = [&webm[..at], &chapters, &webm[at..]].concat();
    let segment = file.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap();
    let size = u64::from_be_bytes(file[segment + 4..segment + 12].try_into().unwrap()) + chapters.len() as u64;
    file[segment + 4..segment + 12].copy_from_slice(&size.to_be_bytes());
    let audio = read(&[&file]);
    assert!(audio == read(&[&webm]) && audio.warnings.is_empty(), "{}", told(&audio));
}
