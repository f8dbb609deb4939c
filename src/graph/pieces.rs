//! Safe ways to divide memory into pieces that tasks write at the same time.
//!
//! The pieces depend on sizes alone, so no two tasks access the same element, and results do not
//! depend on the number of threads.

use super::kernel::{Parallel, Private, SharedMut};
use std::ops::Range;

/// Memory that is divided into numbered pieces, one for each task of a job.
///
/// # Safety
/// No two pieces of different numbers may share an element.
pub unsafe trait Pieces: Sync {
    /// The piece of a task.
    type Piece;

    /// How many pieces there are.
    fn count(&self) -> usize;

    /// The piece of this number.
    ///
    /// # Safety
    /// The number must be below [`Pieces::count`], and no number may be used twice.
    unsafe fn piece(&self, number: usize) -> Self::Piece;
}

impl dyn Parallel + '_ {
    /// Calls `f(number, piece)` once for every piece, possibly at the same time, and returns when all are done.
    pub fn for_pieces<P: Pieces>(&self, pieces: P, f: impl Fn(usize, P::Piece) + Sync) {
        self.run(pieces.count(), &|task, _| {
            // SAFETY: `run` starts every task once, and the pieces end with this function.
            f(task, unsafe { pieces.piece(task) });
        });
    }

    /// As `for_pieces`, with the temporary memory of the task's thread: `f(number, piece, scratch)`.
    pub fn for_pieces_with<P: Pieces, T: Send>(
        &self,
        pieces: P,
        scratch: &mut Private<'_, T>,
        f: impl Fn(usize, P::Piece, &mut [T]) + Sync,
    ) {
        let scratch = &*scratch;
        self.run(pieces.count(), &|task, worker| {
            // SAFETY: as above; this is the task of this worker, and no other has its scratch memory, which is borrowed exclusively.
            let (piece, scratch) = unsafe { (pieces.piece(task), scratch.of(worker)) };
            f(task, piece, scratch);
        });
    }
}

/// Stretches of equal length, the last of which may be shorter.
pub struct Stretches<'a, T> {
    data: SharedMut<'a, T>,
    each: usize,
}

impl<'a, T> Stretches<'a, T> {
    /// Divides `data` into stretches of `each` elements.
    ///
    /// # Panics
    /// If `each` is 0.
    pub fn new(data: &'a mut [T], each: usize) -> Self {
        assert!(each > 0, "a stretch has elements");
        Self { data: SharedMut::new(data), each }
    }

    /// A pointer to the first element, for prefetching what is written next.
    pub fn pointer(&self) -> *const T {
        self.data.pointer()
    }
}

// SAFETY: stretches of different numbers do not overlap.
unsafe impl<'a, T: Send> Pieces for Stretches<'a, T> {
    type Piece = &'a mut [T];

    fn count(&self) -> usize {
        self.data.len().div_ceil(self.each)
    }

    #[inline(always)]
    unsafe fn piece(&self, number: usize) -> &'a mut [T] {
        let start = number * self.each;
        // SAFETY: no other number has these elements, and by the caller's promise this number is used once.
        unsafe { self.data.lent(start..(start + self.each).min(self.data.len())) }
    }
}

/// A matrix, row after row, in blocks of some rows by some columns: block after block of the first rows, then of the next. Those
/// at the end may be smaller.
pub struct Blocks<'a, T> {
    data: SharedMut<'a, T>,
    pitch: usize,
    columns: Range<usize>,
    rows_each: usize,
    columns_each: usize,
}

impl<'a, T> Blocks<'a, T> {
    /// A matrix whose rows have `row` elements, in blocks of `rows` by `columns`, each at least 1; with more columns than the matrix has,
    /// blocks are whole rows. Elements after the last whole row belong to no block.
    pub fn new(data: &'a mut [T], row: usize, [rows, columns]: [usize; 2]) -> Self {
        let data = SharedMut::new(data);
        Self { data, pitch: row, columns: 0..row, rows_each: rows.max(1), columns_each: columns.max(1) }
    }

    /// Only of these columns.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn within(self, columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= self.pitch, "{columns:?} of {}", self.pitch);
        Self { columns, ..self }
    }

    fn rows(&self) -> usize {
        self.data.len().checked_div(self.pitch).unwrap_or(0)
    }

    /// Blocks side by side.
    fn across(&self) -> usize {
        self.columns.len().div_ceil(self.columns_each)
    }
}

// SAFETY: blocks of different numbers have different rows, or the same and different columns.
unsafe impl<'a, T: Send> Pieces for Blocks<'a, T> {
    type Piece = Block<'a, T>;

