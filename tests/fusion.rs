//! Fused against unfused: the whole training step of the notebook's classifier, each fusion by itself and all together, on
//! CPU (with vectors of every width) and GPU; and how many launches are left.

#[cfg(feature = "gpu")]
#[path = "common/gpu.rs"]
mod device;
#[path = "common/vectors.rs"]
mod vectors;

use humdinger::Result;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
#[cfg(feature = "gpu")]
use humdinger::gpu::GpuSession;
use humdinger::graph::{CpuReal, Graph, GroupId, Plan, PlanId, Session, States, Target};
use humdinger::nn::{Adam, Block, Classifier, Mode, Pooling};
use humdinger::ops::{BankRows, Excerpt, Excerpts, Framing};
use std::sync::Arc;

const CLASSES: usize = 10;
const CONV_RELU: Fusions = Fusions { conv_relu: true, ..Fusions::NONE };
const NORM_RELU: Fusions = Fusions { norm_relu: true, ..Fusions::NONE };
const HEAD: Fusions = Fusions { head: true, ..Fusions::NONE };
const BLOCKS: Fusions =
    Fusions { conv_relu: true, norm_relu: true, head: false, blocks: true, excerpts: false, hand_on: false };

struct Training {
    network: Classifier,
    states: Arc<States>,
    parameters: GroupId,
    adam: Adam,
    items: usize,
    size: [usize; 2],
}

impl Training {
    fn new(items: usize, size: [usize; 2]) -> Result<Self> {
        Self::of(Classifier::notebook(CLASSES), items, size)
    }

    fn of(network: Classifier, items: usize, size: [usize; 2]) -> Result<Self> {
        let mut states = States::new();
        let parameters = network.add_states(&mut states, 3)?;
        let adam = Adam::new(&mut states, parameters)?;
        Ok(Self { network, states: Arc::new(states), parameters, adam, items, size })
    }

    /// From spectrograms to Adam.
    fn plan(&self, fusions: Fusions, target: Target) -> Result<Plan> {
        let mut graph = Graph::new(self.states.clone());
        let x = graph.input("x", [self.items, self.network.channels, self.size[0], self.size[1]])?;
        let labels = graph.index_input("labels", [self.items])?;
        let logits = self.network.logits(&mut graph, x, Mode::Train)?;
        let loss = graph.cross_entropy(logits, labels, 0.1)?.loss;
        self.adam.minimise(&mut graph, loss)?;
        graph.output("logits", logits)?;
        graph.output("loss", loss)?;
        fuse(&mut graph, fusions)?;
        Plan::new(graph, target)
    }

