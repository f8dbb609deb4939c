//! What several processes exchange in a step of training: bytes, time, and share of the step.
//!
//! ```text
//! mpirun -n 4 target/release/examples/exchange melody 16 50
//! ```
//!
//! trains `melody` on batches of 16 for 50 steps, and tells of their median. Built with `--features mpi`.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Plan, Session, Target};
use humdinger::ranks::{Communicator, Mpi};
use humdinger::tensor::DType;
use humdinger::train::Recipe;
use humdinger::train::network::{Network, Pass};
use humdinger::{Error, Result, nn};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Ranks that count what they send, and how long it takes until they have what they wait for.
struct Counting {
    ranks: Mpi,
    exchanges: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counting {
    fn new(ranks: Mpi) -> Self {
        let [exchanges, bytes, nanoseconds] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { ranks, exchanges, bytes, nanoseconds }
    }

    fn count(&self, bytes: usize, exchange: impl FnOnce() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        let result = exchange();
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// Exchanges, bytes and nanoseconds since the last call.
    fn take(&self) -> [u64; 3] {
        [&self.exchanges, &self.bytes, &self.nanoseconds].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

impl Communicator for Counting {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        // To each of the others, in a ring.
        let sent = parts.iter().map(Range::len).sum::<usize>() - parts[(self.rank() + 1) % self.size()].len();
        self.count(sent, || self.ranks.all_gather(data, parts))
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        let sent = to.iter().map(Range::len).sum::<usize>() - to[self.rank()].len();
        self.count(sent, || self.ranks.all_to_all(send, to, receive, from))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, batch, steps] = &arguments[..] else {
        return Err(Error::usage("exchange", "wants a recipe, clips in a batch, and a number of steps"));
    };
    let recipe = Recipe::ALL.into_iter().find(|known| known.name() == recipe);
    let recipe = recipe.ok_or_else(|| Error::usage("RECIPE", "is melody or notebook"))?;
    let number = |text: &String| text.parse::<usize>().ok().filter(|&number| number > 0);
    let [Some(batch), Some(steps)] = [number(batch), number(steps)] else {
        return Err(Error::usage("BATCH STEPS", "are whole numbers above 0"));
    };

    let ranks = Arc::new(Counting::new(Mpi::start()?));
    let threads = ranks.ranks.threads();
    let front_end = recipe.front_end();
    let (network, adam) = Network::new(recipe, &front_end, 8, 1, true)?;
    let mut graph = network.graph(Pass::Train { augment: true }, batch, adam.as_ref())?;
    fuse(&mut graph, Fusions::for_target(Target::Cpu))?;
    let mut session =
        CpuSession::<f32>::new(network.states.clone(), Arc::new(Pool::new(threads)))?.among(ranks.clone());
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    for port in session.plan(id).inputs.clone() {
        let len = port.spec.shape.elements();
        match (port.spec.dtype, port.name.as_str()) {
            (DType::Index, "labels") => {
                session.write_indices(id, &port.name, &(0..len).map(|i| i as u32 % 8).collect::<Vec<_>>())?
            }
            (DType::Index, _) => session.write_indices(id, &port.name, &vec![0; len])?,
            // No shift, no stretch.
            (DType::Real, "warp") => session.write(id, &port.name, &[0.0, 1.0].repeat(len / 2))?,
            (DType::Real, nn::STEP) => {}
            (DType::Real, name) => {
                let tone = |i: usize| ((i % 8000) as f32 * 0.2 + (i / 64_000) as f32).sin() * 0.5;
                session.write(id, name, &(0..len).map(tone).collect::<Vec<_>>())?;
            }
        }
    }
    let mut adam = adam.ok_or_else(|| Error::value("optimiser", "there is none"))?;
    let (mut times, mut waits, mut sent) = (Vec::new(), Vec::new(), [0; 3]);
    for step in 0..steps + 3 {
        adam.before_step(&mut session, id, 1e-3, 0.9)?;
        ranks.take();
        let start = Instant::now();
        session.run(id)?;
        let time = start.elapsed().as_secs_f64();
        sent = ranks.take();
        // The first steps meet cold caches.
        if step >= 3 {
            times.push(1e3 * time);
            waits.push(1e-6 * sent[2] as f64);
        }
    }
    if ranks.rank() == 0 {
        let (time, wait) = (median(times), median(waits));
        println!(
            "{recipe}, batch {batch}, {} ranks of {threads} threads: {time:.2} ms a step, of which {wait:.2} ms ({:.0} %) in {} \
             exchanges, {:.3} MB sent by each",
            ranks.size(),
            100.0 * wait / time,
            sent[0],
            1e-6 * sent[1] as f64
        );
    }
    Ok(())
}
