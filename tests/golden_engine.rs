//! Every operation against PyTorch: output and gradients on the CPU and on a GPU equal the numbers of tools/golden_engine.py.
//!
//! PyTorch computed in f64 from f32 inputs; an error is measured against the root mean square of the expected tensor.

#[path = "common/golden.rs"]
mod golden;

use golden::{Case, Golden, TOLERANCE, Verdict, error, read, sessions};
use humdinger::graph::{Graph, Plan, States, Value};
use humdinger::ops::{ConvOptions, Windows};
use humdinger::{Result, Shape};
use std::sync::Arc;

/// Builds a case's y from its inputs. It may make other values of the file outputs; those are held against it too.
type Build<'a> = &'a dyn Fn(&mut Graph, &Case<'_>, &[Value]) -> Result<Value>;

/// Holds an operation against its golden file: `inputs` are the names of its inputs in the file (those that a case lacks
/// are left out), `build` applies it.
fn operation(name: &str, inputs: &[&str], build: Build<'_>) {
    let golden = Golden::read(name);
    let mut verdict = Verdict::default();
    for case in golden.cases() {
        one_case(name, &case, inputs, build, &mut verdict)
            .unwrap_or_else(|error| panic!("{name}, case {}: {error}", case.name));
    }
}

fn one_case(name: &str, case: &Case<'_>, inputs: &[&str], build: Build<'_>, verdict: &mut Verdict) -> Result<()> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let inputs: Vec<&str> = inputs.iter().copied().filter(|key| case.has(key)).collect();
    let mut values = Vec::new();
    for key in &inputs {
        values.push(if case.is_index(key) {
            graph.index_input(key, case.shape(key))?
        } else {
            graph.input(key, case.shape(key))?
        });
    }
    let y = build(&mut graph, case, &values)?;
    assert_eq!(graph.shape(y).elements(), case.shape("y").elements(), "{name}, case {}: shape", case.name);
    // A gradient arrives that is not all ones.
    let y_shape = graph.shape(y);
    let dy = graph.input("dy", y_shape)?;
    let weighted = graph.multiply(y, dy)?;
    let loss = graph.sum_all(weighted)?;
    let wanted: Vec<(String, Value)> = inputs
        .iter()
        .zip(&values)
        .map(|(key, &value)| (format!("d{key}"), value))
        .filter(|(key, _)| case.has(key))
        .collect();
    let gradients = graph.gradients(loss, &wanted.iter().map(|&(_, value)| value).collect::<Vec<_>>())?;
    graph.output("y", y)?;
    let also: Vec<String> = graph.outputs().iter().map(|(name, _)| name.clone()).collect();
    for ((key, _), &gradient) in wanted.iter().zip(&gradients) {
        graph.output(key, gradient)?;
    }
    for (device, target, mut session) in sessions(&states) {
        let plan = session.add(Plan::new(graph.clone(), target)?)?;
        for key in &inputs {
            if case.is_index(key) {
                session.write_indices(plan, key, &case.indices(key))?;
            } else {
                session.write(plan, key, &case.real(key))?;
            }
        }
        session.write(plan, "dy", &case.real("dy"))?;
        session.run(plan)?;
        for key in wanted.iter().map(|(key, _)| key).chain(&also) {
            let want = case.real(key);
            let got = read(session.as_mut(), plan, key, want.len());
            let tolerance = case.number_or("tolerance", TOLERANCE);
            verdict.check(&format!("{name} on {device}, case {}, {key}", case.name), &got, &want, tolerance);
        }
    }
    Ok(())
}

/// Every golden file has a test here: a file that nobody reads proves nothing.
#[test]
fn every_file_is_used() {
    let source = concat!(include_str!("golden_engine.rs"), include_str!("golden_training.rs"));
    let files = Golden::all();
    assert!(files.len() > 15, "the golden files are missing");
    let unused: Vec<String> = files.into_iter().filter(|name| !source.contains(&format!("\"{name}\""))).collect();
    assert!(unused.is_empty(), "no test reads {}", unused.join(", "));
}

