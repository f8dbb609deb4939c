//! What stands beside the sound in Matroska files (RFC 9559): chapters, for which strict readers refuse files although the sound needs
//! nothing of them.

use super::bytes::Patch;
use super::mp4::number;

/// How Matroska files begin.
pub const MAGIC: &[u8] = &[0x1A, 0x45, 0xDF, 0xA3];

/// An element: what it is, where it begins and where it ends.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: u32,
    at: usize,
    end: usize,
}

/// The number of variable length at a place of Matroska (RFC 8794), with the bits that say how long it is or without them, and its length;
/// none where it is longer than `most`.
fn variable(bytes: &[u8], at: usize, most: usize, with_length: bool) -> Option<(u64, usize)> {
    let length = bytes.get(at)?.leading_zeros() as usize + 1;
    let value = number(bytes, at, length).filter(|_| length <= most)?;
    Some((if with_length { value } else { value & ((1 << (7 * length)) - 1) }, length))
}

/// The elements of Matroska from one place to another, up to one of no known length.
fn elements(bytes: &[u8], mut at: usize, end: usize) -> impl Iterator<Item = Part> {
    std::iter::from_fn(move || {
        let (kind, kind_length) = variable(bytes, at, 4, true)?;
        let (size, size_length) = variable(bytes, at + kind_length, 8, false)?;
        let from = at + kind_length + size_length;
        let ends = from.checked_add(usize::try_from(size).ok()?).filter(|&ends| ends <= end)?;
        let part = Part { kind: kind as u32, at, end: ends };
        at = ends;
        Some(part)
    })
}

const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const CHAPTERS: u32 = 0x1043_A770;

/// The changes that hide chapters from a reader. None where there are none.
pub fn without_chapters(bytes: &[u8]) -> Vec<Patch> {
    let Some(start) = elements(bytes, 0, bytes.len()).next().map(|header| header.end) else { return Vec::new() };
    let Some((kind, length)) = variable(bytes, start, 4, true) else { return Vec::new() };
    // The segment is the file's rest, whatever it says.
    let segment = variable(bytes, start + length, 8, false).filter(|_| kind == u64::from(SEGMENT));
    let Some((_, size_length)) = segment else { return Vec::new() };
    let parts: Vec<Part> = elements(bytes, start + length + size_length, bytes.len()).collect();
    if !parts.iter().any(|part| part.kind == CHAPTERS) {
        return Vec::new();
    }
    // What says where the chapters are goes with them.
    parts.into_iter().filter(|part| [CHAPTERS, SEEK_HEAD].contains(&part.kind)).map(filler).collect()
}

/// Makes a filler (`Void`) of an element: its head, with a size in as many bytes as there were, or in one or eight.
fn filler(part: Part) -> Patch {
    let all = part.end - part.at;
    let bytes = match all {
        ..9 => vec![0xEC, 0x80 | (all.saturating_sub(2)) as u8],
        _ => [&[0xEC, 1], &(all as u64 - 9).to_be_bytes()[1..]].concat(),
    };
    Patch { at: part.at, bytes }
}
