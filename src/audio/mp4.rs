//! Which part of an MP4 file's sound is to be played: its edit list (ISO 14496-12), which leaves out what the encoder put in front and
//! behind, or a comment of iTunes that says the same.

use super::bytes::Patch;

/// A part of a track, in seconds of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Where it begins.
    pub start: f64,
    /// Its length, if the file states it.
    pub length: Option<f64>,
}

/// A box: its type, where its head and its contents begin, and its contents.
struct Atom<'a> {
    kind: [u8; 4],
    at: usize,
    from: usize,
    body: &'a [u8],
}

/// The boxes in `bytes`, with places in them. One that is cut off is as long as there are bytes.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = Atom<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[at..];
        let head = rest.get(..8)?;
        let mut size = number(head, 0, 4)? as usize;
        let mut from = 8;
        if size == 1 {
            (size, from) = (usize::try_from(number(rest, 8, 8)?).ok()?, 16);
        } else if size == 0 {
            size = rest.len();
        }
        let size = size.min(rest.len());
        let atom =
            Atom { kind: [head[4], head[5], head[6], head[7]], at, from: at + from, body: rest.get(from..size)? };
        at += size;
        Some(atom)
    })
}

fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| boxes(bytes).find(|atom| atom.kind == **kind).map(|atom| atom.body))
}

/// Whether this is a track of sound.
fn is_sound(track: &[u8]) -> bool {
    find(track, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)) == Some(b"soun")
}

/// Whether a file is MP4, as its first box says.
pub fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
}

/// The changes that hide everything but sound from a reader: other tracks, and comments.
pub fn without_pictures(bytes: &[u8]) -> Vec<Patch> {
    let Some(movie) = boxes(bytes).find(|atom| atom.kind == *b"moov") else { return Vec::new() };
    let hide = |place: usize| Patch { at: place + 4, bytes: b"free".to_vec() };
    let is_comment = |atom: &Atom| [b"udta", b"meta"].contains(&&atom.kind);
    let mut patches = Vec::new();
    for part in boxes(movie.body) {
        if is_comment(&part) || part.kind == *b"trak" && !is_sound(part.body) {
            patches.push(hide(movie.from + part.at));
        } else if part.kind == *b"trak" {
            let comments = boxes(part.body).filter(is_comment);
            patches.extend(comments.map(|comment| hide(movie.from + part.from + comment.at)));
        }
    }
    patches
}

/// The number in so many bytes at a place, the highest first.
pub fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at.checked_add(length)?)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// Units in a second, and the duration in them, of a header of the movie or of a medium.
fn time(header: &[u8]) -> Option<(f64, f64)> {
    let (at, length) = if *header.first()? == 1 { (20, 8) } else { (12, 4) };
    let (scale, duration) = (number(header, at, 4)?, number(header, at + 4, length)?);
    (scale > 0).then_some((scale as f64, duration as f64))
}

/// Whether a movie comes in fragments, of whose lengths its head says nothing.
pub fn is_fragmented(bytes: &[u8]) -> bool {
    find(bytes, &[b"moov", b"mvex"]).is_some()
}

/// The frames in front of the sound, and those of the sound, that the comment `iTunSMPB` of iTunes names: numbers in base 16, of which
/// the second and the fourth are these.
fn itunes(movie: &[u8]) -> Option<(f64, f64)> {
    // `meta` begins with a version.
    let list = find(find(movie, &[b"udta", b"meta"])?.get(4..)?, &[b"ilst"])?;
    let named = |comment: &&[u8]| find(comment, &[b"name"]).is_some_and(|name| name.get(4..) == Some(b"iTunSMPB"));
    let comment = boxes(list).filter(|atom| atom.kind == *b"----").map(|atom| atom.body).find(named)?;
    let text = std::str::from_utf8(find(comment, &[b"data"])?.get(8..)?).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|number| u64::from_str_radix(number, 16));
    let (front, frames) = (numbers.nth(1)?.ok()?, numbers.nth(1)?.ok()?);
    Some((front as f64, frames as f64))
}

