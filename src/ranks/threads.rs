//! Ranks that are threads of one process: for tests, and for programs that have several devices.

use crate::error::{Error, Result};
use crate::graph::Communicator;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// One of several ranks of this process, each to be used by a thread of its own. Those that wait for a rank that is dropped get an
/// error.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    /// To each rank.
    to: Vec<Sender<Vec<u8>>>,
    /// From each rank.
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
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
        let mut all: Vec<Self> = (0..ranks).map(|rank| Self { rank, to: Vec::new(), from: Vec::new() }).collect();
        for from in 0..ranks {
            for to in 0..ranks {
                let (sender, receiver) = channel();
                all[from].to.push(sender);
                all[to].from.push(Mutex::new(receiver));
            }
        }
        all
    }

    fn send(&self, rank: usize, data: &[u8]) -> Result<()> {
        self.to[rank].send(data.to_vec()).map_err(|_| gone(rank))
    }

    fn receive(&self, rank: usize, into: &mut [u8]) -> Result<()> {
        let from = self.from[rank].lock().unwrap_or_else(PoisonError::into_inner);
        let data = from.recv().map_err(|_| gone(rank))?;
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
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        let others = || (0..self.size()).filter(|&rank| rank != self.rank);
        others().try_for_each(|rank| self.send(rank, &data[parts[self.rank].clone()]))?;
        others().try_for_each(|rank| self.receive(rank, &mut data[parts[rank].clone()]))
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        let all = 0..self.size();
        all.clone().try_for_each(|rank| self.send(rank, &send[to[rank].clone()]))?;
        all.into_iter().try_for_each(|rank| self.receive(rank, &mut receive[from[rank].clone()]))
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
    fn a_rank_that_is_gone_is_an_error_for_the_others() {
        let mut ranks = Threads::new(2);
        drop(ranks.pop());
        let error = ranks[0].all_gather(&mut [0; 2], &[0..1, 1..2]).unwrap_err().to_string();
        assert!(error.contains("rank 1 is gone"), "{error}");
    }
}
