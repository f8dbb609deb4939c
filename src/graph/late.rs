//! Results that ranks exchange while they continue computing. A kernel starts the exchange and returns; the session makes sure that the results
//! are there before anything reads them.

use super::{Communicator, Parallel};
use crate::error::Result;
use std::ops::Range;

/// An exchange that was started and continues while this rank does something else. If it is dropped before its end, the
/// ranks cannot continue together.
pub trait Underway: Send {
    /// Makes progress, for implementations that do so only when called. Returns immediately.
    fn advance(&mut self) {}

    /// Waits for its end and returns what the other ranks sent.
    ///
    /// # Errors
    /// As [`Communicator::all_to_all`].
    fn finish(self: Box<Self>) -> Result<Vec<u8>>;
}

/// An exchange that is over.
pub(super) struct Arrived(pub Vec<u8>);

impl Underway for Arrived {
    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// What a rank sends and gets in an exchange, in bytes: `to[r]` of `send` goes to rank r, `from[r]` of what it gets comes from it.
pub(crate) struct Parcels {
    pub send: Vec<u8>,
    pub to: Vec<Range<usize>>,
    pub from: Vec<Range<usize>>,
}

/// The rest of a kernel's work, whose results need exchanges and are not needed at once.
pub(crate) trait Rest: Send {
    /// Takes in what came; what is to be exchanged next, if anything is.
    fn take(&mut self, came: &[u8]) -> Option<Parcels>;

    /// Writes the operation's [late outputs](super::Op::late).
    fn write(&self, parallel: &dyn Parallel, outputs: &mut [&mut [u8]]);
}

/// The rest of a kernel's work, with the exchange that it waits for.
pub(crate) struct Late {
    rest: Box<dyn Rest>,
    /// None where all exchanges are over.
    underway: Option<Box<dyn Underway>>,
}

impl Late {
    /// Begins the first exchange.
    pub fn begin(ranks: &dyn Communicator, rest: Box<dyn Rest>, first: Parcels) -> Result<Self> {
        Ok(Self { rest, underway: Some(start(ranks, first)?) })
    }

    /// Lets the exchange go on.
    pub fn advance(&mut self) {
        self.underway.iter_mut().for_each(|underway| underway.advance());
    }

    /// Waits for the exchange, and begins the next one. Whether there is one.
    pub fn next(&mut self, ranks: &dyn Communicator) -> Result<bool> {
        let Some(underway) = self.underway.take() else { return Ok(false) };
        if let Some(parcels) = self.rest.take(&underway.finish()?) {
            self.underway = Some(start(ranks, parcels)?);
        }
        Ok(self.underway.is_some())
    }

    /// Writes the results, once all exchanges are over.
    pub fn write(&self, parallel: &dyn Parallel, outputs: &mut [&mut [u8]]) {
        debug_assert!(self.underway.is_none(), "all exchanges are over");
        self.rest.write(parallel, outputs);
    }
}

fn start(ranks: &dyn Communicator, Parcels { send, to, from }: Parcels) -> Result<Box<dyn Underway>> {
    ranks.begin_all_to_all(send, &to, &from)
}
