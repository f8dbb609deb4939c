//! Several ranks (threads here) that share out a batch get what one gets alone, to the bit: every operation of the table of
//! cases, and networks in training.

use humdinger::cases::{self, Case, check};
use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Communicator, CpuReal, Graph, Plan, Session, States, Target, Underway};
use humdinger::nn::{Adam, Block, Classifier, Mode, Pooling};
use humdinger::ops::Per;
use humdinger::ranks::Threads;
use humdinger::{Error, Result};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All outputs of a case, gradients included, where so many elements of an input's first axis are items.
fn outputs<T: CpuReal>(case: &Case, items: usize, ranks: Option<Counting>) -> Result<Vec<(String, Vec<T>)>> {
    let states = Arc::new(States::new());
    let mut built = check::build(case, states.clone(), true)?;
    let inputs = case.add_inputs(&mut Graph::default())?;
    for (value, input) in inputs.into_iter().zip(&case.inputs) {
        // Inputs are the first values of every graph.
        if input.spec.shape.dims().first() == Some(&items) {
            built.graph.by_item(value)?;
        }
    }
    let mut session = CpuSession::<T>::new(states, Arc::new(Pool::new(1)))?;
    if let Some(ranks) = ranks {
        session = session.among(Arc::new(ranks));
    }
    let id = session.add(Plan::new(built.graph, Target::Cpu)?)?;
    check::write_inputs(&mut session, id, case)?;
    session.run(id)?;
    // A second time: what is left of the first must not matter.
    session.run(id)?;
    built.outputs.into_iter().map(|name| Ok((name.clone(), session.output(id, &name)?.to_vec()))).collect()
}

/// Ranks that count what they exchange.
struct Counting {
    ranks: Threads,
    exchanges: Arc<AtomicUsize>,
}

impl Communicator for Counting {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.ranks.all_gather(data, parts)
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.ranks.all_to_all(send, to, receive, from)
    }

    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.ranks.begin_all_to_all(send, to, from)
    }
}

/// The results of `each` rank, in their order.
fn on<R: Send>(ranks: usize, each: impl Fn(Threads) -> Result<R> + Sync) -> Result<Vec<R>> {
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = Threads::new(ranks).into_iter().map(|ranks| scope.spawn(move || each(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Error::Device("a rank panicked".into()))?).collect()
    })
}

/// Operations of which every rank does all: most add up over the first axis, or change nothing but parameters.
const UNDIVIDED: [&str; 11] = [
    "adam",
    "batch_norm",
    "batch_norm_evaluate",
    "clip_factor",
    "correct",
    "flip",
    "one_hot",
    "pad",
    "pad_slice",
    "reshape",
    "sgd",
];

#[test]
fn every_operation_gives_the_same_bits_on_any_number_of_ranks() {
    let (mut divided, mut all) = (BTreeSet::new(), BTreeSet::new());
    for case in cases::all().into_iter().filter(|case| !case.bench) {
        all.insert(case.op);
        let axes: BTreeSet<usize> = case.inputs.iter().filter_map(|x| x.spec.shape.dims().first().copied()).collect();
        for (items, ranks) in axes.iter().flat_map(|&items| [2, 3].map(|ranks| (items, ranks))) {
            let alone = outputs::<f32>(&case, items, None).unwrap();
            let title = case.title();
            let exchanges = Arc::new(AtomicUsize::new(0));
            let run = |ranks| outputs::<f32>(&case, items, Some(Counting { ranks, exchanges: exchanges.clone() }));
            for (rank, found) in on(ranks, run).unwrap().into_iter().enumerate() {
                for ((name, alone), (_, found)) in alone.iter().zip(&found) {
                    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    let what = format!("{title}, {name}, {items} items: rank {rank} of {ranks}");
                    assert!(alone.iter().zip(found).all(same), "{what} has other bits");
                }
            }
            if exchanges.load(Ordering::Relaxed) > 0 {
                divided.insert(case.op);
            }
        }
    }
    let undivided: Vec<_> = all.difference(&divided).copied().collect();
    assert_eq!(undivided, UNDIVIDED);
}

/// A small network in training, from spectrograms to Adam.
struct Training {
    network: Classifier,
    states: Arc<States>,
    adam: Adam,
    items: usize,
    size: [usize; 2],
    fusions: Fusions,
}

const CLASSES: usize = 5;

