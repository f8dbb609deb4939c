//! The training step from samples on: how many launches it takes on a GPU, and that operations which hand reductions on give the
//! same bits as those which do not.

#![cfg(feature = "app")]

#[path = "common/gpu.rs"]
mod device;

use humdinger::Result;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::gpu::GpuSession;
use humdinger::graph::{Plan, PlanId, Session, Target};
use humdinger::nn::Adam;
use humdinger::train::Recipe;
use humdinger::train::network::{Network, Pass};
use std::sync::Arc;

const TRAIN: Pass = Pass::Train { augment: true };

fn network(recipe: Recipe) -> Result<(Network, Adam)> {
    let (network, adam) = Network::new(recipe, &recipe.front_end(), 8, 3, true)?;
    Ok((network, adam.expect("an optimiser was asked for")))
}

fn plan(network: &Network, adam: &Adam, count: usize, fusions: Fusions, target: Target) -> Result<Plan> {
    let mut graph = network.graph(TRAIN, count, Some(adam))?;
    fuse(&mut graph, fusions)?;
    Plan::new(graph, target)
}

#[test]
fn a_step_from_samples_takes_few_launches() -> Result<()> {
    let (network, adam) = network(Recipe::Notebook)?;
    let launches = |fusions| Ok::<_, humdinger::Error>(plan(&network, &adam, 4, fusions, Target::Gpu)?.launch_count());
    let all = Fusions::for_target(Target::Gpu);
    // Crop, spectrum, decibels, masks and standardisation before the 24 of the classifier.
    assert_eq!(launches(all)?, 29);
    assert_eq!(launches(Fusions { hand_on: false, ..all })?, 32);
    // Clips in the device's memory: excerpts in the place of crops.
    let front_end = Recipe::Notebook.front_end();
    let (resident, adam) =
        Network::of(Recipe::Notebook, &front_end, Recipe::Notebook.classifier(8), 3, true, 1_000_000)?;
    let adam = adam.expect("an optimiser was asked for");
    assert_eq!(plan(&resident, &adam, 4, all, Target::Gpu)?.launch_count(), 29);
    Ok(())
}

/// Two clips of tones and hiss, and some choices.
fn feed(session: &mut dyn Session, id: PlanId, adam: &Adam) -> Result<()> {
    let inputs = session.plan(id).inputs.clone();
    for port in inputs {
        let (len, dims) = (port.place.len, port.spec.shape);
        let noise = |i: usize| (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0;
        match port.name.as_str() {
            "samples" => {
                let tone = |i: usize| (i as f32 * 0.05 * (1 + i / dims[2]) as f32).sin() + 0.1 * noise(i);
                session.write(id, "samples", &(0..len).map(tone).collect::<Vec<f32>>())?;
            }
            "warp" => session.write(id, "warp", &[1.25, 0.8, -3.5, 1.25])?,
            "start" => session.write_indices(id, "start", &[100, 30_000])?,
            "labels" => session.write_indices(id, "labels", &[1, 6])?,
            "frequency_masks" | "time_masks" => {
                session.write_indices(id, &port.name, &[3, 9, 20, 0, 10, 12, 0, 7])?;
            }
            _ => {}
        }
    }
    adam.clone().before_step(session, id, 1e-3, 0.9)
}

#[test]
fn handing_reductions_on_changes_no_bit() -> Result<()> {
    let Some(gpu) = device::gpu() else { return Ok(()) };
    for recipe in [Recipe::Notebook, Recipe::Melody] {
        let (network, adam) = network(recipe)?;
        let mut exact = CpuSession::<f64>::new(network.states.clone(), Arc::new(Pool::new(2)))?;
        let id = exact.add(plan(&network, &adam, 2, Fusions::NONE, Target::Cpu)?)?;
        feed(&mut exact, id, &adam)?;
        exact.run(id)?;
        let expected = exact.output(id, "logits")?.to_vec();
        let mut results = Vec::new();
        for hand_on in [false, true] {
            let fusions = Fusions { hand_on, ..Fusions::for_target(Target::Gpu) };
            let mut session = GpuSession::with_guards(gpu.clone(), network.states.clone())?;
            let id = session.add(plan(&network, &adam, 2, fusions, Target::Gpu)?)?;
            feed(&mut session, id, &adam)?;
            session.run(id)?;
            session.check_guards(id)?;
            let mut logits = vec![0.0f32; expected.len()];
            session.read(id, "logits", &mut logits)?;
            results.push(logits);
        }
        assert_eq!(results[0], results[1], "{recipe:?}");
        let square = |sum: f64, x: f64| sum + x * x;
        let off = results[1].iter().zip(&expected).map(|(&found, e)| f64::from(found) - e).fold(0.0, square);
        let error = off / expected.iter().copied().fold(0.0, square);
        // The samples go through a logarithm, which magnifies what rounding does to weak bands.
        assert!(error < 1e-9, "{recipe:?}: NMSE {error:.1e}");
    }
    Ok(())
}
