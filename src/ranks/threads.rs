//! Ranks that are threads of one process: for tests, and for programs that have several devices.

use crate::error::{Error, Result};
use crate::graph::{Communicator, Underway};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// One of several ranks of this process, each to be used by a thread of its own. Those that wait for a rank that is dropped get an
/// error.
#[derive(Debug)]
pub struct Threads {
    lines: Arc<Lines>,
    /// How many exchanges this rank has begun.
    exchanges: AtomicU64,
}

/// What a rank sends to another: the number of the exchange, and its part.
type Message = (u64, Vec<u8>);

/// A rank's connections.
#[derive(Debug)]
struct Lines {
    rank: usize,
    /// To each rank.
    to: Vec<Sender<Message>>,
    /// From each rank.
    from: Vec<Mutex<Inbox>>,
}

/// What comes from a rank.
#[derive(Debug)]
struct Inbox {
    line: Receiver<Message>,
    /// What has come of exchanges that were begun and are finished later.
    early: Vec<Message>,
}

impl Threads {
    /// So many ranks, in their order.
    ///
    /// ```
    /// use humdinger::ranks::{Communicator, Threads};
    /// let sums: Vec<u8> = std::thread::scope(|scope| {
    ///     let each = Threads::new(3).into_iter().map(|ranks| {
    ///         scope.spawn(move || {
    ///             let mut data = [0; 3];
    ///             data[ranks.rank()] = 10 + ranks.rank() as u8;
    ///             ranks.all_gather(&mut data, &[0..1, 1..2, 2..3]).unwrap();
    ///             data.iter().sum()
    ///         })
    ///     });
    ///     let each: Vec<_> = each.collect();
    ///     each.into_iter().map(|thread| thread.join().unwrap()).collect()
    /// });
    /// assert_eq!(sums, [33, 33, 33]);
    /// ```
    pub fn new(ranks: usize) -> Vec<Self> {
        let mut all: Vec<Lines> = (0..ranks).map(|rank| Lines { rank, to: Vec::new(), from: Vec::new() }).collect();
        for from in 0..ranks {
            for to in 0..ranks {
                let (sender, line) = channel();
                all[from].to.push(sender);
                all[to].from.push(Mutex::new(Inbox { line, early: Vec::new() }));
            }
        }
        let each = all.into_iter().map(|lines| Self { lines: Arc::new(lines), exchanges: AtomicU64::new(0) });
        each.collect()
    }

    /// The number of the exchange that begins now: all ranks begin the same ones in the same order.
    fn number(&self) -> u64 {
        self.exchanges.fetch_add(1, Ordering::Relaxed)
    }
}

impl Lines {
    fn send(&self, number: u64, rank: usize, data: &[u8]) -> Result<()> {
        self.to[rank].send((number, data.to_vec())).map_err(|_| gone(rank))
    }

    fn receive(&self, number: u64, rank: usize, into: &mut [u8]) -> Result<()> {
        let mut from = self.from[rank].lock().unwrap_or_else(PoisonError::into_inner);
        let data = match from.early.iter().position(|(of, _)| *of == number) {
            Some(early) => from.early.swap_remove(early).1,
            None => loop {
                let message = from.line.recv().map_err(|_| gone(rank))?;
                if message.0 == number {
                    break message.1;
                }
                from.early.push(message);
            },
        };
        if data.len() != into.len() {
            let detail = format!("rank {rank} sent {} bytes where {} were expected", data.len(), into.len());
            return Err(Error::Device(detail));
        }
        into.copy_from_slice(&data);
        Ok(())
    }
}

fn gone(rank: usize) -> Error {
    Error::Device(format!("rank {rank} is gone"))
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.lines.rank
    }

    fn size(&self) -> usize {
        self.lines.to.len()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        let (number, own) = (self.number(), self.rank());
        let others = || (0..self.size()).filter(|&rank| rank != own);
        others().try_for_each(|rank| self.lines.send(number, rank, &data[parts[own].clone()]))?;
        others().try_for_each(|rank| self.lines.receive(number, rank, &mut data[parts[rank].clone()]))
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        let number = self.number();
        (0..self.size()).try_for_each(|rank| self.lines.send(number, rank, &send[to[rank].clone()]))?;
        (0..self.size()).try_for_each(|rank| self.lines.receive(number, rank, &mut receive[from[rank].clone()]))
    }

    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        let number = self.number();
        (0..self.size()).try_for_each(|rank| self.lines.send(number, rank, &send[to[rank].clone()]))?;
        Ok(Box::new(Going { lines: self.lines.clone(), number, from: from.to_vec() }))
    }
}

/// An exchange whose parts are on their way, or wait in the lines.
struct Going {
    lines: Arc<Lines>,
    number: u64,
    from: Vec<Range<usize>>,
}

impl Underway for Going {
    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        let mut came = vec![0; self.from.iter().map(|part| part.end).max().unwrap_or(0)];
        for (rank, part) in self.from.iter().enumerate() {
            self.lines.receive(self.number, rank, &mut came[part.clone()])?;
        }
        Ok(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_where_it_belongs() {
        const RANKS: usize = 4;
        std::thread::scope(|scope| {
            for ranks in Threads::new(RANKS) {
                scope.spawn(move || {
                    let rank = ranks.rank();
                    // Rank r sends r + s bytes to rank s.
                    let start = |other: usize| (0..other).map(|other| rank + other).sum::<usize>();
                    let parts: Vec<Range<usize>> = (0..RANKS).map(|other| start(other)..start(other + 1)).collect();
                    let mut send = vec![0; parts[RANKS - 1].end];
                    for (to, part) in parts.iter().enumerate() {
                        send[part.clone()].fill((10 * rank + to) as u8);
                    }
                    let mut receive = vec![0; send.len()];
                    ranks.all_to_all(&send, &parts, &mut receive, &parts).unwrap();
                    for (from, part) in parts.iter().enumerate() {
                        assert!(receive[part.clone()].iter().all(|&x| usize::from(x) == 10 * from + rank));
                    }
                });
            }
        });
    }

    #[test]
    fn exchanges_end_in_any_order() {
        const RANKS: usize = 3;
        std::thread::scope(|scope| {
            for ranks in Threads::new(RANKS) {
                scope.spawn(move || {
                    let parts: Vec<Range<usize>> = (0..RANKS).map(|rank| rank..rank + 1).collect();
                    let begin = |value: usize| {
                        let send = (0..RANKS).map(|to| (100 * ranks.rank() + 10 * value + to) as u8).collect();
                        ranks.begin_all_to_all(send, &parts, &parts).unwrap()
                    };
                    let expected = |value: usize| {
                        (0..RANKS).map(|from| (100 * from + 10 * value + ranks.rank()) as u8).collect::<Vec<_>>()
                    };
                    let (first, second) = (begin(1), begin(2));
                    // One that is waited for, meanwhile.
                    let mut data = [0; RANKS];
                    data[ranks.rank()] = 7;
                    ranks.all_gather(&mut data, &parts).unwrap();
                    assert_eq!(data, [7; RANKS]);
                    assert_eq!(second.finish().unwrap(), expected(2));
                    assert_eq!(first.finish().unwrap(), expected(1));
                });
            }
        });
    }

    #[test]
    fn a_rank_that_is_gone_is_an_error_for_the_others() {
        let mut ranks = Threads::new(2);
        drop(ranks.pop());
        let error = ranks[0].all_gather(&mut [0; 2], &[0..1, 1..2]).unwrap_err().to_string();
        assert!(error.contains("rank 1 is gone"), "{error}");
    }
}