impl Training {
    fn new(network: Classifier, items: usize, size: [usize; 2]) -> Result<Self> {
        let mut states = States::new();
        let parameters = network.add_states(&mut states, 3)?;
        let adam = Adam::new(&mut states, parameters)?;
        let fusions = Fusions::for_target(Target::Cpu);
        Ok(Self { network, states: Arc::new(states), adam, items, size, fusions })
    }

    fn plan(&self) -> Result<Plan> {
        let mut graph = Graph::new(self.states.clone());
        let x = graph.input("x", [self.items, self.network.channels, self.size[0], self.size[1]])?;
        let labels = graph.index_input("labels", [self.items])?;
        [x, labels].into_iter().try_for_each(|input| graph.by_item(input))?;
        let x = graph.standardise(x, Per::Batch, 1e-5)?;
        let logits = self.network.logits(&mut graph, x, Mode::Train)?;
        let loss = graph.cross_entropy(logits, labels, 0.1)?.loss;
        self.adam.minimise(&mut graph, loss)?;
        graph.output("logits", logits)?;
        graph.output("loss", loss)?;
        fuse(&mut graph, self.fusions)?;
        Plan::new(graph, Target::Cpu)
    }

    /// Logits, loss and all states after two steps.
    fn run(&self, ranks: Option<Arc<dyn Communicator>>, threads: usize) -> Result<Vec<f32>> {
        let mut session = CpuSession::<f32>::new(self.states.clone(), Arc::new(Pool::new(threads)))?;
        if let Some(ranks) = ranks {
            session = session.among(ranks);
        }
        let id = session.add(self.plan()?)?;
        let mut adam = self.adam.clone();
        for step in 0..2 {
            let wave = |i: usize| ((i * 2_654_435_761 % 10_007 + 77 * step) as f32 / 5_003.5 - 1.0) * (i % 7) as f32;
            let x: Vec<f32> = (0..self.items * self.network.channels * self.size[0] * self.size[1]).map(wave).collect();
            let labels: Vec<u32> = (0..self.items).map(|i| ((i * 7 + step) % CLASSES) as u32).collect();
            session.write(id, "x", &x)?;
            session.write_indices(id, "labels", &labels)?;
            adam.before_step(&mut session, id, 1e-2, 0.9)?;
            session.run(id)?;
        }
        let mut results = session.output(id, "logits")?.to_vec();
        results.extend(session.output(id, "loss")?);
        for (name, len) in self.states.groups().iter().map(|group| (group.name.as_str(), group.len)) {
            results.extend(&*session.state_mut(name, len)?);
        }
        Ok(results)
    }

    fn alike(&self, ranks: &[usize]) -> Result<()> {
        let alone = self.run(None, 2)?;
        assert!(alone.iter().all(|x| x.is_finite()));
        let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for &ranks in ranks {
            for (rank, found) in on(ranks, |ranks| self.run(Some(Arc::new(ranks)), 1))?.iter().enumerate() {
                let title = format!("{} items of {:?}, {:?}", self.items, self.size, self.network.pooling);
                assert!(bits(found) == bits(&alone), "{title}: rank {rank} of {ranks} learns otherwise");
            }
        }
        Ok(())
    }
}

fn network(blocks: &[(usize, usize)], pooling: Pooling) -> Classifier {
    let blocks = blocks.iter().map(|&(channels, stride)| Block::square(channels, 3, stride)).collect();
    Classifier { channels: 2, blocks, pooling, outputs: CLASSES, init_slope: 0.1, frozen: 0, frozen_norms: false }
}

#[test]
fn networks_learn_alike_on_any_number_of_ranks() -> Result<()> {
    for pooling in [Pooling::Mean, Pooling::MaxFrequencyMeanTime] {
        // Fewer items than ranks; items cut into rows; one for each; more than there are chunks.
        for items in [1, 3, 7, 19] {
            Training::new(network(&[(8, 2), (6, 1), (9, 2)], pooling), items, [20, 11])?.alike(&[2, 3, 5])?;
        }
    }
    Ok(())
}

#[test]
fn ranks_have_whole_chunks_of_every_layer() -> Result<()> {
    // So many weights that a chunk of the last layer has two items, of the others one.
    Training::new(network(&[(8, 2), (96, 2), (128, 1)], Pooling::Mean), 16, [12, 12])?.alike(&[3])
}

#[test]
fn what_is_not_fused_and_does_not_learn_is_alike_too() -> Result<()> {
    let blocks = [(4, 2), (6, 1)];
    let plain = Training::new(network(&blocks, Pooling::MaxFrequencyMeanTime), 5, [9, 11])?;
    Training { fusions: Fusions::NONE, ..plain }.alike(&[2, 3])?;
    for (frozen, frozen_norms) in [(1, false), (0, true)] {
        let network = Classifier { frozen, frozen_norms, ..network(&blocks, Pooling::Mean) };
        Training::new(network, 6, [9, 11])?.alike(&[2, 4])?;
    }
    Ok(())
}

