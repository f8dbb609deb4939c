//! Training against PyTorch: clipping, Adam, the schedules and the classifier's first twenty steps equal the numbers of
//! tools/golden_engine.py, on the CPU and on a GPU.

#[path = "common/golden.rs"]
mod golden;

use golden::{Case, Golden, TOLERANCE, Verdict, read, sessions};
use humdinger::graph::{Graph, Plan, Session, States};
use humdinger::nn::{Adam, Anneal, Classifier, Mode, OneCycle, PARAMETERS, STATISTICS, Schedule};
use humdinger::{Result, Tensor};
use std::sync::Arc;

/// Allowed for the gradients of the whole network: forty operations deep, rounding adds up.
const GRADIENTS: f64 = 1e-5;
/// Allowed for parameters and running statistics after one step.
const AFTER_1: f64 = 1e-5;
/// Allowed after twenty: where a gradient is near zero, Adam divides rounding by rounding.
const AFTER_20: f64 = 1e-3;

/// Clipping as the optimiser does it: the factor of the flat gradient of all parameters.
#[test]
fn clipping() -> Result<()> {
    let golden = Golden::read("clip_grad_norm");
    let mut verdict = Verdict::default();
    for case in golden.cases() {
        let all =
            |key: &str| (0..case.integer("count")).flat_map(|i| case.real(&format!("{key}{i}"))).collect::<Vec<_>>();
        let (gradient, clipped) = (all("g"), all("clipped"));
        let states = Arc::new(States::new());
        let mut graph = Graph::new(states.clone());
        let g = graph.input("g", [gradient.len()])?;
        let [factor, norm] = graph.clip_factor(g, case.number("max_norm"))?;
        let product = graph.multiply(g, factor)?;
        graph.output("norm", norm)?;
        graph.output("clipped", product)?;
        for (device, target, mut session) in sessions(&states) {
            let plan = session.add(Plan::new(graph.clone(), target)?)?;
            session.write(plan, "g", &gradient)?;
            session.run(plan)?;
            for (key, want) in [("norm", case.real("norm")), ("clipped", clipped.clone())] {
                let got = read(session.as_mut(), plan, key, want.len());
                verdict.check(&format!("clipping on {device}, case {}, {key}", case.name), &got, &want, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// Adam and AdamW over twelve steps, with learning rate and beta1 that change from step to step. The loss is the sum of
/// p * g, whose gradient is g to the last bit.
#[test]
fn adam() -> Result<()> {
    let golden = Golden::read("adam");
    let mut verdict = Verdict::default();
    for case in golden.cases() {
        let (steps, shape) = (case.integer("steps"), case.shape("p0"));
        let mut states = States::new();
        let group = states.group("parameters");
        states.add("parameters", "p", Tensor::new(shape, case.real("p0"))?)?;
        let mut optimiser = Adam::new(&mut states, group)?;
        optimiser.beta2 = case.number("beta2");
        optimiser.epsilon = case.number("eps");
        optimiser.weight_decay = case.number("weight_decay");
        let states = Arc::new(states);
        let mut graph = Graph::new(states.clone());
        let (p, g) = (graph.state("p")?, graph.input("g", shape)?);
        let product = graph.multiply(p, g)?;
        let loss = graph.sum_all(product)?;
        optimiser.minimise(&mut graph, loss)?;
        let (gradients, len) = (case.real("g"), shape.elements());
        for (device, target, mut session) in sessions(&states) {
            let mut optimiser = optimiser.clone();
            let plan = session.add(Plan::new(graph.clone(), target)?)?;
            let mut state = |session: &mut dyn Session, name: &str, key: &str| -> Result<()> {
                let mut got = vec![0.0; len];
                session.read_state(name, &mut got)?;
                let what = format!("adam on {device}, case {}, {key}", case.name);
                verdict.check(&what, &got, &case.real(key), TOLERANCE);
                Ok(())
            };
            for (i, gradient) in gradients.chunks_exact(len).enumerate() {
                session.write(plan, "g", gradient)?;
                let (rate, beta1) = (case.numbers("lr")[i], case.numbers("beta1")[i]);
                optimiser.before_step(session.as_mut(), plan, rate, beta1)?;
                session.run(plan)?;
                if i == 0 {
                    state(session.as_mut(), "p", "p1")?;
                }
            }
            state(session.as_mut(), "p", &format!("p{steps}"))?;
            state(session.as_mut(), "adam.mean.p", "m")?;
            state(session.as_mut(), "adam.square.p", "v")?;
        }
    }
    Ok(())
}

/// Learning rate and beta1 of every step, in f64.
#[test]
fn schedules() {
    let golden = Golden::read("schedules");
    for case in golden.cases() {
        let steps = case.integer("total");
        let beta1 = || case.number("beta1");
        let schedule = match case.text("kind") {
            "constant" => Schedule::Constant { rate: case.number("lr"), beta1: beta1() },
            "cosine" => {
                Schedule::Cosine { rate: case.number("lr"), last: case.number("min_lr"), steps, beta1: beta1() }
            }
            "one_cycle" => Schedule::OneCycle(OneCycle {
                max: case.number("max_lr"),
                steps,
                rising: case.number("pct_start"),
                anneal: if case.text("anneal") == "cos" { Anneal::Cosine } else { Anneal::Linear },
                div_factor: case.number("div_factor"),
                final_div_factor: case.number("final_div_factor"),
                momentum: [case.number("base_momentum"), case.number("max_momentum")],
            }),
            other => panic!("no schedule {other}"),
        };
        let (rates, momenta) = (case.doubles("f64_lr"), case.doubles("f64_beta1"));
        assert_eq!(rates.len(), steps);
        for (step, (&rate, &momentum)) in rates.iter().zip(&momenta).enumerate() {
            let (got_rate, got_beta1) = schedule.at(step);
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
            assert!(close(got_rate, rate), "{}, step {step}: learning rate {got_rate}, not {rate}", case.name);
            assert!(close(got_beta1, momentum), "{}, step {step}: beta1 {got_beta1}, not {momentum}", case.name);
        }
    }
}

/// The inputs that tools/notebook_model.py calls `hashed_uniform`.
fn hashed_uniform(seed: u32, count: usize) -> Vec<f32> {
    let value = |i: u32| {
        let mut h = i.wrapping_mul(0x9E37_79B1).wrapping_add(seed.wrapping_mul(0x85EB_CA6B));
        h = (h ^ (h >> 16)).wrapping_mul(0x7FEB_352D);
        h = (h ^ (h >> 15)).wrapping_mul(0x846C_A68B);
        h ^= h >> 16;
        (f64::from(h >> 8) / 8_388_608.0 - 1.0) as f32
    };
    (0..count as u32).map(value).collect()
}

/// All states of a session against the tensors `<when>.<name>` of the file.
fn check_states(
    verdict: &mut Verdict,
    session: &mut dyn Session,
    case: &Case<'_>,
    what: &str,
    when: &str,
    tolerance: f64,
) -> Result<()> {
    let states = session.states().clone();
    for state in states.iter().filter(|state| !state.name.starts_with("adam.")) {
        let want = case.real(&format!("{when}.{}", state.name));
        let mut got = vec![f32::NAN; want.len()];
        session.read_state(&state.name, &mut got)?;
        verdict.check(&format!("{what}, {when}.{}", state.name), &got, &want, tolerance);
    }
    Ok(())
}

/// The notebook's classifier from given weights: the gradients of the first step, all losses, and every parameter and
/// running statistic after the first step and after the twentieth.
#[test]
fn classifier() -> Result<()> {
    let golden = Golden::read("classifier");
    let case = &golden.cases()[0];
    let mut verdict = Verdict::default();
    let (steps, batches, batch) = (case.integer("steps"), case.integer("batches"), case.integer("batch"));
    let shape = [batch, 2, 64, 86];
    let network = Classifier::notebook(10);
    let mut states = States::new();
    let group = network.add_states(&mut states, 0)?;
    let optimiser = Adam::new(&mut states, group)?;
    let states = Arc::new(states);
    let build = |train: bool| -> Result<Graph> {
        let mut graph = Graph::new(states.clone());
        let x = graph.input("x", shape)?;
        let labels = graph.index_input("labels", [batch])?;
        let logits = network.logits(&mut graph, x, Mode::Train)?;
        let loss = graph.cross_entropy(logits, labels, 0.0)?.loss;
        graph.output("loss", loss)?;
        if train {
            optimiser.minimise(&mut graph, loss)?;
        } else {
            graph.output("logits", logits)?;
            let names: Vec<String> = states.of_group(group).map(|state| state.name.clone()).collect();
            let parameters: Vec<_> = names.iter().map(|name| graph.state(name)).collect::<Result<_>>()?;
            for (name, gradient) in names.iter().zip(graph.gradients(loss, &parameters)?) {
                graph.output(&format!("gradient.{name}"), gradient)?;
            }
        }
        Ok(graph)
    };
    let (training, looking) = (build(true)?, build(false)?);
    let schedule = Schedule::OneCycle(OneCycle::new(case.number("max_lr"), steps, Anneal::Linear));
    let (labels, losses) = (case.indices("labels"), case.doubles("f64_losses"));
    for (device, target, mut session) in sessions(&states) {
        let start = |session: &mut dyn Session| -> Result<()> {
            for state in states.of_group(group).chain(states.iter().filter(|s| s.name.contains("running"))) {
                session.write_state(&state.name, &case.real(&format!("before.{}", state.name)))?;
            }
            Ok(())
        };
        let what = format!("classifier on {device}");
        let put = |session: &mut dyn Session, plan, step: usize| -> Result<()> {
            let seed = (case.integer("first_seed") + step % batches) as u32;
            session.write(plan, "x", &hashed_uniform(seed, shape.iter().product()))?;
            session.write_indices(plan, "labels", &labels[step % batches * batch..][..batch])
        };

        start(session.as_mut())?;
        let plan = session.add(Plan::new(looking.clone(), target)?)?;
        put(session.as_mut(), plan, 0)?;
        session.run(plan)?;
        let gradients = states.of_group(group).map(|state| format!("gradient.{}", state.name));
        for key in gradients.chain(["logits".to_owned()]) {
            let want = case.real(&key);
            let got = read(session.as_mut(), plan, &key, want.len());
            verdict.check(&format!("{what}, {key}"), &got, &want, GRADIENTS);
        }

        start(session.as_mut())?;
        let mut optimiser = optimiser.clone();
        let plan = session.add(Plan::new(training.clone(), target)?)?;
        for (step, &want) in losses.iter().enumerate() {
            put(session.as_mut(), plan, step)?;
            let (rate, beta1) = schedule.at(step);
            optimiser.before_step(session.as_mut(), plan, rate, beta1)?;
            session.run(plan)?;
            let loss = f64::from(read(session.as_mut(), plan, "loss", 1)[0]);
            let off = (loss - want).abs() / want;
            // The first losses come from the same weights; later ones carry what Adam makes of rounding.
            let allowed = if step == 0 { TOLERANCE } else { 1e-4 };
            assert!(off <= allowed, "{what}: the loss of step {} is {loss}, not {want} ({off:.1e})", step + 1);
            if step == 0 {
                check_states(&mut verdict, session.as_mut(), case, &what, "after1", AFTER_1)?;
            }
        }
        check_states(&mut verdict, session.as_mut(), case, &what, "after20", AFTER_20)?;
    }
    assert_eq!(states.groups().iter().filter(|g| [PARAMETERS, STATISTICS].contains(&g.name.as_str())).count(), 2);
    Ok(())
}