    fn feed(&self, session: &mut dyn Session, id: PlanId) -> Result<()> {
        let wave = |i: usize| ((i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0) * (1.0 + (i % 7) as f32 / 7.0);
        let x: Vec<f32> = (0..self.items * self.network.channels * self.size[0] * self.size[1]).map(wave).collect();
        let labels: Vec<u32> = (0..self.items).map(|i| (i * 7 % CLASSES) as u32).collect();
        session.write(id, "x", &x)?;
        session.write_indices(id, "labels", &labels)?;
        self.adam.clone().before_step(session, id, 1e-3, 0.9)
    }

    /// Logits, loss, the moments (after the first step the gradient times 0.1, and its square) and the statistics.
    fn on_cpu<T: CpuReal>(&self, fusions: Fusions) -> Result<Vec<(&'static str, Vec<T>)>> {
        self.on_threads(fusions, 2)
    }

    fn on_threads<T: CpuReal>(&self, fusions: Fusions, threads: usize) -> Result<Vec<(&'static str, Vec<T>)>> {
        let mut session = CpuSession::<T>::new(self.states.clone(), Arc::new(Pool::new(threads)))?;
        let id = session.add(self.plan(fusions, Target::Cpu)?)?;
        self.feed(&mut session, id)?;
        session.run(id)?;
        let mut results = Vec::new();
        for name in ["logits", "loss"] {
            results.push((name, session.output(id, name)?.to_vec()));
        }
        for (name, len) in self.groups().into_iter().filter(|(_, len)| *len > 0) {
            results.push((name, session.state_mut(name, len)?.to_vec()));
        }
        Ok(results)
    }

    fn groups(&self) -> Vec<(&'static str, usize)> {
        let len =
            |name: &str| self.states.groups().iter().find(|group| group.name == name).map_or(0, |group| group.len);
        ["adam.mean", "adam.square", "statistics"].map(|name| (name, len(name))).to_vec()
    }
}

fn nmse(found: &[f64], expected: &[f64]) -> f64 {
    let square = |sum: f64, x: f64| sum + x * x;
    let error = found.iter().zip(expected).map(|(f, e)| f - e).fold(0.0, square);
    error / expected.iter().copied().fold(0.0, square)
}

#[test]
fn every_fusion_computes_the_same() -> Result<()> {
    vectors::choose_vectors();
    let training = Training::new(3, [40, 54])?;
    let expected = training.on_cpu::<f64>(Fusions::NONE)?;
    for fusions in [CONV_RELU, NORM_RELU, HEAD, BLOCKS, Fusions::for_target(Target::Gpu)] {
        for ((name, found), (_, expected)) in training.on_cpu::<f64>(fusions)?.iter().zip(&expected) {
            let error = nmse(found, expected);
            assert!(error < 1e-24, "{fusions:?}: {name} has NMSE {error:.1e}");
        }
    }
    Ok(())
}

/// Networks whose blocks meet every corner: kernels of one and two, taps apart, strides of one, three and beyond the kernel, channels
/// that fill no vector, exactly one, or several and a bit; one item, which is cut into rows, and more than there are chunks.
fn networks() -> Vec<(Classifier, usize, [usize; 2])> {
    let block = Block::square;
    let highest = Pooling::MaxFrequencyMeanTime;
    let network = |channels, blocks| Classifier { channels, blocks, ..Classifier::notebook(CLASSES) };
    vec![
        (Classifier::notebook(CLASSES), 1, [64, 86]),
        (Classifier::notebook(CLASSES), 20, [24, 33]),
        (Classifier::melody(CLASSES), 2, [41, 50]),
        (network(1, vec![block(3, 2, 1), block(5, 1, 2), block(4, 3, 1)]), 3, [9, 11]),
        (network(3, vec![block(8, 5, 3), block(16, 3, 1)]), 5, [23, 31]),
        (Classifier { pooling: highest, ..network(2, vec![block(8, 3, 1), block(12, 3, 2)]) }, 3, [11, 14]),
        (network(2, vec![block(20, 3, 4), block(130, 2, 1), block(33, 3, 2)]), 2, [17, 40]),
        (network(1, vec![block(7, 4, 2)]), 33, [12, 8]),
        // Minimal filtering, of taps apart, and with maps that go into the sums in parts; more chunks than threads.
        (network(2, vec![block(32, 3, 1), Block { time_dilation: 3, ..block(48, 3, 1) }]), 3, [9, 13]),
        (network(1, vec![block(32, 3, 1), block(96, 3, 1)]), 9, [22, 26]),
        // Channels of all columns within a stride in one vector, of f64, too; an even width, and an odd one.
        (network(1, vec![block(4, 3, 1), block(4, 5, 2), block(8, 3, 2)]), 3, [13, 22]),
        (network(2, vec![block(5, 3, 2), Block { time_dilation: 3, ..block(17, 3, 1) }, block(8, 3, 2)]), 3, [11, 19]),
        (
            network(
                1,
                vec![Block { time_dilation: 2, ..block(9, 5, 2) }, Block { time_dilation: 2, ..block(4, 3, 3) }],
            ),
            4,
            [21, 33],
        ),
    ]
}

#[test]
fn blocks_of_all_shapes_compute_the_same() -> Result<()> {
    vectors::choose_vectors();
    for (network, items, size) in networks() {
        let what = format!("{:?}, {items} of {size:?}", network.blocks);
        let training = Training::of(network, items, size)?;
        let plan = training.plan(BLOCKS, Target::Cpu)?;
        let count = |start: &str| plan.steps.iter().filter(|step| step.name().starts_with(start)).count();
        assert_eq!(count("conv_block"), 2 * training.network.blocks.len(), "{what}");
        // The mean over planes is part of the last block, and its gradient; any other pooling wants the block's output.
        let ends = if training.network.pooling == Pooling::Mean { [2, 0, 0] } else { [0, 1, 1] };
        assert_eq!(["block_mean", "block_output", "permute"].map(count), ends, "{what}");
        let expected = training.on_cpu::<f64>(Fusions::NONE)?;
        let double = training.on_cpu::<f64>(BLOCKS)?;
        let single = [1, 2, 3].map(|threads| training.on_threads::<f32>(BLOCKS, threads));
        let [single, more @ ..] = single;
        let single = single?;
        for more in more {
            let same = more?
                .iter()
                .zip(&single)
                .all(|((_, a), (_, b))| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()));
            assert!(same, "{what}: other bits on another number of threads");
        }
        for (i, (name, expected)) in expected.iter().enumerate() {
            let error = nmse(&double[i].1, expected);
            assert!(error < 1e-22, "{what}: {name} has NMSE {error:.1e}");
            let found: Vec<f64> = single[i].1.iter().map(|&x| f64::from(x)).collect();
            let error = nmse(&found, expected);
            // Among so many numbers, one is so near zero that ReLU lets it through in f64 alone.
            let many =
                training.network.blocks.iter().all(|block| block.stride == 1) && items * size[0] * size[1] > 5000;
            let bound = if many { 1e-8 } else { 1e-11 };
            assert!(error < bound, "{what}: {name} in f32 has NMSE {error:.1e}");
        }
    }
    Ok(())
}