/// Ranks that note what is underway while they exchange something else, and fail at an exchange of this number.
struct Watched {
    ranks: Threads,
    fails_at: Option<usize>,
    exchanges: AtomicUsize,
    underway: Arc<AtomicUsize>,
    /// The most that was underway at the beginning of an exchange.
    most: Arc<AtomicUsize>,
}

impl Watched {
    fn new(ranks: Threads, fails_at: Option<usize>) -> Self {
        let [exchanges, underway, most] = [0; 3].map(AtomicUsize::new);
        Self { ranks, fails_at, exchanges, underway: Arc::new(underway), most: Arc::new(most) }
    }

    fn begins(&self) -> Result<()> {
        self.most.fetch_max(self.underway.load(Ordering::Relaxed), Ordering::Relaxed);
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        if Some(number) == self.fails_at { Err(Error::Device("the network is down".into())) } else { Ok(()) }
    }
}

impl Communicator for Watched {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        self.begins()?;
        self.ranks.all_gather(data, parts)
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        self.begins()?;
        self.ranks.all_to_all(send, to, receive, from)
    }

    fn begin_all_to_all(&self, send: Vec<u8>, to: &[Range<usize>], from: &[Range<usize>]) -> Result<Box<dyn Underway>> {
        self.begins()?;
        self.underway.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Noted(self.ranks.begin_all_to_all(send, to, from)?, self.underway.clone())))
    }
}

struct Noted(Box<dyn Underway>, Arc<AtomicUsize>);

impl Underway for Noted {
    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        self.1.fetch_sub(1, Ordering::Relaxed);
        self.0.finish()
    }
}

/// Ranks that know only exchanges that are waited for.
struct Plain(Threads);

impl Communicator for Plain {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn all_gather(&self, data: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        self.0.all_gather(data, parts)
    }

    fn all_to_all(&self, send: &[u8], to: &[Range<usize>], receive: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        self.0.all_to_all(send, to, receive, from)
    }
}

fn three_blocks() -> Result<Training> {
    Training::new(network(&[(8, 2), (6, 1), (9, 2)], Pooling::Mean), 7, [20, 11])
}

#[test]
fn the_weights_gradients_travel_while_the_backward_pass_goes_on() -> Result<()> {
    let training = three_blocks()?;
    let alone = training.run(None, 1)?;
    let run = |ranks: Threads| {
        let watched = Arc::new(Watched::new(ranks, None));
        let found = training.run(Some(watched.clone()), 1)?;
        let counts = [&watched.most, &watched.underway].map(|count| count.load(Ordering::Relaxed));
        Ok((found, counts))
    };
    for (found, [most, left]) in on(3, run)? {
        assert!(found.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
        // The next layer's moments are exchanged meanwhile, and the last layers' gradients on their second way with the first's.
        assert!(most >= 2, "{most} exchanges at the same time");
        assert_eq!(left, 0, "every exchange is finished");
    }
    for found in on(3, |ranks| training.run(Some(Arc::new(Plain(ranks))), 1))? {
        assert!(found.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    Ok(())
}

#[test]
fn an_exchange_that_fails_ends_the_run_of_every_rank() -> Result<()> {
    let training = three_blocks()?;
    let alone = training.run(None, 1)?;
    let count = on(2, |ranks| {
        let watched = Arc::new(Watched::new(ranks, None));
        training.run(Some(watched.clone()), 1)?;
        Ok(watched.exchanges.load(Ordering::Relaxed))
    })?[0];
    assert!(count > 20, "{count}");
    for fails_at in 0..count {
        let results = on(2, |ranks| {
            let fails_at = (ranks.rank() == 1).then_some(fails_at);
            Ok(training.run(Some(Arc::new(Watched::new(ranks, fails_at))), 1).map_err(|error| error.to_string()))
        })?;
        assert!(results[1].as_ref().is_err_and(|error| error.contains("the network is down")), "exchange {fails_at}");
        // The other hears of it, or was at the end already and has what it should.
        match &results[0] {
            Err(error) => assert!(error.contains("rank 1 is gone"), "exchange {fails_at}: {error}"),
            Ok(found) => assert!(found.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits())),
        }
    }
    Ok(())
}
