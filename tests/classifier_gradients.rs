//! The whole notebook classifier's gradients, loss included, against central finite differences in f64.

use humdinger::cases::Random;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::graph::{Graph, Plan, Session, States, Target};
use humdinger::nn::{Classifier, Mode, PARAMETERS};
use humdinger::{Result, Shape};
use std::sync::Arc;

/// As tight as PyTorch's `gradcheck`.
const EPSILON: f64 = 1e-6;
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-5;
/// Elements that are checked of each parameter.
const ELEMENTS: usize = 7;

#[test]
fn the_whole_classifier_agrees_with_finite_differences() -> Result<()> {
    let network = Classifier::notebook(10);
    let mut states = States::new();
    let group = network.add_states(&mut states, 3)?;
    let states = Arc::new(states);
    let shape = Shape::from([3, 2, 64, 86]);
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", shape)?;
    let labels = graph.index_input("labels", [3])?;
    let logits = network.logits(&mut graph, x, Mode::Train)?;
    let loss = graph.cross_entropy(logits, labels, 0.1)?.loss;
    let mut forward = graph.clone();
    forward.output("loss", loss)?;
    let names: Vec<(String, usize)> =
        states.of_group(group).map(|state| (state.name.clone(), state.shape.elements())).collect();
    let parameters = names.iter().map(|(name, _)| graph.state(name)).collect::<Result<Vec<_>>>()?;
    for ((name, _), gradient) in names.iter().zip(graph.gradients(loss, &parameters)?) {
        graph.output(&format!("d {name}"), gradient)?;
    }

    let mut session = CpuSession::<f64>::new(states, Arc::new(Pool::new(2)))?;
    let forward = session.add(Plan::new(forward, Target::Cpu)?)?;
    let backward = session.add(Plan::new(graph, Target::Cpu)?)?;
    let mut random = Random::new("classifier");
    let sound: Vec<f64> = (0..shape.elements()).map(|_| 2.0 * random.next() - 1.0).collect();
    for plan in [forward, backward] {
        session.write_real(plan, "x", &sound)?;
        session.write_indices(plan, "labels", &[4, 0, 9])?;
    }
    session.run(backward)?;
    let mut checked = 0;
    for (name, len) in &names {
        let gradient = session.output(backward, &format!("d {name}"))?.to_vec();
        for i in (0..ELEMENTS.min(*len)).map(|k| k * 31 % len) {
            let mut loss_at = |step: f64| -> Result<f64> {
                session.state_mut(name, *len)?[i] += step;
                session.run(forward)?;
                let loss = session.output(forward, "loss")?[0];
                session.state_mut(name, *len)?[i] -= step;
                Ok(loss)
            };
            let expected = (loss_at(EPSILON)? - loss_at(-EPSILON)?) / (2.0 * EPSILON);
            let bound = ABSOLUTE + RELATIVE * expected.abs();
            assert!((gradient[i] - expected).abs() <= bound, "{name}[{i}]: {} against {expected}", gradient[i]);
            checked += 1;
        }
    }
    assert!(checked > 100, "{PARAMETERS}: only {checked} elements were checked");
    Ok(())
}