/// The part of the first sound track that its edit list names, or where it has none, iTunes. None where neither does, or a list takes a
/// track apart into several pieces.
pub fn part(bytes: &[u8]) -> Option<Part> {
    let movie = find(bytes, &[b"moov"])?;
    let (movie_scale, _) = time(find(movie, &[b"mvhd"])?)?;
    let track =
        boxes(movie).filter(|atom| atom.kind == *b"trak").map(|atom| atom.body).find(|track| is_sound(track))?;
    let (scale, duration) = time(find(track, &[b"mdia", b"mdhd"])?)?;
    let Some(list) = find(track, &[b"edts", b"elst"]) else {
        let (front, frames) = itunes(movie)?;
        let behind = if duration > 0.0 { duration - front - frames } else { -1.0 };
        // They count samples, as the track does in nearly all files. No encoder adds a second: such numbers are those of another file.
        if scale < 8_000.0 || front >= scale || frames == 0.0 || behind >= scale {
            return None;
        }
        // A file that was cut off is shorter, and of one of no known length nothing is left out.
        return Some(Part { start: front / scale, length: (behind >= 0.0).then_some(frames / scale) });
    };
    let wide = *list.first()? == 1;
    let (size, count) = (if wide { 20 } else { 12 }, number(list, 4, 4)?);
    let mut edits = Vec::new();
    for at in (0..count.min(1000) as usize).map(|i| 8 + i * size) {
        let length = number(list, at, size / 2 - 2)? as f64 / movie_scale;
        let start = number(list, at + size / 2 - 2, size / 2 - 2)?;
        let start = if wide { start as i64 } else { i64::from(start as u32 as i32) };
        // An empty edit says when the track begins in the movie; here it begins at once.
        if start >= 0 {
            edits.push((start as f64, length));
        }
    }
    let &[(start, length)] = &edits[..] else { return None };
    // The movie's units are coarser: what they round off is no cut.
    let held = (duration > 0.0).then_some((duration - start) / scale).filter(|&held| held > 0.0);
    let length = match (length > 0.0, held) {
        (true, Some(held)) if (held - length).abs() <= 1.0 / movie_scale => Some(held),
        (true, _) => Some(length),
        (false, held) => held,
    };
    // What a head says does not hold for fragments that follow it.
    let length = length.filter(|_| find(movie, &[b"mvex"]).is_none());
    Some(Part { start: start / scale, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), &body].concat()
    }

    /// A movie of 1000 units a second, with a track of 8 000 whose medium has this duration.
    fn movie(handler: &[u8; 4], duration: u32, edits: &[(u32, i32)]) -> Vec<u8> {
        let time = |scale: u32, duration: u32| [&[0; 12], &scale.to_be_bytes()[..], &duration.to_be_bytes()].concat();
        let list: Vec<u8> = edits
            .iter()
            .flat_map(|(length, start)| [&length.to_be_bytes()[..], &start.to_be_bytes(), &[0, 1, 0, 0]].concat())
            .collect();
        let list = make(b"elst", &[&[0; 4], &(edits.len() as u32).to_be_bytes(), &list]);
        let medium =
            make(b"mdia", &[&make(b"mdhd", &[&time(8_000, duration)]), &make(b"hdlr", &[&[0; 8], handler, &[0; 12]])]);
        let track = make(b"trak", &[&make(b"tkhd", &[&[0; 20]]), &make(b"edts", &[&list]), &medium]);
        [make(b"ftyp", &[b"M4A "]), make(b"moov", &[&make(b"mvhd", &[&time(1_000, 0)]), &track])].concat()
    }

    #[test]
    fn the_comment_of_itunes() {
        let comment = |name: &[u8], text: &str| {
            let parts = [make(b"mean", &[&[0; 4], b"com.apple.iTunes"]), make(b"name", &[&[0; 4], name])];
            make(b"----", &[&parts.concat(), &make(b"data", &[&[0; 8], text.as_bytes()])])
        };
        let numbers = " 00000000 00000840 000001CA 0000000000004412 00000000 00000000";
        let file = |comments: &[u8], list: &[u8]| {
            let time = [&[0; 12], &8_000u32.to_be_bytes()[..], &20_000u32.to_be_bytes()].concat();
            let medium =
                make(b"mdia", &[&make(b"mdhd", &[&time]), &make(b"hdlr", &[&[0; 8], b"soun".as_slice(), &[0; 12]])]);
            let tags =
                make(b"udta", &[&make(b"meta", &[&[0; 4], &make(b"hdlr", &[&[0; 20]]), &make(b"ilst", &[comments])])]);
            make(b"moov", &[&make(b"mvhd", &[&time]), &make(b"trak", &[list, &medium]), &tags])
        };
        let both = [comment(b"iTunNORM", " 0000"), comment(b"iTunSMPB", numbers)].concat();
        let expected = Part { start: 2_112.0 / 8_000.0, length: Some(17_426.0 / 8_000.0) };
        assert_eq!(part(&file(&both, &[])), Some(expected));
        let longer = comment(b"iTunSMPB", &numbers.replace("4412", "9999"));
        assert_eq!(part(&file(&longer, &[])), Some(Part { length: None, ..expected }));
        // An edit list counts before it; without numbers it says nothing.
        let edits = make(
            b"edts",
            &[&make(b"elst", &[&[0, 0, 0, 0, 0, 0, 0, 1], &800u32.to_be_bytes(), &[0; 4], &[0, 1, 0, 0]])],
        );
        assert_eq!(part(&file(&both, &edits)).map(|part| part.start), Some(0.0));
        let cut = " 00000000 00000011 000001CA 0000000000000011";
        let late = " 00000000 00001F40 000001CA 00000000000003E8";
        for text in ["", " 00000000 xyz 0 0", " 00000000 00000840 000001CA", cut, late] {
            assert_eq!(part(&file(&comment(b"iTunSMPB", text), &[])), None, "{text}");
        }
        assert_eq!(part(&file(&comment(b"iTunNORM", numbers), &[])), None);
    }

    #[test]
    fn edit_lists() {
        let part = |duration, edits: &[(u32, i32)]| part(&movie(b"soun", duration, edits));
        let some = |start, length| Some(Part { start, length });
        assert_eq!(part(9_024, &[(1_000, 1_024)]), some(0.128, Some(1.0)));
        // Rounded to the movie's units, and cut for good.
        assert_eq!(part(8_003, &[(1_000, 0)]), some(0.0, Some(8_003.0 / 8_000.0)));
        assert_eq!(part(16_000, &[(500, 800)]), some(0.1, Some(0.5)));
        assert_eq!(part(8_800, &[(250, -1), (0, 800)]), some(0.1, Some(1.0)));
        assert_eq!(part(0, &[(0, 800)]), some(0.1, None));
        assert_eq!(part(16_000, &[(500, 0), (500, 8_000)]), None);
        assert_eq!(super::part(&movie(b"vide", 8_000, &[(1_000, 0)])), None);
        // What follows in fragments is not left out.
        let head = movie(b"soun", 9_024, &[(1_000, 1_024)]);
        let fragmented = make(b"moov", &[&head[20..], &make(b"mvex", &[])]);
        assert!(!is_fragmented(&head));
        assert!(is_fragmented(&fragmented));
        assert_eq!(super::part(&fragmented), some(0.128, None));
        let whole = movie(b"soun", 9_024, &[(1_000, 1_024)]);
        // Cut short anywhere, it gives a part or none.
        assert!((0..whole.len()).any(|cut| super::part(&whole[..cut]).is_none()));
    }
}
