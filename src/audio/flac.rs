//! What stands around the frames of a FLAC file (RFC 9639), put into an order that a strict reader accepts.

/// Bytes of the block that says what the stream is, with its head, behind `fLaC`.
const STREAM_INFO: usize = 4 + 34;

/// A FLAC stream in memory.
pub struct Flac<'a> {
    info: [u8; STREAM_INFO],
    frames: &'a [u8],
}

impl<'a> Flac<'a> {
    /// Finds the frames behind the metadata; none where this is no FLAC file, or its metadata has no end.
    pub fn find(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"fLaC")?;
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
        // Some encoders leave the smallest block out, which is only a promise.
        if u16::from_be_bytes([info[4], info[5]]) < 16 {
            let [high, low] = info[6..8] else { return None };
            (info[4], info[5]) = (high, low);
        }
        // All other metadata are of no use here, and some readers refuse a file for what is in them.
        info[0] = 0x80;
        Some(Self { info, frames: rest.get(at..)? })
    }

    /// The stream without anything that is not needed to decode it.
    pub fn bytes(&self) -> Vec<u8> {
        [b"fLaC".as_slice(), &self.info, self.frames].concat()
    }

    /// Samples per channel, where the stream says how many.
    pub fn frames(&self) -> Option<u64> {
        let total = u64::from_be_bytes(self.info[14..22].try_into().ok()?) & ((1 << 36) - 1);
        (total > 0).then_some(total)
    }

    /// Bits of a sample.
    pub fn bits(&self) -> u32 {
        (u32::from(self.info[16] & 1) << 4 | u32::from(self.info[17] >> 4)) + 1
    }

    /// The stream cut into parts of one sample rate each, with a head of its own each; none where all frames have the first one's.
    pub fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = Vec::<(u32, usize)>::new();
        // The checksum of a frame with its own checksum behind it is 0: there, and only there, another one begins.
        let mut sum = 0;
        for (at, &byte) in self.frames.iter().enumerate() {
            // Most places are passed over by their first byte.
            if sum == 0
                && byte == 0xFF
                && let Some(head) = Frame::read(&self.frames[at..])
                && parts.last().is_none_or(|(rate, _)| *rate != head.rate)
            {
                parts.push((head.rate, at));
            }
            sum = sum << 8 ^ CRC16[usize::from((sum >> 8) as u8 ^ byte)];
        }
        if parts.len() < 2 {
            return vec![];
        }
        let ends = parts[1..].iter().map(|part| part.1).chain([self.frames.len()]);
        parts.iter().zip(ends).map(|(&(rate, at), end)| self.part(rate, &self.frames[at..end])).collect()
    }

    fn part(&self, rate: u32, frames: &[u8]) -> Vec<u8> {
        let mut info = self.info;
        let fields = info[14..22].iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        // How long it is, and the checksum of its samples, are not known.
        let fields = fields & ((1 << 44) - 1) & !((1 << 36) - 1) | u64::from(rate) << 44;
        info[14..22].copy_from_slice(&fields.to_be_bytes());
        info[22..].fill(0);
        [b"fLaC".as_slice(), &info, frames].concat()
    }
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

/// The head of a frame that says its sample rate itself.
struct Frame {
    rate: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, 0xF8 | 0xF9, sizes, _, lead, ..] = bytes else { return None };
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
            n @ 1..=11 => RATES[usize::from(n) - 1],
            12 => said * 1000,
            13 => said,
            14 => said * 10,
            _ => return None,
        };
        Some(Self { rate })
    }
}
