//! Cases of the optimiser's operations.

use super::{Case, Input, Refusal};
use crate::ops::{AdamStep, SgdStep};
use crate::tensor::Spec;

pub(super) fn cases() -> Vec<Case> {
    let adam = |name, len: usize, step: AdamStep| {
        let step = Input::given([AdamStep::LEN], step.to_array().map(f64::from).to_vec());
        let (p, m, g) = (Input::real([len]), Input::range([len], -0.1, 0.1), Input::real([len]));
        let inputs = [p, m, Input::range([len], 0.0, 0.1), g, step];
        Case::new("adam", name, inputs, |graph, x| Ok(graph.adam([x[0], x[1], x[2], x[3]], x[4])?.to_vec()))
            .not_differentiable()
    };
    let clip = |name, len: usize, max_norm| {
        let build = move |graph: &mut crate::graph::Graph, x: &[_]| Ok(graph.clip_factor(x[0], max_norm)?.to_vec());
        Case::new("clip_factor", name, [Input::real([len])], build).not_differentiable()
    };
    let sgd = |name, len: usize, nesterov, step: [f64; SgdStep::LEN]| {
        let step = Input::given([SgdStep::LEN], step.to_vec());
        let inputs = [Input::real([len]), Input::range([len], -0.1, 0.1), Input::real([len]), step];
        Case::new("sgd", name, inputs, move |graph, x| Ok(graph.sgd([x[0], x[1], x[2]], x[3], nesterov)?.to_vec()))
            .not_differentiable()
    };
    let correction = (1.0 - 0.999f64.powi(300)).sqrt();
    let late = AdamStep {
        step_size: 1e-3 * correction / (1.0 - 0.95f64.powi(300)),
        one_minus_beta1: 0.05,
        beta2: 0.999,
        one_minus_beta2: 0.001,
        epsilon: 1e-8 * correction,
        decay: 1.0 - 1e-3 * 0.01,
    };
    let correction = 0.001f64.sqrt();
    let (step_size, epsilon) = (1e-2 * correction, 1e-8 * correction);
    let first = AdamStep { step_size, one_minus_beta1: 0.1, epsilon, decay: 1.0, ..late };
    vec![
        adam("one", 1, first),
        adam("odd", 67, first),
        adam("with decay", 1000, late),
        adam("large", 1 << 20, late).bench(),
        sgd("one", 1, false, [0.1, 0.0, 0.0]),
        sgd("momentum", 67, false, [0.01, 0.9, 0.0]),
        sgd("nesterov, decay", 20_000, true, [0.01, 0.9, 0.05]),
        sgd("large", 1 << 20, true, [0.01, 0.9, 0.05]).bench(),
        clip("one", 1, 1.0),
        clip("clipped", 777, 1.0),
        clip("left alone", 777, 1e3),
        clip("long", 70_000, 1.0),
        clip("large", 1 << 20, 1.0).bench(),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    let flat = |len: usize| Spec::real([len]);
    let build = |graph: &mut crate::graph::Graph, x: &[_]| Ok(graph.adam([x[0], x[1], x[2], x[3]], x[4])?.to_vec());
    let descend = |graph: &mut crate::graph::Graph, x: &[_]| Ok(graph.sgd([x[0], x[1], x[2]], x[3], false)?.to_vec());
    let clip =
        |max_norm: f64| move |graph: &mut crate::graph::Graph, x: &[_]| Ok(graph.clip_factor(x[0], max_norm)?.to_vec());
    vec![
        Refusal::new("adam", "other length", [flat(3), flat(3), flat(3), flat(4), flat(6)], &["[3]", "[4]"], build),
        Refusal::new("adam", "not flat", vec![Spec::real([3, 2]); 5], &["flat", "[3, 2]"], build),
        Refusal::new("adam", "short step", [flat(3), flat(3), flat(3), flat(3), flat(7)], &["[6]", "[7]"], build),
        Refusal::new("sgd", "other length", [flat(3), flat(4), flat(3), flat(3)], &["[3]", "[4]"], descend),
        Refusal::new("sgd", "short step", [flat(3), flat(3), flat(3), flat(2)], &["[3]", "[2]"], descend),
        Refusal::new("clip_factor", "no norm", [flat(3)], &["0"], clip(0.0)),
        Refusal::new("clip_factor", "negative norm", [flat(3)], &["-1"], clip(-1.0)),
    ]
}
