//! The frames of MPEG audio (ISO 11172-3, 13818-3): where one recording ends and the next begins.
//!
//! Files are joined with `cat`, and people's players do not mind. Each recording has its own tag with the encoder's delay, and
//! the layout may change where they meet, so each is decoded by itself.

use std::ops::Range;

/// What the header of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Version, layer, sample rate and whether it is mono: what does not change within a recording.
    kind: (u8, u8, u32, bool),
    /// Bytes of the frame.
    length: usize,
    /// Bytes between the header and the sound of layer III.
    side: usize,
    /// Whether a checksum follows the header.
    checked: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, b, c, d, ..] = bytes else { return None };
        let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
        let (rate, bit_rate) = (usize::from(c >> 2 & 3), usize::from(c >> 4));
        if b & 0xE0 != 0xE0 || version == 1 || layer == 0 || rate == 3 || bit_rate == 0 || bit_rate == 15 {
            return None;
        }
        let mpeg1 = version == 3;
        let rate = [44_100, 48_000, 32_000][rate] >> [2u32, 0, 1, 0][usize::from(version)];
        let kbits: [usize; 15] = match (mpeg1, layer) {
            (true, 3) => [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            (true, 2) => [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            (true, _) => [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            (false, 3) => [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            (false, _) => [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        };
        let (bits, padding) = (kbits[bit_rate] * 1000, usize::from(c >> 1 & 1));
        let length = match layer {
            3 => (12 * bits / rate as usize + padding) * 4,
            1 if !mpeg1 => 72 * bits / rate as usize + padding,
            _ => 144 * bits / rate as usize + padding,
        };
        let mono = d >> 6 == 3;
        let side = match (mpeg1, mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        };
        Some(Self { kind: (version, layer, rate, mono), length, side, checked: b & 1 == 0 })
    }
}

/// Whether these bytes begin with a frame that another one of the same kind follows.
pub fn is_mpeg(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|first| match bytes.get(first.length..) {
        Some(rest) if rest.len() >= 4 => Header::read(rest).is_some_and(|next| next.kind == first.kind),
        _ => false,
    })
}

/// The recordings in a file of MPEG audio: wherever another encoder's tag or an ID3 tag begins, or the layout changes. Tags
/// between them are left out.
pub fn recordings(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::<Range<usize>>::new();
    let (mut at, mut kind, mut begins) = (0, None, true);
    while at + 4 <= bytes.len() {
        let rest = &bytes[at..];
        let tag = super::decode::id3_length(rest);
        if tag > 0 {
            (at, begins) = (at + tag, true);
            continue;
        }
        let Some(header) = Header::read(rest) else {
            at += 1;
            continue;
        };
        let next = bytes.get(at + header.length..).unwrap_or_default();
        let ends =
            next.len() < 4 || next.starts_with(b"TAG") || next.starts_with(b"APETAGEX") || next.starts_with(b"ID3");
        // Four bytes alone could be anything.
        if !ends && Header::read(next).is_none() && Some(header.kind) != kind {
            at += 1;
            continue;
        }
        begins |= is_info(rest, header) || kind.is_some_and(|kind| kind != header.kind);
        kind = Some(header.kind);
        let end = bytes.len().min(at + header.length);
        match found.last_mut() {
            Some(last) if !begins => last.end = end,
            _ => found.push(at..end),
        }
        (at, begins) = (end, false);
    }
    found
}

/// Whether the first frame is an encoder's tag, which says how long the recording is.
pub fn is_counted(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|header| is_info(bytes, header))
}

/// Whether a frame is an encoder's tag and no sound: Xing's, which LAME extends.
fn is_info(frame: &[u8], header: Header) -> bool {
    let at = 4 + header.side + if header.checked { 2 } else { 0 };
    // LAME does not count the checksum.
    [at, 4 + header.side].iter().any(|&at| matches!(frame.get(at..at + 4), Some(b"Xing" | b"Info")))
}

/// Whether a frame of layer III has a granule of mixed blocks, whose short and long transforms lie in one: Symphonia gives other
/// samples for them.
pub fn has_mixed_blocks(frame: &[u8]) -> bool {
    let Some(header) = Header::read(frame).filter(|header| header.kind.1 == 1) else { return false };
    let side = &frame[(4 + if header.checked { 2 } else { 0 }).min(frame.len())..];
    let bit = |at: usize| side.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let (mpeg1, channels) = (header.kind.0 == 3, if header.kind.3 { 1 } else { 2 });
    let (first, each, granules) = match (mpeg1, channels) {
        (true, 1) => (9 + 5 + 4, 59, 2),
        (true, _) => (9 + 3 + 8, 59, 2),
        (false, 1) => (8 + 1, 63, 1),
        (false, _) => (8 + 2, 63, 1),
    };
    // Lengths of the parts, big values and gain, scale factors; then the flag of other windows, their type and this one.
    let flag = 12 + 9 + 8 + if mpeg1 { 4 } else { 9 };
    (0..granules * channels).any(|i| bit(first + i * each + flag) && bit(first + i * each + flag + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of silence: MPEG-1 layer III, 44.1 kHz, 64 kbit/s, 208 bytes; `mode` 0xC0 is mono.
    fn frame(mode: u8, tag: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xFF, 0xFB, 0x50, mode];
        frame.resize(if mode == 0xC0 { 21 } else { 36 }, 0);
        frame.extend(tag);
        frame.resize(208, 0);
        frame
    }

    #[test]
    fn recordings_begin_with_tags_and_other_layouts() {
        let (mono, stereo) = (frame(0xC0, b""), frame(0x40, b""));
        let (info, xing) = (frame(0xC0, b"Info"), frame(0x40, b"Xing"));
        let id3 = b"ID3\x03\0\0\0\0\0\x0a\xff\xfb\x50\xc0123456".to_vec();
        let tail = [b"TAG".as_slice(), &[b' '; 125]].concat();
        let parts = |parts: &[&[u8]]| -> Vec<(usize, usize)> {
            recordings(&parts.concat()).into_iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(parts(&[&mono, &mono, &mono]), [(0, 624)]);
        assert_eq!(parts(&[&info, &mono, &info, &mono, &mono]), [(0, 416), (416, 1040)]);
        assert_eq!(parts(&[&mono, &mono, &stereo, &stereo]), [(0, 416), (416, 832)]);
        assert_eq!(parts(&[&xing, &stereo, &tail]), [(0, 416)]);
        assert_eq!(parts(&[&mono, &mono, &tail, &id3, &mono, &mono]), [(0, 416), (564, 980)]);
        // Cut short, and with junk before and between.
        assert_eq!(parts(&[&mono, &mono[..100]]), [(0, 308)]);
        assert_eq!(parts(&[b"\xff\xfbjunk", &mono, &mono, &[7; 50], &mono, &mono]), [(6, 888)]);
        assert!(parts(&[&[0xFF; 500]]).is_empty() && parts(&[]).is_empty());
        assert!(is_mpeg(&[&mono[..], &mono].concat()) && !is_mpeg(&mono) && !is_mpeg(&[0xFF; 9]));
    }

    #[test]
    fn mixed_blocks_are_seen_in_every_granule() {
        for (granule, channels) in [(0, 1), (1, 1), (0, 2), (3, 2)] {
            let mut frame = frame(if channels == 1 { 0xC0 } else { 0x40 }, b"");
            assert!(!has_mixed_blocks(&frame));
            let at = if channels == 1 { 18 } else { 20 } + 59 * granule + 33;
            for bit in [at, at + 3] {
                frame[4 + bit / 8] |= 0x80 >> (bit % 8);
            }
            assert!(has_mixed_blocks(&frame), "granule {granule} of {channels} channels");
        }
    }
}