    fn count(&self) -> usize {
        self.rows().div_ceil(self.rows_each) * self.across()
    }

    #[inline(always)]
    unsafe fn piece(&self, number: usize) -> Block<'a, T> {
        let (row, column) = (number / self.across() * self.rows_each, number % self.across() * self.columns_each);
        let columns =
            self.columns.start + column..self.columns.end.min(self.columns.start + column + self.columns_each);
        Block { data: self.data.again(), pitch: self.pitch, rows: row..self.rows().min(row + self.rows_each), columns }
    }
}

/// A block of a matrix.
pub struct Block<'a, T> {
    data: SharedMut<'a, T>,
    pitch: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T> Block<'_, T> {
    /// Its rows, as they are numbered in the matrix.
    #[inline(always)]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Its columns, as they are numbered in the matrix.
    #[inline(always)]
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Its part of a row of the matrix.
    ///
    /// # Panics
    /// If it has no part of that row.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row), "row {row} of {:?}", self.rows);
        let start = row * self.pitch;
        // SAFETY: these elements are this block's alone, and it is borrowed while they are.
        unsafe { self.data.slice(start + self.columns.start..start + self.columns.end) }
    }

    /// Its part of each of its rows, in order.
    #[inline(always)]
    pub fn each_row(&mut self) -> impl Iterator<Item = &mut [T]> {
        let Self { data, pitch, rows, columns } = self;
        rows.clone().map(|row| {
            // SAFETY: as above, and each row is handed out once.
            unsafe { data.slice(row * *pitch + columns.start..row * *pitch + columns.end) }
        })
    }
}

/// A number of tasks without memory.
pub struct Tasks(pub usize);

// SAFETY: there is nothing to share.
unsafe impl Pieces for Tasks {
    type Piece = ();

    fn count(&self) -> usize {
        self.0
    }

    unsafe fn piece(&self, _: usize) {}
}

/// Several memories with the same number of pieces: a task gets one piece of each.
macro_rules! together {
    ($($name:ident $index:tt),+) => {
        // SAFETY: each part's promise, passed on.
        unsafe impl<$($name: Pieces),+> Pieces for ($($name,)+) {
            type Piece = ($($name::Piece,)+);

            fn count(&self) -> usize {
                let count = self.0.count();
                $(assert_eq!(self.$index.count(), count, "as many pieces of each");)+
                count
            }

            #[inline(always)]
            unsafe fn piece(&self, number: usize) -> Self::Piece {
                // SAFETY: the caller's promise, passed on.
                unsafe { ($(self.$index.piece(number),)+) }
            }
        }
    };
}

together!(A 0, B 1);
together!(A 0, B 1, C 2);
together!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Pool;

    #[test]
    fn every_element_belongs_to_one_piece() {
        let pool = Pool::new(2);
        let parallel: &dyn Parallel = &pool;
        for (rows, row, [of_rows, of_columns], columns) in [
            (5, 7, [2, 3], 0..7),
            (4, 6, [9, 9], 1..4),
            (3, 1, [1, 1], 0..1),
            (0, 4, [1, 1], 0..4),
            (3, 4, [1, 2], 2..2),
        ] {
            let (mut data, mut numbers) = (vec![0; rows * row + row - 1], vec![usize::MAX; 20]);
            let blocks = Blocks::new(&mut data, row, [of_rows, of_columns]).within(columns.clone());
            let count = blocks.count();
            parallel.for_pieces((blocks, Stretches::new(&mut numbers[..count], 1)), |number, (mut block, to)| {
                to[0] = number;
                for r in block.rows() {
                    assert_eq!(block.row(r).len(), block.columns().len());
                    block.row(r).iter_mut().for_each(|x| *x += 1);
                }
            });
            assert!(numbers[..count].iter().copied().eq(0..count));
            for (i, &x) in data.iter().enumerate() {
                let inside = i / row < rows && columns.contains(&(i % row));
                assert_eq!(x, i32::from(inside), "element {i} of {rows} rows of {row}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "row 2 of 0..2")]
    fn a_block_has_its_own_rows_alone() {
        let parallel: &dyn Parallel = &Pool::new(1);
        parallel.for_pieces(Blocks::new(&mut [0; 8], 2, [2, 2]), |_, mut block| block.row(2)[0] = 1);
    }

    #[test]
    #[should_panic(expected = "as many pieces of each")]
    fn pieces_of_several_are_as_many() {
        let parallel: &dyn Parallel = &Pool::new(1);
        let (mut a, mut b) = ([0; 4], [0; 4]);
        parallel.for_pieces((Stretches::new(&mut a, 2), Stretches::new(&mut b, 4)), |_, _| ());
    }
}
