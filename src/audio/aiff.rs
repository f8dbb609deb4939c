//! What stands around the samples of an AIFF or AIFF-C file, put into an order that a strict reader accepts.

use super::bytes::{Bytes, Stream};

/// Bytes of `COMM` in AIFF: channels, frames, bits of a sample, and the sample rate in 80 bits.
const COMMON: usize = 18;

/// The file with nothing but its format and its samples, whatever other chunks hold or leave out; none where it is no AIFF file, or lacks
/// one of these.
pub fn stream(bytes: &Bytes) -> Option<Stream> {
    let kind = bytes.get(8..12).filter(|_| bytes.starts_with(b"FORM"))?;
    let compressed = match kind {
        b"AIFF" => false,
        b"AIFC" => true,
        _ => return None,
    };
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let (mut common, mut sound) = (None, None);
    let mut at = 12;
    while let (Some(name), Some(length)) = (bytes.get(at..at + 4), number(at + 4)) {
        let (from, length) = (at + 8, length as usize);
        match name {
            // Behind the type of compression stands its name, for people.
            b"COMM" => common = bytes.get(from..from + if compressed { COMMON + 4 } else { COMMON }),
            b"SSND" => {
                let start = from.checked_add(8)?.checked_add(number(from)? as usize)?;
                // A file that was written to a pipe has a length of 0.
                let end = if length == 0 { bytes.len() } else { from.saturating_add(length) };
                sound = Some(start..end.max(start));
                if length == 0 {
                    break;
                }
            }
            _ => {}
        }
        let Some(next) = from.checked_add(length + length % 2) else { break };
        at = next;
    }
    let (common, sound) = (common?, bytes.part(sound?));
    // An empty name, and its padding.
    let name: &[u8] = if compressed { &[0; 2] } else { &[] };
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let common_length = common.len() + name.len();
    let all = length(4 + 8 + common_length + 16 + sound.len());
    let head = [
        b"FORM".as_slice(),
        &all,
        kind,
        b"COMM",
        &length(common_length),
        common,
        name,
        b"SSND",
        &length(8 + sound.len()),
        // Neither an offset nor a size of blocks.
        &[0; 8],
    ];
    Some(Stream::new(head.concat(), sound))
}

/// Frames that such a [`stream`] says it has; none of other heads.
pub fn frames(head: &[u8]) -> Option<u32> {
    let frames = head.get(22..26).filter(|_| head.starts_with(b"FORM"))?;
    frames.try_into().ok().map(u32::from_be_bytes)
}
