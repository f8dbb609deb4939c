//! What stands around the frames of a FLAC file (RFC 9639), put into an order that a strict reader accepts.

use super::bytes::{Bytes, Stream};

/// Bytes of the block that says what the stream is, with its head, behind `fLaC`.
const STREAM_INFO: usize = 4 + 34;

/// The bits of the stream's fields that say how many samples a channel has.
const TOTAL: u64 = (1 << 36) - 1;

/// A FLAC stream in memory.
pub struct Flac {
    info: [u8; STREAM_INFO],
    frames: Bytes,
}

impl Flac {
    /// Finds the frames behind the metadata, or without any; none where this is no FLAC file, or its metadata has no end.
    pub fn find(bytes: &Bytes) -> Option<Self> {
        let Some(rest) = bytes.strip_prefix(b"fLaC") else { return Self::without_head(bytes) };
        let mut info: [u8; STREAM_INFO] = rest.get(..STREAM_INFO)?.try_into().ok()?;
        if info[0] & 0x7F != 0 || info[1..4] != [0, 0, 34] {
            return None;
        }
        let mut at = 0;
        loop {
            let head = rest.get(at..at + 4)?;
            at += 4 + (usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]));
            if head[0] & 0x80 != 0 {
                break;
            }
        }
        rest.get(at..)?;
        // All other metadata are of no use here, and some readers refuse a file for what is in them.
        info[0] = 0x80;
        let mut flac = Self { info, frames: bytes.part(4 + at..bytes.len()) };
        let usual = flac.layout();
        // Some blocks of metadata are longer than they say.
        let found = heads(&flac.frames, usual).next();
        if let Some((first, layout)) = found {
            // What a frame says of itself counts more than what the head says.
            let fields = layout.fields() | flac.fields() & TOTAL;
            flac.info[14..22].copy_from_slice(&fields.to_be_bytes());
            flac.frames = flac.frames.part(first..flac.frames.len());
            any_blocks(&mut flac.info, &flac.frames);
        }
        Some(flac)
    }

    /// A stream that begins with a frame, as what was cut out of a longer one, where the frame says how it is coded and another follows.
    fn without_head(frames: &Bytes) -> Option<Self> {
        let nothing = Layout { rate: 0, channels: 0, bits: 0 };
        let layout = Layout::of_frame(frames, nothing).filter(|layout| layout.rate > 0 && layout.bits > 0)?;
        // The longest frame, 65535 samples of eight channels and 32 bits, is shorter.
        let near = &frames[..frames.len().min(1 << 22)];
        starts(near).find(|&at| at > 0 && Layout::of_frame(&near[at..], nothing).is_some())?;
        let mut info = [0; STREAM_INFO];
        (info[0], info[3]) = (0x80, 34);
        info[14..22].copy_from_slice(&layout.fields().to_be_bytes());
        any_blocks(&mut info, frames);
        Some(Self { info, frames: frames.clone() })
    }

    /// The stream without anything that is not needed to decode it.
    pub fn stream(&self) -> Stream {
        Stream::new([b"fLaC".as_slice(), &self.info].concat(), self.frames.clone())
    }

    /// Samples per channel, where the stream says how many.
    pub fn frames(&self) -> Option<u64> {
        let total = self.fields() & TOTAL;
        (total > 0).then_some(total)
    }

    /// How the stream says that it is coded.
    pub fn layout(&self) -> Layout {
        let fields = self.fields();
        let part = |shift: u32, bits: u32| (fields >> shift) as u32 & ((1 << bits) - 1);
        Layout { rate: part(44, 20), channels: part(41, 3) + 1, bits: part(36, 5) + 1 }
    }

    fn fields(&self) -> u64 {
        self.info[14..22].iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte))
    }

    /// Whether there is an MD5 sum of the samples.
    pub fn has_checksum(&self) -> bool {
        self.info[22..] != [0; 16]
    }

    /// The stream cut into parts that are coded in one way each, with a head of its own each; none where all frames are coded alike.
    pub fn parts(&self) -> Vec<(Layout, Stream)> {
        let usual = self.layout();
        // In nearly all files nothing looks like the head of a frame that is coded in another way, which is found out without the checksums
        // of frames.
        let mut layouts = heads(&self.frames, usual).map(|head| head.1);
        if layouts.next().is_none_or(|first| layouts.all(|layout| layout == first)) {
            return vec![];
        }
        let mut parts = Vec::<(Layout, usize)>::new();
        for at in starts(&self.frames) {
            if let Some(layout) = Layout::of_frame(&self.frames[at..], usual)
                && parts.last().is_none_or(|part| part.0 != layout)
            {
                parts.push((layout, at));
            }
        }
        if parts.len() < 2 {
            return vec![];
        }
        let ends = parts[1..].iter().map(|part| part.1).chain([self.frames.len()]);
        let part = |(&(layout, at), end)| (layout, self.part(layout, self.frames.part(at..end)));
        parts.iter().zip(ends).map(part).collect()
    }

    fn part(&self, layout: Layout, frames: Bytes) -> Stream {
        let mut info = self.info;
        any_blocks(&mut info, &frames);
        // How long it is, and the checksum of its samples, are not known.
        info[14..22].copy_from_slice(&layout.fields().to_be_bytes());
        info[22..].fill(0);
        Self { info, frames }.stream()
    }
}