/// Blocks that do not learn in front of some that do, in front of none, and none.
#[test]
fn frozen_blocks_compute_the_same() -> Result<()> {
    vectors::choose_vectors();
    for (network, items, size) in
        [(Classifier::notebook(CLASSES), 3, [40, 54]), (Classifier::melody(CLASSES), 2, [41, 50])]
    {
        let some = (0..=network.blocks.len()).map(|frozen| (frozen, false));
        for (frozen, frozen_norms) in some.chain([(0, true), (2, true)]) {
            let what = format!("{frozen} of {} blocks frozen, all norms: {frozen_norms}", network.blocks.len());
            let training = Training::of(Classifier { frozen, frozen_norms, ..network.clone() }, items, size)?;
            let gradients =
                |plan: Plan| plan.steps.iter().filter(|step| step.name().starts_with("conv_block_gradient")).count();
            assert_eq!(gradients(training.plan(BLOCKS, Target::Cpu)?), network.blocks.len() - frozen, "{what}");
            let (expected, fused) = (training.on_cpu::<f64>(Fusions::NONE)?, training.on_cpu::<f64>(BLOCKS)?);
            for ((name, found), (_, expected)) in
                fused.iter().zip(&expected).filter(|((_, found), _)| !found.is_empty())
            {
                let error = nmse(found, expected);
                assert!(error < 1e-22, "{what}: {name} has NMSE {error:.1e}");
            }
        }
    }
    Ok(())
}

