//! The small cases of the table, and a small training step of fused blocks, on two threads: what `tools/miri` runs, which takes
//! seconds for what a processor does in microseconds.

use humdinger::Result;
use humdinger::cases::{self, Case, check};
use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Graph, Parallel, Plan, Session, States, Target};
use humdinger::nn::{Adam, Block, Classifier, Mode, Pooling};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most elements of all inputs of a case that counts as small; of each operation there is one case, whatever its size. Miri takes
/// seconds for the smallest.
const SMALL: usize = if cfg!(miri) { 30 } else { 3_000 };

fn pool() -> Arc<dyn Parallel + Send> {
    Arc::new(Pool::new(2))
}

/// The small cases, smallest first.
fn small() -> Vec<Case> {
    let elements = |case: &Case| case.inputs.iter().map(|input| input.spec.shape.elements()).sum::<usize>();
    let mut sized: Vec<(usize, Case)> = cases::all().into_iter().map(|case| (elements(&case), case)).collect();
    sized.sort_by_key(|(elements, _)| *elements);
    let mut met = BTreeSet::new();
    sized
        .into_iter()
        .filter(|(elements, case)| met.insert(case.op) || *elements < SMALL)
        .map(|(_, case)| case)
        .collect()
}

#[test]
fn small_cases_compute_what_they_should() {
    let cases = small();
    let mut of_each: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        if cfg!(miri) {
            eprintln!("{}", case.title());
        }
        *of_each.entry(case.op).or_default() += 1;
        let run = || {
            let single = check::on_cpu::<f32>(case, pool())?;
            let double = check::on_cpu::<f64>(case, pool())?;
            Ok::<_, humdinger::Error>(check::compare(case, &single, &double).1)
        };
        failures.extend(run().unwrap_or_else(|error| vec![format!("{}: {error}", case.title())]));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let all: BTreeSet<&str> = cases::all().iter().map(|case| case.op).collect();
    assert!(all.iter().all(|op| of_each.contains_key(op)), "{of_each:?}");
}

/// One step of networks whose blocks are operations of their own, with strides, taps apart, and either pooling.
#[test]
fn a_step_of_fused_blocks_computes_what_it_should() -> Result<()> {
    let block = Block::square;
    let network = |channels, blocks| Classifier { channels, blocks, ..Classifier::notebook(3) };
    let networks = [
        (network(1, vec![block(3, 2, 2), Block { time_dilation: 2, ..block(9, 2, 1) }]), [6, 9]),
        (Classifier { pooling: Pooling::MaxFrequencyMeanTime, ..network(2, vec![block(4, 3, 2)]) }, [5, 8]),
    ];
    for (network, [height, width]) in networks {
        let mut states = States::new();
        let parameters = network.add_states(&mut states, 3)?;
        let adam = Adam::new(&mut states, parameters)?;
        let states = Arc::new(states);
        let loss = |fusions: Fusions, single: bool| -> Result<f64> {
            let mut graph = Graph::new(states.clone());
            let x = graph.input("x", [2, network.channels, height, width])?;
            let labels = graph.index_input("labels", [2])?;
            let logits = network.logits(&mut graph, x, Mode::Train)?;
            let loss = graph.cross_entropy(logits, labels, 0.1)?.loss;
            adam.minimise(&mut graph, loss)?;
            graph.output("loss", loss)?;
            fuse(&mut graph, fusions)?;
            let plan = Plan::new(graph, Target::Cpu)?;
            let fused = plan.steps.iter().any(|step| step.name().starts_with("conv_block"));
            assert_eq!(fused, fusions == Fusions::for_target(Target::Cpu));
            let mut loss = [0.0];
            // The second step's loss depends on all that the first one wrote.
            let mut run = |session: &mut dyn Session| -> Result<f64> {
                let id = session.add(plan.clone())?;
                let wave = |i: usize| (i * 2_654_435_761 % 1_009) as f32 / 504.5 - 1.0;
                let x: Vec<f32> = (0..2 * network.channels * height * width).map(wave).collect();
                session.write(id, "x", &x)?;
                session.write_indices(id, "labels", &[0, 2])?;
                let mut adam = adam.clone();
                for _ in 0..2 {
                    adam.before_step(session, id, 1e-2, 0.9)?;
                    session.run(id)?;
                }
                session.read(id, "loss", &mut loss)?;
                Ok(f64::from(loss[0]))
            };
            if single {
                run(&mut CpuSession::<f32>::new(states.clone(), pool())?)
            } else {
                run(&mut CpuSession::<f64>::new(states.clone(), pool())?)
            }
        };
        let expected = loss(Fusions::NONE, false)?;
        for single in [true, false] {
            let found = loss(Fusions::for_target(Target::Cpu), single)?;
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }
    Ok(())
}
