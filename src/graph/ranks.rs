//! Several processes (*ranks*) that compute one batch together. Each works on some of the batch's items, and they exchange their
//! parts of sums over the batch.
//!
//! Work is divided for the whole batch, independently of the ranks. A rank computes whole pieces, stores its results where one process
//! would store them, and receives the others' results. Every rank then combines all pieces in the same
//! order. So results are the same bits for any number of ranks; see
//! docs/decisions/ranks.md.

use super::late::{Arrived, Late, Parcels, Rest, Underway};
use super::{Graph, Source, Value};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The connection of one process to all that train together. Every rank must call the same methods in the same order with parts
/// of the same lengths. A call returns when this rank has received its data.
pub trait Communicator: Send + Sync {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Rank r has the bytes `parts[r]` of `data`; afterwards every rank has all parts.
    ///
    /// # Errors
    /// If another rank is gone, or the parts are too large to be sent.
    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()>;

    /// Sends the bytes `to[r]` of `send` to rank r, and puts what comes from rank r into the bytes `from[r]` of `receive`.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()>;

    /// Starts an exchange like [`Communicator::all_to_all`], which continues while this rank computes, and starts and finishes others.
    /// All ranks must start the same exchanges in the same order. The default exchanges immediately.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        let mut receive = vec![0; from.iter().map(|part| part.end).max().unwrap_or(0)];
        self.all_to_all(&send, to, &mut receive, from)?;
        Ok(Box::new(Arrived(receive)))
    }
}

/// The sum of `values` over all ranks, the same on each: added in f64 in the order of the ranks, and rounded.
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
    /// Not divided: every rank has all inputs in full, and computes everything.
    Whole,
    /// Row by row: an item's rows of all outputs depend, bit for bit, on that item's rows of these inputs and on
    /// the other inputs as a whole. A rank calls the operation with its own rows alone. An operation that
    /// stores the number of rows is replaced by [`Op::of_rows`](super::Op::of_rows).
    Rows {
        /// For each input, whether an item needs its own rows alone.
        inputs: Vec<bool>,
    },
    /// Divided by the operation itself. It gets the whole operands, finds its rank's part in [`Kernel::share`](super::Kernel::share),
    /// and exchanges sums through it.
    Shared {
        /// For each input, whether a rank needs its own items' rows alone.
        inputs: Vec<bool>,
        /// For each output, whether a rank computes its own items' rows alone. It computes the others in full.
        outputs: Vec<bool>,
        /// The smallest number of items of a piece: a rank's items begin at a multiple of it.
        items: usize,
    },
}

impl Division {
    /// Row by row, for an operation with this many inputs, all of which are divided by rows.
    pub fn rows(inputs: usize) -> Self {
        Self::Rows { inputs: vec![true; inputs] }
    }

    /// Row by row, if these inputs are divided by rows and the others are read as a whole.
    pub fn rows_of(inputs: &[bool]) -> Self {
        Self::Rows { inputs: inputs.to_vec() }
    }
}

impl Graph {
    /// Says that the first axis of an input counts the items of a batch, which several processes may share:
    /// see [`Communicator`].
    ///
    /// # Errors
    /// If the value is not an input, or has another number of items than an earlier one.
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

    /// The items of a batch, if inputs have [one row for each](Graph::by_item).
    pub fn items(&self) -> Option<usize> {
        self.by_item.first().map(|&input| self.shape(input)[0])
    }
}

/// This rank's part of a batch, and the connection to the other ranks.
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
    /// The whole batch, without other ranks.
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

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.among.map_or(1, |among| among.parts.len())
    }

    /// This rank's number.
    pub fn rank(&self) -> usize {
        self.among.map_or(0, |among| among.ranks.rank())
    }

    /// The rows of rank r, of `rows` in all, the same number for each item.
    pub fn rows_of(&self, r: usize, rows: usize) -> Range<usize> {
        let Some(Among { items, parts, .. }) = self.among else { return 0..rows };
        parts[r].start * (rows / items)..parts[r].end * (rows / items)
    }

    /// This rank's rows, of `rows` in all, the same number for each item.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        self.rows_of(self.rank(), rows)
    }

    /// Each rank has its items' elements of `data`, the same number for each item; afterwards every rank has all.
    pub fn gather<T: bytemuck::Pod>(&self, data: &mut [T]) {
        let len = data.len();
        self.gather_parts(data, |r| self.rows_of(r, len));
    }

    /// Rank r has the elements `part(r)` of `data`; afterwards every rank has all.
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
