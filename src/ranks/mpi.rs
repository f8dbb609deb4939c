//! Ranks that are processes, through MPI.

use crate::error::{Error, Result};
use crate::graph::{Communicator, Underway};
use ::mpi::Threading;
use ::mpi::datatype::{Equivalence, Partition, PartitionMut};
use ::mpi::environment::Universe;
use ::mpi::ffi;
use ::mpi::raw::AsRaw;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator as _, CommunicatorCollectives as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// This process as one of those that `mpirun`, Slurm or another launcher has started together.
pub struct Mpi {
    rank: usize,
    size: usize,
    world: Arc<World>,
}

struct World {
    all: Mutex<SimpleCommunicator>,
    // MPI ends when this is dropped.
    _universe: Universe,
}

// SAFETY: MPI allows calls from any thread, as `start` made sure, one at a time, as the lock does.
unsafe impl Send for World {}
// SAFETY: as above.
unsafe impl Sync for World {}

impl World {
    fn lock(&self) -> MutexGuard<'_, SimpleCommunicator> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        Ok(Self { rank, size, world: Arc::new(World { all: Mutex::new(world), _universe: universe }) })
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
        self.world.lock()
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

    fn begin_all_to_all(
        &self,
        mut send: Vec<u8>,
        to: &[Range<usize>],
        from: &[Range<usize>],
    ) -> Result<Box<dyn Underway>> {
        let (to, counts_from) = (counts(to)?, counts(from)?);
        let len = from.iter().map(|part| part.end).max().unwrap_or(0);
        // Some addresses of no memory mean something else to MPI.
        send.push(0);
        let receive = vec![0; len + 1];
        let mut going = Going { world: self.world.clone(), request: None, send, to, receive, from: counts_from };
        going.begin();
        Ok(Box::new(going))
    }
}

/// An exchange that MPI works on. Until it is over the memory is MPI's.
struct Going {
    world: Arc<World>,
    /// None once it is over.
    request: Option<ffi::MPI_Request>,
    send: Vec<u8>,
    to: [Vec<i32>; 2],
    receive: Vec<u8>,
    from: [Vec<i32>; 2],
}

// SAFETY: MPI allows calls from any thread, one at a time, as the lock does; a request belongs to no thread.
unsafe impl Send for Going {}

impl Going {
    fn begin(&mut self) {
        let world = self.world.lock();
        let byte = u8::equivalent_datatype().as_raw();
        // SAFETY: a request is a handle, of which any value may be written over.
        let mut request = unsafe { std::mem::zeroed() };
        // SAFETY: lengths and starts are one for each rank and lie in the memory; all of it stays where it is, and nothing else accesses it,
        // until the request is over, or for ever.
        unsafe {
            ffi::MPI_Ialltoallv(
                self.send.as_ptr().cast(),
                self.to[0].as_ptr(),
                self.to[1].as_ptr(),
                byte,
                self.receive.as_mut_ptr().cast(),
                self.from[0].as_ptr(),
                self.from[1].as_ptr(),
                byte,
                world.as_raw(),
                &raw mut request,
            );
        }
        self.request = Some(request);
    }
}

impl Underway for Going {
    fn advance(&mut self) {
        let Some(request) = &mut self.request else { return };
        let _one_at_a_time = self.world.lock();
        let mut over = 0;
        // SAFETY: a request that is not over.
        unsafe { ffi::MPI_Test(request, &raw mut over, ffi::RSMPI_STATUS_IGNORE) };
        if over != 0 {
            self.request = None;
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        if let Some(mut request) = self.request.take() {
            let _one_at_a_time = self.world.lock();
            // SAFETY: as above.
            unsafe { ffi::MPI_Wait(&raw mut request, ffi::RSMPI_STATUS_IGNORE) };
        }
        let mut came = std::mem::take(&mut self.receive);
        came.pop();
        Ok(came)
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if self.request.is_some() {
            // MPI may still write there.
            std::mem::forget((std::mem::take(&mut self.send), std::mem::take(&mut self.receive)));
            std::mem::forget((std::mem::take(&mut self.to), std::mem::take(&mut self.from)));
        }
    }
}