/// What the tests themselves rely on: that a wrong number is seen.
#[test]
fn a_wrong_number_is_seen() {
    assert!(error(&[1.0, 2.0], &[1.0, 2.0]) == 0.0);
    assert!(error(&[1.0, 2.0001], &[1.0, 2.0]) > TOLERANCE);
    assert!(error(&[1.0, f32::NAN], &[1.0, 2.0]).is_infinite());
    assert!(error(&[1e-9], &[0.0]).is_infinite());
}

fn conv_options(case: &Case<'_>) -> ConvOptions {
    ConvOptions {
        stride: case.pair("stride"),
        padding: case.pair("padding"),
        dilation: case.pair("dilation"),
        groups: case.integer("groups"),
    }
}

#[test]
fn conv2d() {
    operation("conv2d", &["x", "w", "b"], &|graph, case, v| {
        graph.conv2d(v[0], v[1], v.get(2).copied(), conv_options(case))
    });
}

/// The running statistics enter as inputs; in training the file has those after the step, too.
#[test]
fn batch_norm() {
    operation("batch_norm2d", &["x", "w", "b", "mean_before", "var_before"], &|graph, case, v| {
        let (channel, epsilon) = ([v[1], v[2], v[3], v[4]], case.number("eps"));
        if !case.flag("training") {
            return graph.batch_norm_evaluate(v[0], channel, epsilon);
        }
        let made = graph.batch_norm(v[0], channel, case.number("momentum"), epsilon)?;
        graph.output("mean_after", made.running_mean)?;
        graph.output("var_after", made.running_var)?;
        Ok(made.y)
    });
}

#[test]
fn pooling() {
    operation("adaptive_avg_pool2d", &["x"], &|graph, case, v| graph.adaptive_avg_pool2d(v[0], case.pair("output")));
    operation("max_pool2d", &["x"], &|graph, case, v| {
        let (kernel, stride, padding) = (case.pair("kernel"), case.pair("stride"), case.pair("padding"));
        graph.max_pool2d(v[0], Windows { kernel, stride, padding, dilation: [1, 1] })
    });
}

#[test]
fn losses() {
    operation("log_softmax", &["x"], &|graph, _, v| graph.log_softmax(v[0]));
    operation("cross_entropy", &["x", "labels"], &|graph, case, v| {
        Ok(graph.cross_entropy(v[0], v[1], case.number("label_smoothing"))?.loss)
    });
}

#[test]
fn relu() {
    operation("relu", &["x"], &|graph, _, v| graph.relu(v[0]));
}

#[test]
fn linear() {
    operation("linear", &["x", "w", "b"], &|graph, case, v| match v.get(2) {
        Some(&b) => graph.linear(v[0], v[1], b),
        None => {
            let zeros = graph.constant([case.shape("w")[0]], vec![0.0; case.shape("w")[0]])?;
            graph.linear(v[0], v[1], zeros)
        }
    });
}

#[test]
fn matmul() {
    operation("matmul", &["a", "b"], &|graph, _, v| graph.matmul(v[0], v[1]));
}

#[test]
fn transpose() {
    operation("transpose", &["x"], &|graph, case, v| graph.permute(v[0], &case.integers("order")));
}

#[test]
fn reshape() {
    operation("reshape", &["x"], &|graph, case, v| graph.reshape(v[0], Shape::new(&case.integers("to"))));
}

#[test]
fn elementwise() {
    operation("add", &["a", "b"], &|graph, _, v| graph.add(v[0], v[1]));
    operation("multiply", &["a", "b"], &|graph, _, v| graph.multiply(v[0], v[1]));
    operation("scale", &["x"], &|graph, case, v| graph.scale(v[0], case.number("factor")));
    operation("dropout", &["x", "mask"], &|graph, case, v| graph.dropout(v[0], v[1], case.number("p")));
}

#[test]
fn reductions() {
    operation("sum", &["x"], &|graph, case, v| graph.sum(v[0], &case.integers("axes"), false));
    operation("mean", &["x"], &|graph, case, v| graph.mean(v[0], &case.integers("axes"), false));
}
