//! Ranks that are processes, through MPI.

use crate::error::{Error, Result};
use crate::graph::Communicator;
use ::mpi::Threading;
use ::mpi::datatype::{Partition, PartitionMut};
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator as _, CommunicatorCollectives as _};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// This process as one of those that `mpirun`, Slurm or another launcher has started together.
pub struct Mpi {
    rank: usize,
    size: usize,
    world: Mutex<SimpleCommunicator>,
    // MPI ends when this is dropped.
    _universe: Universe,
}

// SAFETY: MPI allows calls from any thread, as `start` made sure, one at a time, as the lock does.
unsafe impl Send for Mpi {}
// SAFETY: as above.
unsafe impl Sync for Mpi {}

impl Mpi {
    /// Joins the processes that were started together. Once in the life of a process.
    ///
    /// # Errors
    /// Where MPI was started before, or allows calls from one thread only.
    pub fn start() -> Result<Self> {
        let started = ::mpi::initialize_with_threading(Threading::Serialized);
        let Some((universe, threading)) = started else {
            return Err(Error::Device("MPI was started before in this process".into()));
        };
        if threading < Threading::Serialized {
            return Err(Error::Device("this MPI library allows calls from one thread only".into()));
        }
        let world = universe.world();
        let [rank, size] = [world.rank(), world.size()].map(|x| usize::try_from(x).unwrap_or(0));
        Ok(Self { rank, size, world: Mutex::new(world), _universe: universe })
    }

    /// How many threads this rank had best work with: its share of the cores that it and others on the same machine may use.
    pub fn threads(&self) -> usize {
        let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine = self.lock().split_shared(0);
        let own = cores();
        let mut all = vec![0; own.len() * usize::try_from(machine.size()).unwrap_or(1)];
        machine.all_gather_into(&own[..], &mut all[..]);
        let sharing = all.chunks_exact(own.len()).filter(|cores| *cores == own).count();
        let cores: u32 = own.iter().map(|bits| bits.count_ones()).sum();
        (cores as usize / sharing.max(1)).clamp(1, allowed)
    }

    /// This rank's number among those on the same machine, and how many those are. All ranks call it together.
    pub fn on_machine(&self) -> [usize; 2] {
        let machine = self.lock().split_shared(0);
        [machine.rank(), machine.size()].map(|x| usize::try_from(x).unwrap_or(0))
    }

    /// The name of the machine that this rank runs on.
    pub fn machine(&self) -> String {
        let _one_at_a_time = self.lock();
        ::mpi::environment::processor_name().unwrap_or_else(|_| "without a name".into())
    }

    /// Ends all ranks at once.
    pub fn abort(&self, code: u8) -> ! {
        self.lock().abort(i32::from(code))
    }

    fn lock(&self) -> MutexGuard<'_, SimpleCommunicator> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cores that this process may use, a bit each.
fn cores() -> Vec<u64> {
    #[cfg(target_os = "linux")]
    {
        use nix::sched::{CpuSet, sched_getaffinity};
        if let Ok(allowed) = sched_getaffinity(nix::unistd::Pid::from_raw(0)) {
            let bit = |core: usize| u64::from(allowed.is_set(core) == Ok(true)) << (core % 64);
            return (0..CpuSet::count().div_ceil(64)).map(|i| (64 * i..64 * i + 64).map(bit).sum()).collect();
        }
    }
    // Not known: all.
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (0..16).map(|i| (0..64).filter(|bit| 64 * i + bit < count).map(|bit| 1 << bit).sum()).collect()
}

/// Lengths and beginnings, as MPI counts.
fn counts(parts: &[Range<usize>]) -> Result<[Vec<i32>; 2]> {
    let number = |x: usize| {
        i32::try_from(x)
            .map_err(|_| Error::Device("ranks exchange 2 GiB or more at once; choose a smaller batch".into()))
    };
    let lens = parts.iter().map(|part| number(part.len())).collect::<Result<Vec<_>>>()?;
    let starts = parts.iter().map(|part| number(part.start)).collect::<Result<Vec<_>>>()?;
    Ok([lens, starts])
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        let [lens, starts] = counts(parts)?;
        if parts.iter().all(Range::is_empty) {
            return Ok(());
        }
        // MPI wants no memory to be read and written at once, and takes some addresses for something else: those of no memory. So
        // there is always some.
        let mut own = Vec::with_capacity(parts[self.rank].len() + 1);
        own.extend_from_slice(&data[parts[self.rank].clone()]);
        self.lock().all_gather_varcount_into(&own[..], &mut PartitionMut::new(data, lens, starts));
        Ok(())
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        let ([to_lens, to_starts], [from_lens, from_starts]) = (counts(to)?, counts(from)?);
        let (some, mut more) = ([0_u8], [0_u8]);
        let send = if send.is_empty() { &some[..] } else { send };
        let receive = if receive.is_empty() { &mut more[..] } else { receive };
        let mut receive = PartitionMut::new(receive, from_lens, from_starts);
        self.lock().all_to_all_varcount_into(&Partition::new(send, to_lens, to_starts), &mut receive);
        Ok(())
    }
}
