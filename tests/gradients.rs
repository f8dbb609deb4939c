//! Every differentiable operation's gradient against central finite differences in f64, in the middle of a graph:
//! something differentiable comes before it, and the gradient that arrives is different for every element. With vectors of every width.

#[path = "common/cases.rs"]
mod common;
#[path = "common/vectors.rs"]
mod vectors;

use common::{pool, weighted_sum};
use humdinger::cases::{self, Case, Input, Random};
use humdinger::cpu::CpuSession;
use humdinger::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Plan, Session, States, Target, Value, no_gradient};
use humdinger::tensor::{DType, Real, Spec};
use humdinger::{Result, cpu_kernels};
use std::sync::Arc;

/// PyTorch's `gradcheck` has these.
const EPSILON: f64 = 1e-6;
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-5;
/// Elements of an input at which a gradient is checked, at most.
const ELEMENTS: usize = 150;

/// Checks the gradients of a case; says where they are wrong.
fn check(case: &Case) -> Result<(), String> {
    let say = |error: humdinger::Error| format!("{}: {error}", case.title());
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let inputs = case.add_inputs(&mut graph).map_err(say)?;
    // In front of the operation: every input divided by fixed numbers that the host multiplies it with, so that the
    // operation still sees what the case wants it to see.
    let mut random = Random::new("front");
    let mut front = Vec::new();
    let mut factors = Vec::new();
    for (input, &value) in case.inputs.iter().zip(&inputs) {
        if input.spec.dtype == DType::Index || !input.gradient {
            front.push(value);
            factors.push(Vec::new());
            continue;
        }
        let shape = input.spec.shape;
        factors.push((0..shape.elements()).map(|_| 0.5 + random.next()).collect::<Vec<f64>>());
        let factor = graph.constant(shape, factors[factors.len() - 1].clone()).map_err(say)?;
        front.push(graph.divide(value, factor).map_err(say)?);
    }
    let outputs = (case.build)(&mut graph, &front).map_err(say)?;
    let loss = weighted_sum(&mut graph, case, &outputs).map_err(say)?;
    let mut forward = graph.clone();
    forward.output("loss", loss).map_err(say)?;
    let wanted: Vec<usize> = (0..inputs.len()).filter(|&i| case.inputs[i].gradient).collect();
    let wrt: Vec<Value> = wanted.iter().map(|&i| inputs[i]).collect();
    for (&i, gradient) in wanted.iter().zip(graph.gradients(loss, &wrt).map_err(say)?) {
        graph.output(&format!("d{i}"), gradient).map_err(say)?;
    }

    let mut session = CpuSession::<f64>::new(states, pool(1)).map_err(say)?;
    let forward = session.add(Plan::new(forward, Target::Cpu).map_err(say)?).map_err(say)?;
    let backward = session.add(Plan::new(graph, Target::Cpu).map_err(say)?).map_err(say)?;
    let mut values: Vec<Vec<f64>> = (0..inputs.len()).map(|i| case.draw(i)).collect();
    for (values, factors) in values.iter_mut().zip(&factors) {
        values.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
    }
    for id in [forward, backward] {
        for (i, values) in values.iter().enumerate() {
            let name = format!("x{i}");
            if session.plan(id).input(&name).is_err() {
                continue;
            }
            match case.inputs[i].spec.dtype {
                DType::Real => session.write_real(id, &name, values).map_err(say)?,
                DType::Index => {
                    let indices: Vec<u32> = values.iter().map(|&x| x as u32).collect();
                    session.write_indices(id, &name, &indices).map_err(say)?;
                }
            }
        }
    }
    session.run(backward).map_err(say)?;
    for &i in &wanted {
        let analytic = session.output(backward, &format!("d{i}")).map_err(say)?.to_vec();
        let len = values[i].len();
        for k in 0..len.min(if case.bench { 12 } else { ELEMENTS }) {
            let element = if len <= ELEMENTS { k } else { (random.next() * len as f64) as usize };
            let mut at = |x: f64| -> Result<f64, String> {
                let old = std::mem::replace(&mut values[i][element], x);
                session.write_real(forward, &format!("x{i}"), &values[i]).map_err(say)?;
                values[i][element] = old;
                session.run(forward).map_err(say)?;
                Ok(session.output(forward, "loss").map_err(say)?[0])
            };
            let x = case.draw(i)[element] * factors[i][element];
            let numeric = (at(x + EPSILON)? - at(x - EPSILON)?) / (2.0 * EPSILON);
            at(x)?;
            let difference = (analytic[element] - numeric).abs();
            // A NaN is wrong too.
            if difference.is_nan() || difference > ABSOLUTE + RELATIVE * numeric.abs() {
                return Err(format!(
                    "{}: input {i}, element {element}: gradient {}, finite differences {numeric}",
                    case.title(),
                    analytic[element]
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() {
    vectors::choose_vectors();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| !case.differentiable.is_empty()).collect();
    // The sums over millions of elements of the cases for timing drown a difference of 1e-6; they have small sisters.
    let failures: Vec<String> = cases.iter().filter(|case| !case.bench).filter_map(|case| check(case).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn with_narrower_vectors_they_do_too() {
    vectors::with_narrower_vectors(&["gradients_agree_with_finite_differences"]);
}

/// Squares, with a gradient that lacks its factor of two: what a mistake looks like.
#[derive(Debug)]
struct WrongSquare;

impl Op for WrongSquare {
    fn name(&self) -> &'static str {
        "wrong_square"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return no_gradient(self.name()) };
        Ok(vec![Some(graph.multiply(dy, node.inputs[0])?)])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        Vec::new()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }
}

impl WrongSquare {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let x = kernel.input(0);
        kernel.output().iter_mut().zip(x).for_each(|(y, &x)| *y = x * x);
    }
}

#[test]
fn a_wrong_gradient_is_found() {
    let case = |wrong: bool| {
        Case::new("square", "test", [Input::range([2, 3], 0.5, 2.0)], move |graph, x| {
            Ok(vec![if wrong { graph.apply_one(WrongSquare, &[x[0]])? } else { graph.multiply(x[0], x[0])? }])
        })
    };
    assert_eq!(check(&case(false)), Ok(()));
    let message = check(&case(true)).unwrap_err();
    assert!(message.contains("finite differences"), "{message}");
}