/// Allows blocks of any size: some encoders write others than the head says.
fn any_blocks(info: &mut [u8; STREAM_INFO], frames: &[u8]) {
    // Frames have a number of their own where all blocks are of one size, and else that of their first sample.
    let numbered = frames.get(1).is_some_and(|byte| byte & 1 == 0);
    let shortest = if numbered { u16::MAX } else { 16 };
    info[4..6].copy_from_slice(&shortest.to_be_bytes());
    info[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
    info[8..14].fill(0);
}

/// What looks like the head of a frame: where, and how the frame is coded.
fn heads(frames: &[u8], usual: Layout) -> impl Iterator<Item = (usize, Layout)> {
    let places = (0..frames.len()).filter(|&at| frames[at] == 0xFF);
    places.filter_map(move |at| Some((at, Layout::of_frame(&frames[at..], usual)?)))
}

/// Where frames may begin. The checksum of a frame with its own checksum behind it is 0: there, and only there, another one begins.
fn starts(frames: &[u8]) -> impl Iterator<Item = usize> {
    let mut sum = 0;
    frames.iter().enumerate().filter_map(move |(at, &byte)| {
        // Most places are passed over by their first byte.
        let begins = sum == 0 && byte == 0xFF;
        sum = sum << 8 ^ CRC16[usize::from((sum >> 8) as u8 ^ byte)];
        begins.then_some(at)
    })
}

/// The sums of single bytes: CRC-16 with the polynomial 0x8005.
const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            sum = if sum & 0x8000 != 0 { sum << 1 ^ 0x8005 } else { sum << 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// How frames are coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Samples a second.
    pub rate: u32,
    pub channels: u32,
    /// Bits of a sample.
    pub bits: u32,
}

impl Layout {
    /// As the head of a stream has them, without the number of samples.
    fn fields(self) -> u64 {
        u64::from(self.rate) << 44 | u64::from(self.channels - 1) << 41 | u64::from(self.bits - 1) << 36
    }

    /// What a frame's head says, and `usual` where it refers to the head of the stream; none where no frame begins.
    fn of_frame(bytes: &[u8], usual: Self) -> Option<Self> {
        let &[0xFF, 0xF8 | 0xF9, sizes, samples, lead, ..] = bytes else { return None };
        // Behind them a number as UTF-8 has it, and longer.
        let at = match lead.leading_ones() {
            0 => 5,
            n @ 2..=7 => 4 + n as usize,
            _ => return None,
        };
        let at = at
            + match sizes >> 4 {
                6 => 1,
                7 => 2,
                _ => 0,
            };
        let end = at
            + match sizes & 15 {
                12 => 1,
                13 | 14 => 2,
                _ => 0,
            };
        let checksum = bytes.get(..end)?.iter().fold(0u8, |sum, &byte| {
            (0..8).fold(sum ^ byte, |sum, _| if sum & 0x80 != 0 { sum << 1 ^ 7 } else { sum << 1 })
        });
        if checksum != *bytes.get(end)? {
            return None;
        }
        let said = bytes[at..end].iter().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
        const RATES: [u32; 11] =
            [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
        let rate = match sizes & 15 {
            0 => usual.rate,
            n @ 1..=11 => RATES[usize::from(n) - 1],
            12 => said * 1000,
            13 => said,
            14 => said * 10,
            _ => return None,
        };
        let channels = match samples >> 4 {
            n @ 0..=7 => u32::from(n) + 1,
            // Left, right and what is between them.
            8..=10 => 2,
            _ => return None,
        };
        let bits = match samples >> 1 & 7 {
            0 => usual.bits,
            3 => return None,
            code => [8, 12, 0, 16, 20, 24, 32][usize::from(code) - 1],
        };
        Some(Self { rate, channels, bits })
    }
}
