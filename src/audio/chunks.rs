//! The chunks of WAV files: RIFF, its big-endian form RIFX, RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088), and Sony's Wave64.

use std::ops::Range;

/// What the chunks of a file look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// Names of four bytes and lengths of 32 bits, the length of the data of 64 where a chunk `ds64` says so.
    Riff,
    /// The same with every number big-endian.
    BigEndian,
    /// Names of 16 bytes and lengths of 64 bits, which count the chunk's head.
    Wave64,
}

/// Behind the first four bytes of Wave64's names, those of `riff`.
const WAVE64_FILE: [u8; 12] = [0x2E, 0x91, 0xCF, 0x11, 0xA5, 0xD6, 0x28, 0xDB, 0x04, 0xC1, 0, 0];
/// The same of all other names.
const WAVE64_CHUNK: [u8; 12] = [0xF3, 0xAC, 0xD3, 0x11, 0x8C, 0xD1, 0, 0xC0, 0x4F, 0x8E, 0xDB, 0x8A];

/// The bodies of the chunks that matter.
#[derive(Default)]
pub(super) struct Chunks<'a> {
    pub format: Option<&'a [u8]>,
    /// Where in the file the samples are.
    pub data: Option<Range<u64>>,
    /// Samples per channel as the chunk `fact` has it; often wrong.
    pub frames: Option<u32>,
}

impl Container {
    /// That of a WAV file which begins so; none of anything else.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() >= 40 && bytes.starts_with(b"riff") && bytes[4..16] == WAVE64_FILE && &bytes[24..28] == b"wave" {
            return Some(Self::Wave64);
        }
        match (bytes.get(..4)?, bytes.get(8..12)?) {
            (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => Some(Self::Riff),
            (b"RIFX", b"WAVE") => Some(Self::BigEndian),
            _ => None,
        }
    }

    pub fn u16_at(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        if self == Self::BigEndian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self == Self::BigEndian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Walks the chunks up to the first data chunk after a format chunk. `bytes` are the file, or as much of its beginning as is
    /// there; the whole has `total` bytes.
    pub fn chunks<'a>(self, bytes: &'a [u8], total: u64, warn: &mut impl FnMut(String)) -> Chunks<'a> {
        if self == Self::Wave64 { wave64(bytes, total, warn) } else { self.riff(bytes, total, warn) }
    }

    fn riff<'a>(self, bytes: &'a [u8], total: u64, warn: &mut impl FnMut(String)) -> Chunks<'a> {
        let mut found = Chunks::default();
        let mut long_data = None;
        let mut at = 12;
        while let Some(header) = bytes.get(at..at + 8) {
            let (id, length) = (&header[..4], self.u32_at(header, 4));
            let rest = &bytes[at + 8..];
            if id == b"data" {
                let claimed = if length == u32::MAX { long_data.unwrap_or(u64::MAX) } else { u64::from(length) };
                found.data = Some(data_body(rest, (at + 8) as u64..total, claimed, warn));
                if found.format.is_some() {
                    return found;
                }
            }
            if u64::from(length) > total - (at + 8) as u64 {
                if id == b"data" {
                    break;
                }
                // A length that reaches past the end of the file is wrong; the data chunk may still lie ahead.
                let Some(ahead) = find_tag(rest, if found.format.is_some() { b"data" } else { b"fmt " }) else { break };
                warn(format!("chunk `{}` claims {length} bytes, more than there are; skipped", id.escape_ascii()));
                at += 8 + ahead;
                continue;
            }
            let length = length as usize;
            match id {
                b"fmt " => found.format = rest.get(..length),
                b"fact" if length >= 4 && rest.len() >= 4 => found.frames = Some(self.u32_at(rest, 0)),
                b"ds64" if length >= 16 && rest.len() >= 16 => long_data = Some(u64_at(rest, 8)),
                _ => {}
            }
            at += 8 + length;
            // Chunks start at even places, but not every writer adds the pad byte.
            let unpadded = is_tag(bytes.get(at..at + 4)) && !is_tag(bytes.get(at + 1..at + 5));
            if length % 2 == 1 && !unpadded {
                at += 1;
            }
        }
        found
    }
}

fn wave64<'a>(bytes: &'a [u8], total: u64, warn: &mut impl FnMut(String)) -> Chunks<'a> {
    let mut found = Chunks::default();
    let mut at = 40;
    while let Some(header) = bytes.get(at..at + 24) {
        let (id, length) = (&header[..4], u64_at(header, 16).saturating_sub(24));
        let rest = &bytes[at + 24..];
        if id == b"data" && header[4..16] == WAVE64_CHUNK {
            found.data = Some(data_body(rest, (at + 24) as u64..total, length, warn));
            if found.format.is_some() {
                return found;
            }
        }
        if length > total - (at + 24) as u64 {
            break;
        }
        let length = length as usize;
        if id == b"fmt " && header[4..16] == WAVE64_CHUNK {
            found.format = rest.get(..length);
        }
        // Chunks start at multiples of eight.
        at += (24 + length).next_multiple_of(8);
    }
    found
}

/// Which part of the file holds samples, given what is left of it, how that begins, and the length that the header claims.
fn data_body(rest: &[u8], left: Range<u64>, claimed: u64, warn: &mut impl FnMut(String)) -> Range<u64> {
    let held = left.end - left.start;
    if claimed == 0 && held > 0 && !is_tag(rest.get(..4)) {
        warn("the header says that there is no data (an interrupted recording?); read to the end of the file".into());
        return left;
    }
    if claimed <= held {
        return left.start..left.start + claimed;
    }
    let claim = if claimed == u64::MAX { "an unknown number of".into() } else { claimed.to_string() };
    warn(format!("the header claims {claim} bytes of data, the file has {held}; read as far as it goes"));
    left
}

/// Whether these four bytes look like the name of a chunk.
fn is_tag(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|b| {
        b.len() == 4 && b[0] != b' ' && b.iter().all(|c| c.is_ascii_alphanumeric() || b" _-".contains(c))
    })
}

fn find_tag(bytes: &[u8], tag: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|w| w == tag)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    (0..8).fold(0, |sum, i| sum | u64::from(bytes[at + i]) << (8 * i))
}
