//! Ways for ranks to talk with each other: processes through MPI (feature `mpi`), or threads of one process.

#[cfg(feature = "mpi")]
mod mpi;
mod threads;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use crate::graph::Communicator;
pub use threads::Threads;

use crate::error::{Error, Result};
use std::ops::Range;

impl dyn Communicator + '_ {
    /// What every rank has to say, in their order.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    pub fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let parts = |lens: &[usize]| -> Vec<Range<usize>> {
            let ends = lens.iter().scan(0, |end, len| {
                *end += len;
                Some(*end)
            });
            ends.zip(lens).map(|(end, len)| end - len..end).collect()
        };
        let (rank, size) = (self.rank(), self.size());
        let mut lens = vec![0; 8 * size];
        lens[8 * rank..8 * rank + 8].copy_from_slice(&(own.len() as u64).to_le_bytes());
        self.all_gather(&mut lens, &parts(&vec![8; size]))?;
        let len = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        let parts = parts(&lens.as_chunks::<8>().0.iter().map(len).collect::<Vec<_>>());
        let mut all = vec![0; parts.last().map_or(0, |part| part.end)];
        all[parts[rank].clone()].copy_from_slice(own);
        self.all_gather(&mut all, &parts)?;
        Ok(parts.into_iter().map(|part| all[part].to_vec()).collect())
    }

    /// What rank 0 has to say; what the others say is not used.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    pub fn first(&self, own: &[u8]) -> Result<Vec<u8>> {
        let own = if self.rank() == 0 { own } else { &[] };
        Ok(self.gather(own)?.swap_remove(0))
    }

    /// The results of all ranks as one: where a rank failed, all fail, with the error of the first that did.
    ///
    /// # Errors
    /// That one, as an [`Error::Rank`].
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        let said = match &result {
            Ok(_) => Vec::new(),
            // A byte before the text, so that it is not empty.
            Err(error) => [&[error.exit_code()], error.to_string().as_bytes()].concat(),
        };
        let mut all = self.gather(&said)?.into_iter().enumerate();
        match (all.find(|(_, said)| !said.is_empty()), result) {
            (Some((rank, said)), _) => {
                let message = String::from_utf8_lossy(&said[1..]).into_owned();
                Err(Error::Rank { rank, message, code: said[0] })
            }
            (None, result) => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_three<R: Send>(each: impl Fn(&dyn Communicator) -> R + Sync) -> Vec<R> {
        std::thread::scope(|scope| {
            let each = &each;
            let threads: Vec<_> = Threads::new(3).into_iter().map(|ranks| scope.spawn(move || each(&ranks))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_hear_what_each_has_to_say() {
        let heard = on_three(|ranks| ranks.gather(&vec![7; ranks.rank()]).unwrap());
        assert!(heard.iter().all(|heard| *heard == [vec![], vec![7], vec![7, 7]]));
        let heard = on_three(|ranks| ranks.first(&[10 + ranks.rank() as u8]).unwrap());
        assert_eq!(heard, [[10]; 3]);
    }

    #[test]
    fn where_one_fails_all_do_with_its_error() {
        assert!(on_three(|ranks| ranks.agree(Ok(ranks.rank())).unwrap()).into_iter().eq(0..3));
        let fail = |ranks: &dyn Communicator| match ranks.rank() {
            0 => Ok(()),
            rank => Err(Error::usage("option", format!("of rank {rank}"))),
        };
        let errors = on_three(|ranks| ranks.agree(fail(ranks)).unwrap_err());
        assert!(errors.iter().all(|error| error.exit_code() == 2));
        assert!(errors.iter().all(|error| error.to_string() == "rank 1: setting `option`: of rank 1"), "{errors:?}");
    }
}
