//! Holding an operation against its golden file: output and gradients, on every device that is here.

#[path = "golden.rs"]
pub mod golden;

use golden::{Case, Golden, TOLERANCE, Verdict, read, sessions};
use humdinger::Result;
use humdinger::graph::{Graph, Plan, States, Value};
use std::sync::Arc;

/// Builds a case's y from its inputs. It may make other values of the file outputs; those are held against it too.
pub type Build<'a> = &'a dyn Fn(&mut Graph, &Case<'_>, &[Value]) -> Result<Value>;

/// Holds an operation against its golden file: `inputs` are the names of its inputs in the file (those that a case lacks
/// are left out), `build` applies it.
pub fn operation(name: &str, inputs: &[&str], build: Build<'_>) {
    let golden = Golden::read(name);
    let mut verdict = Verdict::default();
    for case in golden.cases() {
        one_case(name, &case, inputs, build, &mut verdict)
            .unwrap_or_else(|error| panic!("{name}, case {}: {error}", case.name));
    }
}

/// Holds batch norm against a file. The running statistics enter as inputs; in training the file has those after the step, too.
pub fn batch_norms(file: &str) {
    operation(file, &["x", "w", "b", "mean_before", "var_before"], &|graph, case, v| {
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
