//! What a page needs of humdinger beside plans: sound in, answers out, and a teacher.
//!
//! A call is a question in JSON with pieces of memory beside it, and so is the answer: no types cross the border but numbers.
//! `web/core.js` is the other side.

mod ask;

use std::cell::RefCell;

/// What a call was given and what it gives back.
#[derive(Default)]
struct Desk {
    given: Vec<Piece>,
    back: Vec<Piece>,
    state: ask::State,
}

/// A piece of memory whose start is aligned for numbers of any kind.
#[derive(Default)]
pub(crate) struct Piece {
    words: Vec<u64>,
    len: usize,
}

impl Piece {
    fn of_len(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(8)], len }
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut piece = Self::of_len(bytes.len());
        let (_, room, _) = bytes_of(&mut piece.words);
        room[..bytes.len()].copy_from_slice(bytes);
        piece
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: any bits are bytes.
        let (_, bytes, _) = unsafe { self.words.align_to::<u8>() };
        &bytes[..self.len]
    }

    pub(crate) fn reals(&self) -> Vec<f32> {
        self.bytes().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }
}

fn bytes_of(words: &mut [u64]) -> (&mut [u64], &mut [u8], &mut [u64]) {
    // SAFETY: any bits are bytes.
    unsafe { words.align_to_mut::<u8>() }
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

/// Room for the next piece of a question, of so many bytes: the caller writes there. The first piece is the question, as JSON.
#[unsafe(no_mangle)]
pub extern "C" fn room(len: usize) -> *mut u8 {
    DESK.with_borrow_mut(|desk| {
        desk.given.push(Piece::of_len(len));
        desk.given.last_mut().map_or(std::ptr::null_mut(), |piece| piece.words.as_mut_ptr().cast())
    })
}

/// Answers the question that was written into [`room`]: the number of pieces that came back, of which the first is JSON; or -1 where
/// the first says what is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn ask() -> i32 {
    DESK.with_borrow_mut(|desk| {
        let given = std::mem::take(&mut desk.given);
        match desk.state.answer(&given) {
            Ok((answer, pieces)) => {
                desk.back = vec![Piece::of(answer.to_string().as_bytes())];
                desk.back.extend(pieces);
                desk.back.len() as i32
            }
            Err(error) => {
                desk.back = vec![Piece::of(error.to_string().as_bytes())];
                -1
            }
        }
    })
}

/// Where a piece of the answer lies; it stays until the next question.
#[unsafe(no_mangle)]
pub extern "C" fn piece(number: usize) -> *const u8 {
    DESK.with_borrow(|desk| desk.back.get(number).map_or(std::ptr::null(), |piece| piece.words.as_ptr().cast()))
}

/// Bytes of a piece of the answer.
#[unsafe(no_mangle)]
pub extern "C" fn piece_len(number: usize) -> usize {
    DESK.with_borrow(|desk| desk.back.get(number).map_or(0, |piece| piece.len))
}
