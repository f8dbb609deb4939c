//! Several processes that compute one batch together: each, a *rank*, works on a stretch of the batch's items, and where an
//! operation adds up over the batch they tell each other their parts.
//!
//! Work is cut for the whole batch, whoever does it. A rank does whole pieces of that cut, puts its results where one process
//! alone would have put them, and gets the others' results for the places in between. What follows from all pieces is then
//! worked out by everybody in the same order. So results are the same to the bit for any number of ranks; see
//! docs/decisions/ranks.md.

use super::late::{Arrived, Late, Parcels, Rest, Underway};
use super::{Graph, Source, Value};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The processes that train together, as one of them sees them. Every rank calls the same methods in the same order with parts
/// of the same lengths; a call returns when this rank has what it is to get.
pub trait Communicator: Send + Sync {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn size(&self) -> usize;

    /// Of `data`, rank r has the bytes `parts[r]`: afterwards every rank has all parts.
    ///
    /// # Errors
    /// Where another rank is gone, or the parts are more than can be sent.
    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()>;

    /// Sends the bytes `to[r]` of `send` to rank r, and puts what comes from rank r into the bytes `from[r]` of `receive`.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()>;

    /// Begins an exchange as that of [`Communicator::all_to_all`], which goes on while this rank computes, and may begin and finish others.
    /// All ranks begin the same ones in the same order among all their exchanges. Where it is not implemented, this exchanges at once.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        let mut receive = vec![0; from.iter().map(|part| part.end).max().unwrap_or(0)];
        self.all_to_all(&send, to, &mut receive, from)?;
        Ok(Box::new(Arrived(receive)))
    }
}

/// The sum of `values` over all ranks, everywhere the same: added up in f64 in the order of the ranks, and rounded.
///
/// # Errors
/// As [`Communicator::all_gather`].
pub fn sum_over(ranks: &dyn Communicator, values: &mut [f32]) -> Result<()> {
    let (size, len) = (ranks.size(), values.len());
    // Each adds up a stretch, and all gather the sums.
    let stretch = |rank: usize| rank * len / size..(rank + 1) * len / size;
    let own = stretch(ranks.rank());
    let to: Vec<Range<usize>> = (0..size).map(|rank| bytes::<f32>(stretch(rank))).collect();
    let from: Vec<Range<usize>> =
        (0..size).map(|rank| bytes::<f32>(rank * own.len()..(rank + 1) * own.len())).collect();
    let mut parts = vec![0.0_f32; size * own.len()];
    ranks.all_to_all(bytemuck::cast_slice(values), &to, bytemuck::cast_slice_mut(&mut parts), &from)?;
    for (i, sum) in values[own.clone()].iter_mut().enumerate() {
        *sum = (0..size).map(|rank| f64::from(parts[rank * own.len() + i])).sum::<f64>() as f32;
    }
    ranks.all_gather(bytemuck::cast_slice_mut(values), &to)
}

/// How an operation's work can be divided among ranks along the first axis of its operands, which counts a batch's items (or
/// several rows for each item).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Division {
    /// Not at all: every rank gets all inputs whole, and does everything.
    Whole,
    /// Row by row: what an item's rows of all outputs are depends on that item's rows of these inputs, to the bit, and on
    /// the others as a whole. A rank calls the operation with its own rows alone, as if there were no others. An operation that
    /// holds the number of rows itself is replaced by what [`Op::of_rows`](super::Op::of_rows) makes of it.
    Rows {
        /// Of each input, whether an item needs its own rows alone.
        inputs: Vec<bool>,
    },
    /// By the operation itself, which is given the whole operands, finds what is its rank's in [`Kernel::share`](super::Kernel::share),
    /// and has the ranks exchange there what it adds up.
    Shared {
        /// Of each input, whether a rank needs its own items' rows alone.
        inputs: Vec<bool>,
        /// Of each output, whether a rank makes its own items' rows alone. The others it makes whole.
        outputs: Vec<bool>,
        /// How many items at least a piece of the operation's cut takes: a rank's items begin at a multiple of it.
        items: usize,
    },
}

impl Division {
    /// Row by row, for an operation with this many inputs, of which all go by rows.
    pub fn rows(inputs: usize) -> Self {
        Self::Rows { inputs: vec![true; inputs] }
    }

    /// Row by row, where these inputs go by rows and the others are read as a whole.
    pub fn rows_of(inputs: &[bool]) -> Self {
        Self::Rows { inputs: inputs.to_vec() }
    }
}

