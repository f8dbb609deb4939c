//! What stands beside the sound in MP4 and Matroska files: pictures, chapters and comments. Readers refuse files for what is in them,
//! although the sound needs nothing of it.

use super::bytes::Patch;

/// The changes to a file's bytes with which readers pass over the pictures and comments of MP4, and the chapters of Matroska. None where it
/// is no such file.
pub fn without_pictures(bytes: &[u8]) -> Vec<Patch> {
    let mut patches = Vec::new();
    if bytes.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
        matroska(bytes, &mut patches);
    } else if bytes.get(4..8) == Some(b"ftyp") {
        mp4(bytes, &mut patches);
    }
    patches
}

/// A part of a file that holds others: where it begins, and where its contents do and end.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: u32,
    at: usize,
    from: usize,
    end: usize,
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at.checked_add(length)?)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// The boxes of MP4 (ISO 14496-12) from one place to another. One that ends behind that place is not among them.
fn boxes(bytes: &[u8], mut at: usize, end: usize) -> impl Iterator<Item = Part> {
    std::iter::from_fn(move || {
        let (size, kind) = (number(bytes, at, 4)?, number(bytes, at + 4, 4)? as u32);
        let (size, from) = match size {
            0 => ((end - at) as u64, at + 8),
            1 => (number(bytes, at + 8, 8)?, at + 16),
            size => (size, at + 8),
        };
        let ends = at.checked_add(usize::try_from(size).ok()?).filter(|&ends| ends >= from && ends <= end)?;
        let part = Part { kind, at, from, end: ends };
        at = ends;
        Some(part)
    })
}

/// The number that four letters are.
const fn name(letters: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*letters)
}

fn mp4(bytes: &[u8], patches: &mut Vec<Patch>) {
    let is = |part: &Part, letters: &[u8; 4]| part.kind == name(letters);
    let hide = |part: Part| Patch { at: part.at + 4, bytes: b"free".to_vec() };
    let Some(movie) = boxes(bytes, 0, bytes.len()).find(|part| is(part, b"moov")) else { return };
    for part in boxes(bytes, movie.from, movie.end) {
        if is(&part, b"trak") {
            let inside = |of: Part, letters| boxes(bytes, of.from, of.end).find(|part| is(part, letters));
            let handler = inside(part, b"mdia").and_then(|media| inside(media, b"hdlr"));
            if handler.and_then(|handler| bytes.get(handler.from + 8..handler.from + 12)) != Some(b"soun") {
                patches.push(hide(part));
            } else {
                let comments = boxes(bytes, part.from, part.end).filter(|part| is(part, b"udta") || is(part, b"meta"));
                patches.extend(comments.map(hide));
            }
        } else if is(&part, b"udta") || is(&part, b"meta") {
            patches.push(hide(part));
        }
    }
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
        let part = Part { kind: kind as u32, at, from, end: ends };
        at = ends;
        Some(part)
    })
}

const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const CHAPTERS: u32 = 0x1043_A770;

fn matroska(bytes: &[u8], patches: &mut Vec<Patch>) {
    let Some(start) = variable(bytes, 4, 8, false).map(|(size, length)| 4 + length + size as usize) else { return };
    // The segment is the file's rest, whatever it says.
    let Some((kind, 4)) = variable(bytes, start, 4, true) else { return };
    let Some((_, size_length)) = variable(bytes, start + 4, 8, false).filter(|_| kind == u64::from(SEGMENT)) else {
        return;
    };
    let parts: Vec<Part> = elements(bytes, start + 4 + size_length, bytes.len()).collect();
    if parts.iter().any(|part| part.kind == CHAPTERS) {
        // What says where the chapters are goes with them.
        let hidden = parts.into_iter().filter(|part| [CHAPTERS, SEEK_HEAD].contains(&part.kind));
        patches.extend(hidden.map(filler));
    }
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