/// With running statistics, and no gradients.
#[test]
fn blocks_evaluate_the_same() -> Result<()> {
    vectors::choose_vectors();
    for (network, items, size) in networks() {
        let training = Training::of(network, items, size)?;
        let logits = |fusions| -> Result<Vec<f64>> {
            let mut graph = Graph::new(training.states.clone());
            let x = graph.input("x", [items, training.network.channels, size[0], size[1]])?;
            let logits = training.network.logits(&mut graph, x, Mode::Evaluate)?;
            graph.output("logits", logits)?;
            fuse(&mut graph, fusions)?;
            let mut session = CpuSession::<f64>::new(training.states.clone(), Arc::new(Pool::new(2)))?;
            let id = session.add(Plan::new(graph, Target::Cpu)?)?;
            let wave = |i: usize| (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0;
            let x: Vec<f32> = (0..items * training.network.channels * size[0] * size[1]).map(wave).collect();
            session.write(id, "x", &x)?;
            session.run(id)?;
            Ok(session.output(id, "logits")?.to_vec())
        };
        let error = nmse(&logits(BLOCKS)?, &logits(Fusions::NONE)?);
        assert!(error < 1e-24, "{:?}: NMSE {error:.1e}", training.network.blocks);
    }
    Ok(())
}

/// The gradient of a norm in evaluation does not depend on what it reads, so that what is not finite in a recording reaches
/// the gradients in the same places as without blocks: not, for example, that of a bias.
#[test]
fn blocks_in_evaluation_hand_on_gradients_beside_nan() -> Result<()> {
    let training = Training::new(2, [40, 54])?;
    let gradients = |fusions| -> Result<Vec<Vec<f64>>> {
        let mut graph = Graph::new(training.states.clone());
        let x = graph.input("x", [2, training.network.channels, 40, 54])?;
        let logits = training.network.logits(&mut graph, x, Mode::Evaluate)?;
        let loss = graph.sum_all(logits)?;
        let parameters: Vec<_> =
            training.states.of_group(training.parameters).map(|state| state.name.clone()).collect();
        let parameters = parameters.iter().map(|name| graph.state(name)).collect::<Result<Vec<_>>>()?;
        let found = graph.gradients(loss, &parameters)?;
        let names: Vec<String> = (0..found.len()).map(|i| format!("d{i}")).collect();
        for (name, d) in names.iter().zip(&found) {
            graph.output(name, *d)?;
        }
        fuse(&mut graph, fusions)?;
        let mut session = CpuSession::<f64>::new(training.states.clone(), Arc::new(Pool::new(2)))?;
        let id = session.add(Plan::new(graph, Target::Cpu)?)?;
        let mut x = vec![0.5; 2 * training.network.channels * 40 * 54];
        (x[700], x[1500]) = (f32::NAN, f32::INFINITY);
        session.write(id, "x", &x)?;
        session.run(id)?;
        names.iter().map(|name| Ok(session.output(id, name)?.to_vec())).collect()
    };
    let (plain, fused) = (gradients(Fusions::NONE)?, gradients(BLOCKS)?);
    for (i, (plain, fused)) in plain.iter().zip(&fused).enumerate() {
        let same =
            |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(1.0);
        assert!(plain.iter().zip(fused).all(same), "gradient {i}: {fused:?}, not {plain:?}");
    }
    assert!(fused.iter().any(|d| d.iter().all(|d| d.is_finite())), "no gradient is finite");
    Ok(())
}

#[test]
fn a_plan_for_a_gpu_refuses_blocks() -> Result<()> {
    let refused = Training::new(2, [40, 54])?.plan(BLOCKS, Target::Gpu).err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("conv_block") && text.contains("GPU")), "{refused:?}");
    Ok(())
}

#[test]
fn fusions_on_the_cpu_keep_every_bit() -> Result<()> {
    vectors::choose_vectors();
    let training = Training::new(2, [40, 54])?;
    let bits = |fusions| -> Result<Vec<Vec<u32>>> {
        let results = training.on_cpu::<f32>(fusions)?;
        Ok(results.into_iter().map(|(_, values)| values.into_iter().map(f32::to_bits).collect()).collect())
    };
    assert!(bits(Fusions::NONE)? == bits(Fusions { conv_relu: true, norm_relu: true, ..Fusions::NONE })?);
    Ok(())
}

#[test]
fn every_fusion_takes_launches_away() -> Result<()> {
    let training = Training::new(4, [64, 86])?;
    let launches = |fusions| Ok::<_, humdinger::Error>(training.plan(fusions, Target::Gpu)?.launch_count());
    let plain = launches(Fusions::NONE)?;
    assert_eq!(plain - launches(CONV_RELU)?, 4);
    assert_eq!(plain - launches(NORM_RELU)?, 4);
    assert_eq!(plain - launches(HEAD)?, 6);
    // Four convolutions with bias and ReLU, four batch norms, the head; its gradients; four batch norms' gradients, four
    // weight gradients (two of which are cut and need their parts added), three input gradients; Adam.
    assert_eq!(launches(Fusions::for_target(Target::Gpu))?, 24);
    Ok(())
}

