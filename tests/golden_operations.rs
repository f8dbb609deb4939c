//! The engine's further operations against PyTorch: output and gradients equal the numbers of tools/golden_operations.py.

#[path = "common/golden_operation.rs"]
mod common;

use common::golden::{Case, Golden, TOLERANCE, Verdict, sessions};
use common::{batch_norms, operation};
use humdinger::graph::{Graph, Plan, States, Value};
use humdinger::nn::{Adam, Sgd};
use humdinger::ops::{LossOptions, LossReduction, Windows};
use humdinger::{Result, Tensor};
use std::sync::Arc;

#[test]
fn functions() {
    operation("functions", &["x"], &|graph, case, v| match case.text("function") {
        "exp" => graph.exp(v[0]),
        "log" => graph.log(v[0]),
        "sqrt" => graph.sqrt(v[0]),
        "abs" => graph.abs(v[0]),
        "tanh" => graph.tanh(v[0]),
        "sigmoid" => graph.sigmoid(v[0]),
        "gelu" => graph.gelu(v[0]),
        "gelu_tanh" => graph.gelu_tanh(v[0]),
        "clamp" => graph.clamp(v[0], -0.75, 0.5),
        other => panic!("no function {other}"),
    });
}

#[test]
fn maxima() {
    operation("maximum", &["a", "b"], &|graph, _, v| graph.maximum(v[0], v[1]));
    operation("minimum", &["a", "b"], &|graph, _, v| graph.minimum(v[0], v[1]));
}

#[test]
fn norms() {
    operation("softmax", &["x"], &|graph, case, v| graph.softmax(v[0], case.integer("axis")));
    operation("log_softmax_over", &["x"], &|graph, case, v| graph.log_softmax_over(v[0], case.integer("axis")));
    operation("layer_norm", &["x", "w", "b"], &|graph, case, v| {
        graph.layer_norm(v[0], [v[1], v[2]], case.number("eps"))
    });
}

#[test]
fn selections() {
    operation("pad", &["x"], &|graph, case, v| {
        graph.pad(v[0], &case.integers("before"), &case.integers("after"), case.number("value"))
    });
    operation("slice", &["x"], &|graph, case, v| {
        graph.slice(v[0], case.integer("axis"), case.integer("start")..case.integer("end"), case.integer("step"))
    });
    operation("flip", &["x"], &|graph, case, v| graph.flip(v[0], case.integer("axis")));
    operation("concat", &["a", "b", "c"], &|graph, case, v| graph.concat(v, case.integer("axis")));
}

#[test]
fn gathering() {
    operation("embedding", &["i", "x"], &|graph, _, v| graph.gather(v[1], v[0], 0));
    operation("gather", &["x", "i"], &|graph, case, v| graph.gather(v[0], v[1], case.integer("axis")));
    operation("gather_elements", &["x", "i"], &|graph, case, v| {
        graph.gather_elements(v[0], v[1], case.integer("axis"))
    });
}

fn loss_options(graph: &mut Graph, case: &Case<'_>) -> LossOptions {
    let constant = |graph: &mut Graph, values: Vec<f32>| -> Value {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        graph.constant([values.len()], values).expect("a constant")
    };
    LossOptions {
        weights: case.has("weights").then(|| constant(graph, case.real("weights"))),
        // -1 for none.
        ignore: usize::try_from(case.number("ignore") as i64).ok(),
        smoothing: case.number("label_smoothing"),
        reduction: match case.text("reduction") {
            "mean" => LossReduction::Mean,
            "sum" => LossReduction::Sum,
            "none" => LossReduction::None,
            other => panic!("no reduction {other}"),
        },
    }
}

#[test]
fn losses() {
    operation("cross_entropy_with", &["x", "labels", "targets"], &|graph, case, v| {
        let options = loss_options(graph, case);
        graph.cross_entropy_with(v[0], v[1], options)
    });
    operation("nll_loss", &["x", "labels"], &|graph, case, v| {
        let options = loss_options(graph, case);
        graph.nll_loss(v[0], v[1], options)
    });
}

#[test]
fn pooling() {
    let windows = |case: &Case<'_>| Windows {
        kernel: case.pair("kernel"),
        stride: case.pair("stride"),
        padding: case.pair("padding"),
        dilation: [1, 1],
        ceil: case.flag("ceil"),
    };
    operation("avg_pool2d", &["x"], &|graph, case, v| {
        graph.avg_pool2d(v[0], windows(case), case.flag("count_padding"))
    });
    operation("max_pool2d_ceil", &["x"], &|graph, case, v| graph.max_pool2d(v[0], windows(case)));
}

#[test]
fn batch_norm() {
    batch_norms("batch_norm_ranks");
}

#[test]
fn batches() {
    operation("matmul_broadcast", &["a", "b"], &|graph, _, v| graph.matmul(v[0], v[1]));
}

/// Several steps from the same parameters along the same gradients.
#[test]
fn optimisers() -> Result<()> {
    let golden = Golden::read("optimisers");
    let mut verdict = Verdict::default();
    for case in golden.cases() {
        let shape = case.shape("p0");
        let mut states = States::new();
        let group = states.group("parameters");
        states.add("parameters", "p", Tensor::new(shape, case.real("p0"))?)?;
        let adam = if case.has_parameter("betas") {
            let mut adam = Adam::new(&mut states, group)?;
            (adam.beta2, adam.coupled) = (case.numbers("betas")[1], true);
            adam.weight_decay = case.number("weight_decay");
            Some(adam)
        } else {
            None
        };
        let mut sgd = Sgd::new(&mut states, group)?;
        (sgd.momentum, sgd.nesterov) = (case.number_or("momentum", 0.0), case.has_parameter("nesterov"));
        sgd.weight_decay = case.number_or("weight_decay", 0.0);
        let states = Arc::new(states);
        let mut graph = Graph::new(states.clone());
        let (p, g) = (graph.state("p")?, graph.input("g", shape)?);
        let product = graph.multiply(p, g)?;
        let loss = graph.sum_all(product)?;
        match &adam {
            Some(adam) => adam.minimise(&mut graph, loss)?,
            None => sgd.minimise(&mut graph, loss)?,
        }
        let (gradients, rate) = (case.real("g"), case.number("lr"));
        for (device, target, mut session) in sessions(&states) {
            let mut adam = adam.clone();
            let plan = session.add(Plan::new(graph.clone(), target)?)?;
            for (i, gradient) in gradients.chunks_exact(shape.elements()).enumerate() {
                session.write(plan, "g", gradient)?;
                match &mut adam {
                    Some(adam) => adam.before_step(session.as_mut(), plan, rate, case.numbers("betas")[0])?,
                    None => sgd.before_step(session.as_mut(), plan, rate)?,
                }
                session.run(plan)?;
                let key = format!("p{}", i + 1);
                if case.has(&key) {
                    let mut got = vec![0.0; shape.elements()];
                    session.read_state("p", &mut got)?;
                    verdict.check(&format!("{} on {device}, {key}", case.name), &got, &case.real(&key), TOLERANCE);
                }
            }
        }
    }
    Ok(())
}
