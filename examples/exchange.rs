//! What several processes exchange in a step of training: bytes, time, and share of the step.
//!
//! ```text
//! mpirun -n 4 target/release/examples/exchange melody 16 50
//! ```
//!
//! trains `melody` on batches of 16 for 50 steps, and tells of their median. Built with `--features mpi`. With two numbers more, as
//!
//! ```text
//! mpirun -n 2 target/release/examples/exchange melody 16 50 25 1.2
//! ```
//!
//! every message is held back as a network would that takes 25 microseconds for one and carries 1.2 GB/s.
//!
//! Of two steps, one exchanges the weights' gradients while the backward pass goes on, and one waits for each exchange.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Plan, Session, Target, Underway};
use humdinger::ranks::{Communicator, Mpi};
use humdinger::tensor::DType;
use humdinger::train::Recipe;
use humdinger::train::network::{Network, Pass};
use humdinger::{Error, Result, nn};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A network's latency in nanoseconds, and the nanoseconds that a byte takes. Messages that a rank sends follow one another on its line.
struct Line {
    latency: f64,
    each_byte: f64,
    /// When the line is free again.
    free: Mutex<f64>,
}

/// A message that somebody waits for need not wait for more than such a piece of one that was begun before.
const PIECE: f64 = 131_072.0;

impl Line {
    /// When a message of so many bytes that is sent now arrives.
    fn arrival(&self, bytes: usize, waited_for: bool) -> f64 {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, takes) = (now(), bytes as f64 * self.each_byte);
        let before = (*free - now).max(0.0);
        *free = now + before + takes;
        let wait = if waited_for { before.min(PIECE * self.each_byte) } else { before };
        now + wait + takes + self.latency
    }
}

/// Nanoseconds on the clock that all processes of a machine share.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_nanos() as f64)
}