impl Graph {
    /// Says that the first axis of an input counts the items of a batch, which several processes may share out among themselves:
    /// see [`Communicator`].
    ///
    /// # Errors
    /// Where the value is no input, or an input that was named before has another number of items.
    pub fn by_item(&mut self, input: Value) -> Result<()> {
        let items = self.shape(input).dims().first().copied();
        if !matches!(self.source(input), Source::Input(_)) || items.is_none() {
            return Err(Error::op("by_item", "wants an input with a first axis"));
        }
        match self.items() {
            Some(known) if items != Some(known) => {
                let detail = format!("an input {} for batches of {known} items", self.shape(input));
                return Err(Error::op("by_item", detail));
            }
            _ => self.by_item.push(input),
        }
        Ok(())
    }

    /// The items of a batch, where inputs were said to have [one row for each](Graph::by_item).
    pub fn items(&self) -> Option<usize> {
        self.by_item.first().map(|&input| self.shape(input)[0])
    }
}

/// Which part of a batch is this rank's, and the way to the other ranks.
#[derive(Clone, Copy)]
pub struct Share<'a> {
    among: Option<Among<'a>>,
}

#[derive(Clone, Copy)]
struct Among<'a> {
    ranks: &'a dyn Communicator,
    /// Items of the batch.
    items: usize,
    /// Those of each rank.
    parts: &'a [Range<usize>],
    /// The first error.
    failed: &'a OnceLock<Error>,
    /// Where kernels leave what they do not finish.
    late: &'a Mutex<Vec<Late>>,
}

impl<'a> Share<'a> {
    /// All of it, without other ranks.
    pub const ALONE: Self = Self { among: None };

    /// The items `parts[r]` of a batch of `items` are rank r's. The first exchange that fails says so in `failed`; later ones do
    /// nothing. What kernels do not finish is left in `late`.
    pub(crate) fn new(
        ranks: &'a dyn Communicator,
        items: usize,
        parts: &'a [Range<usize>],
        failed: &'a OnceLock<Error>,
        late: &'a Mutex<Vec<Late>>,
    ) -> Self {
        Self { among: Some(Among { ranks, items, parts, failed, late }) }
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.among.map_or(1, |among| among.parts.len())
    }

    /// This rank's number.
    pub fn rank(&self) -> usize {
        self.among.map_or(0, |among| among.ranks.rank())
    }

    /// Of so many rows, the same number for each item, those of rank r.
    pub fn rows_of(&self, r: usize, rows: usize) -> Range<usize> {
        let Some(Among { items, parts, .. }) = self.among else { return 0..rows };
        parts[r].start * (rows / items)..parts[r].end * (rows / items)
    }

    /// Of so many rows, the same number for each item, this rank's.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        self.rows_of(self.rank(), rows)
    }

    /// Of `data`, which has as many elements for each item as for any other, every rank has its items': afterwards all have all.
    pub fn gather<T: bytemuck::Pod>(&self, data: &mut [T]) {
        let len = data.len();
        self.gather_parts(data, |r| self.rows_of(r, len));
    }

    /// Of `data`, rank r has the elements `part(r)`: afterwards all have all.
    pub fn gather_parts<T: bytemuck::Pod>(&self, data: &mut [T], part: impl Fn(usize) -> Range<usize>) {
        let Some(among) = self.among else { return };
        let parts: Vec<Range<usize>> = (0..among.parts.len()).map(|r| bytes::<T>(part(r))).collect();
        self.with(|ranks| ranks.all_gather(bytemuck::cast_slice_mut(data), &parts));
    }

    /// Begins the first exchange that the rest of a kernel's work waits for, and leaves it to the session.
    pub(crate) fn leave(&self, rest: Box<dyn Rest>, first: Parcels) {
        let Some(among) = self.among else { return };
        self.with(|ranks| {
            let late = Late::begin(ranks, rest, first)?;
            among.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
            Ok(())
        });
    }

    /// Exchanges something, unless an exchange has failed.
    pub(crate) fn with(&self, exchange: impl FnOnce(&dyn Communicator) -> Result<()>) {
        if let Some(among) = self.among
            && among.failed.get().is_none()
            && let Err(error) = exchange(among.ranks)
        {
            // Only the first is of interest.
            drop(among.failed.set(error));
        }
    }

    /// Whether an exchange has failed.
    pub(crate) fn failed(&self) -> bool {
        self.among.is_some_and(|among| among.failed.get().is_some())
    }
}

/// Where elements lie, in bytes.
pub(crate) fn bytes<T>(elements: Range<usize>) -> Range<usize> {
    elements.start * size_of::<T>()..elements.end * size_of::<T>()
}