/// A whole step in f32 against f64, held to the bound of a single operation.
#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_fused_and_unfused() -> Result<()> {
    let Some(gpu) = device::gpu() else { return Ok(()) };
    let training = Training::new(4, [64, 86])?;
    let expected = training.on_cpu::<f64>(Fusions::NONE)?;
    for fusions in [Fusions::NONE, Fusions::for_target(Target::Gpu)] {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let mut session = GpuSession::with_guards(gpu.clone(), training.states.clone())?;
            let id = session.add(training.plan(fusions, Target::Gpu)?)?;
            training.feed(&mut session, id)?;
            session.run(id)?;
            let mut results = Vec::new();
            for name in ["logits", "loss"] {
                let mut values = vec![0.0; session.plan(id).output(name)?.place.len];
                session.read(id, name, &mut values)?;
                results.push(values);
            }
            for (name, len) in training.groups() {
                let mut values = vec![0.0; len];
                session.read_state(name, &mut values)?;
                results.push(values);
            }
            session.check_guards(id)?;
            runs.push(results);
        }
        let bits = |results: &[Vec<f32>]| -> Vec<u32> { results.iter().flatten().map(|x| x.to_bits()).collect() };
        assert!(bits(&runs[0]) == bits(&runs[1]), "{fusions:?}: a second session gave other bits");
        for (found, (name, expected)) in runs[0].iter().zip(&expected) {
            let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
            let error = nmse(&found, expected);
            assert!(error < 1e-11, "{fusions:?}: {name} has NMSE {error:.1e}");
        }
    }
    Ok(())
}

/// A spectrum that cuts its signals out of recordings, mixed, repeated, read in a circle or followed by silence.
#[test]
fn spectra_of_excerpts_keep_every_bit() -> Result<()> {
    vectors::choose_vectors();
    const RECORDED: usize = 900;
    let places = [
        Excerpt { first: 0, stride: 0, mixed: 1, samples: 700, start: 0 },
        Excerpt { first: 10, stride: 300, mixed: 2, samples: 300, start: 0 },
        Excerpt { first: 100, stride: 250, mixed: 1, samples: 123, start: 333 },
        Excerpt { first: 850, stride: 0, mixed: 1, samples: 400, start: 77 },
        Excerpt { first: 0, stride: 0, mixed: 1, samples: 0, start: 5 },
    ];
    let window: Vec<f64> = (0..24).map(|t| 0.3 + (f64::from(t) * 0.7).sin().abs()).collect();
    let recordings: Vec<f64> = (0..RECORDED).map(|i| (i * i % 97) as f64 / 97.0 - 0.5).collect();
    let states = Arc::new(States::new());
    for (centred, repeat, hop) in [(true, true, 10), (true, false, 16), (false, true, 7), (true, true, 45)] {
        let graph = || {
            let mut graph = Graph::new(states.clone());
            let x = graph.input("x", [RECORDED])?;
            let at = graph.index_input("places", [places.len(), Excerpt::LEN])?;
            let x = graph.excerpts(x, at, Excerpts { channels: 2, length: 500, repeat })?;
            let bank = BankRows { bins: 17, first: vec![1, 9], offset: vec![0, 3, 8], weights: vec![0.5; 8] };
            let bands = graph.band_spectrum(x, &window, Framing { n_fft: 32, hop, centred }, &bank)?;
            graph.output("bands", bands)?;
            Ok::<_, humdinger::Error>(graph)
        };
        let run = |fusions, threads, ops: usize| {
            let mut graph = graph()?;
            fuse(&mut graph, fusions)?;
            let plan = Plan::new(graph, Target::Cpu)?;
            assert_eq!(plan.steps.len(), ops);
            let mut session = CpuSession::<f64>::new(states.clone(), Arc::new(Pool::new(threads)))?;
            let id = session.add(plan)?;
            session.write(id, "x", &recordings.iter().map(|&x| x as f32).collect::<Vec<f32>>())?;
            session.write_indices(id, "places", &places.map(Excerpt::to_array).concat())?;
            session.run(id)?;
            Ok::<_, humdinger::Error>(session.output(id, "bands")?.to_vec())
        };
        let apart = run(Fusions::NONE, 1, 2)?;
        assert!(apart.iter().filter(|&&x| x > 1e-3).count() > apart.len() / 4, "mostly silence tells nothing");
        for threads in [1, 2, 3] {
            assert_eq!(run(Fusions { excerpts: true, ..Fusions::NONE }, threads, 1)?, apart);
        }
    }
    Ok(())
}

#[test]
fn narrower_vectors_keep_it_all() {
    vectors::with_narrower_vectors(&[
        "every_fusion_computes_the_same",
        "blocks_of_all_shapes_compute_the_same",
        "blocks_evaluate_the_same",
        "fusions_on_the_cpu_keep_every_bit",
        "spectra_of_excerpts_keep_every_bit",
    ]);
}