fn wait_until(time: f64) {
    loop {
        let left = time - now();
        // A sleep may take a little longer than it should.
        match left {
            left if left <= 0.0 => break,
            left if left > 3e5 => std::thread::sleep(Duration::from_nanos((left - 2e5) as u64)),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Ranks that count what they send, and how long they wait for what they get.
struct Counting {
    ranks: Mpi,
    network: Line,
    /// Whether exchanges may go on while a rank computes.
    overlaps: AtomicBool,
    exchanges: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: Arc<AtomicU64>,
    /// Exchanges that may go on while a rank computes, and their bytes.
    begun: [AtomicU64; 2],
}

impl Counting {
    fn new(ranks: Mpi, network: Line) -> Self {
        let [exchanges, bytes, nanoseconds] = std::array::from_fn(|_| AtomicU64::new(0));
        let (overlaps, nanoseconds) = (AtomicBool::new(true), Arc::new(nanoseconds));
        let begun = std::array::from_fn(|_| AtomicU64::new(0));
        Self { ranks, network, overlaps, exchanges, bytes, nanoseconds, begun }
    }

    fn count<R>(&self, bytes: usize, exchange: impl FnOnce() -> Result<R>) -> Result<R> {
        let start = Instant::now();
        let result = exchange();
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// An exchange that this rank waits for.
    fn wait_for(&self, bytes: usize, exchange: impl FnOnce() -> Result<()>) -> Result<()> {
        self.count(bytes, || {
            exchange()?;
            // Now all have begun it.
            wait_until(self.network.arrival(bytes, true));
            Ok(())
        })
    }

    /// Exchanges, bytes and nanoseconds since the last call; exchanges that could go on, and their bytes.
    fn take(&self) -> [u64; 5] {
        let [begun, begun_bytes] = &self.begun;
        let all = [&self.exchanges, &self.bytes, &self.nanoseconds, begun, begun_bytes];
        all.map(|count| count.swap(0, Ordering::Relaxed))
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
        self.wait_for(sent, || self.ranks.all_gather(data, parts))
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        let sent = to.iter().map(Range::len).sum::<usize>() - to[self.rank()].len();
        self.wait_for(sent, || self.ranks.all_to_all(send, to, receive, from))
    }

    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        let sent = to.iter().map(Range::len).sum::<usize>() - to[self.rank()].len();
        self.begun[0].fetch_add(1, Ordering::Relaxed);
        self.begun[1].fetch_add(sent as u64, Ordering::Relaxed);
        if !self.overlaps.load(Ordering::Relaxed) {
            let mut came = vec![0; from.iter().map(|part| part.end).max().unwrap_or(0)];
            self.wait_for(sent, || self.ranks.all_to_all(&send, to, &mut came, from))?;
            return Ok(Box::new(Over(came)));
        }
        if self.network.latency == 0.0 {
            let real = self.count(sent, || self.ranks.begin_all_to_all(send, to, from))?;
            return Ok(Box::new(Timed(real, self.nanoseconds.clone())));
        }
        let begun = now();
        self.count(sent, || {
            // When each began it.
            let stamps: Vec<_> = (0..self.size()).map(|rank| 8 * rank..8 * rank + 8).collect();
            let to_all = vec![0..8; self.size()];
            Ok(Box::new(Going {
                real: self.ranks.begin_all_to_all(send, to, from)?,
                stamps: self.ranks.begin_all_to_all(begun.to_le_bytes().to_vec(), &to_all, &stamps)?,
                takes: self.network.arrival(sent, false) - begun,
                nanoseconds: self.nanoseconds.clone(),
            }) as Box<dyn Underway>)
        })
    }
}

/// What has come already.
struct Over(Vec<u8>);

impl Underway for Over {
    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// What is on its way, without a network.
struct Timed(Box<dyn Underway>, Arc<AtomicU64>);

impl Underway for Timed {
    fn advance(&mut self) {
        self.0.advance();
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        let start = Instant::now();
        let came = self.0.finish();
        self.1.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        came
    }
}

/// What is on its way.
struct Going {
    real: Box<dyn Underway>,
    stamps: Box<dyn Underway>,
    takes: f64,
    nanoseconds: Arc<AtomicU64>,
}

impl Underway for Going {
    fn advance(&mut self) {
        self.real.advance();
        self.stamps.advance();
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        let start = Instant::now();
        let came = self.real.finish()?;
        let begun = self.stamps.finish()?;
        let last = begun.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).fold(0.0, f64::max);
        wait_until(last + self.takes);
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Ok(came)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (recipe, batch, steps, network) = match &arguments[..] {
        [recipe, batch, steps] => (recipe, batch, steps, ["0", "1e9"]),
        [recipe, batch, steps, latency, speed] => (recipe, batch, steps, [latency.as_str(), speed]),
        _ => {
            let detail = "wants a recipe, clips in a batch, a number of steps, and perhaps a network's microseconds for a message and GB/s";
            return Err(Error::usage("exchange", detail));
        }
    };
    let recipe = Recipe::ALL.into_iter().find(|known| known.name() == recipe);
    let recipe = recipe.ok_or_else(|| Error::usage("RECIPE", "is melody or notebook"))?;
    let number = |text: &String| text.parse::<usize>().ok().filter(|&number| number > 0);
    let [Some(batch), Some(steps)] = [number(batch), number(steps)] else {
        return Err(Error::usage("BATCH STEPS", "are whole numbers above 0"));
    };
    let [latency, speed] = network.map(|text| text.parse::<f64>().ok().filter(|number| *number >= 0.0));
    let (Some(latency), Some(speed)) = (latency, speed.filter(|speed| *speed > 0.0)) else {
        return Err(Error::usage("MICROSECONDS GB/S", "are numbers, the second above 0"));
    };
    let network = Line { latency: 1e3 * latency, each_byte: 1.0 / speed, free: Mutex::new(0.0) };

    let ranks = Arc::new(Counting::new(Mpi::start()?, network));
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
    // With and without overlap.
    let mut measured: [(Vec<f64>, Vec<f64>, [u64; 5]); 2] = Default::default();
    for step in 0..2 * (steps + 3) {
        let (times, waits, sent) = &mut measured[step % 2];
        adam.before_step(&mut session, id, 1e-3, 0.9)?;
        ranks.overlaps.store(step.is_multiple_of(2), Ordering::Relaxed);
        ranks.take();
        let start = Instant::now();
        session.run(id)?;
        let time = start.elapsed().as_secs_f64();
        *sent = ranks.take();
        // The first steps meet cold caches.
        if step >= 6 {
            times.push(1e3 * time);
            waits.push(1e-6 * sent[2] as f64);
        }
    }
    if ranks.rank() == 0 {
        println!("{recipe}, batch {batch}, {} ranks of {threads} threads:", ranks.size());
        for (how, (times, waits, sent)) in ["in the backward pass", "one after another"].into_iter().zip(measured) {
            let (time, wait) = (median(times), median(waits));
            let megabytes = |bytes: u64| 1e-6 * bytes as f64;
            println!(
                "  {how:<20} {time:.2} ms a step, of which {wait:.2} ms ({:.0} %) in exchanges: {}, {:.3} MB sent by each; {} of \
                 them of weights, {:.3} MB",
                100.0 * wait / time,
                sent[0],
                megabytes(sent[1]),
                sent[3],
                megabytes(sent[4])
            );
        }
    }
    Ok(())
}
