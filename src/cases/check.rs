//! Running cases of the table: on the CPU, on a GPU, and one against the other.

use super::{Case, Random};
use crate::cpu::CpuSession;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{Gpu, GpuSession};
use crate::graph::{CpuReal, Graph, Parallel, Plan, PlanId, Session, States, Target, Value};
use crate::tensor::DType;
use std::sync::Arc;

/// A case built into a graph: outputs `y0`, `y1`, ..., and where it is differentiable the gradients `d0`, `d1`, ... of a
/// weighted sum of the outputs with respect to the inputs that ask for one.
pub struct Built {
    /// The graph.
    pub graph: Graph,
    /// The names of its outputs.
    pub outputs: Vec<String>,
}

/// `sum(y * w)` over the outputs that carry gradients, with fixed random weights: what arrives at the operation is then
/// different for every element.
///
/// # Errors
/// Where the case is not differentiable.
pub fn weighted_sum(graph: &mut Graph, case: &Case, outputs: &[Value]) -> Result<Value> {
    let mut loss = None;
    for &i in &case.differentiable {
        let mut random = Random::new(&format!("{} weights {i}", case.title()));
        let shape = graph.shape(outputs[i]);
        let weights: Vec<f64> = (0..shape.elements()).map(|_| f64::from((0.5 + random.next()) as f32)).collect();
        let weights = graph.constant(shape, weights)?;
        let weighted = graph.multiply(outputs[i], weights)?;
        let sum = graph.sum_all(weighted)?;
        loss = Some(match loss {
            Some(loss) => graph.add(loss, sum)?,
            None => sum,
        });
    }
    loss.ok_or_else(|| Error::op(case.op, "the case names no differentiable output"))
}

/// Builds a case, with or without its gradients.
///
/// # Errors
/// Where the case cannot be built.
pub fn build(case: &Case, states: Arc<States>, gradients: bool) -> Result<Built> {
    let mut graph = Graph::new(states);
    let inputs = case.add_inputs(&mut graph)?;
    let made = (case.build)(&mut graph, &inputs)?;
    let mut outputs = Vec::new();
    for (i, &y) in made.iter().enumerate() {
        outputs.push(format!("y{i}"));
        graph.output(&outputs[i], y)?;
    }
    if gradients && !case.differentiable.is_empty() {
        let loss = weighted_sum(&mut graph, case, &made)?;
        let wanted: Vec<usize> = (0..inputs.len()).filter(|&i| case.inputs[i].gradient).collect();
        let wrt: Vec<Value> = wanted.iter().map(|&i| inputs[i]).collect();
        for (i, gradient) in wanted.into_iter().zip(graph.gradients(loss, &wrt)?) {
            outputs.push(format!("d{i}"));
            graph.output(&outputs[outputs.len() - 1], gradient)?;
        }
    }
    Ok(Built { graph, outputs })
}

/// Writes the inputs that a case draws.
///
/// # Errors
/// Where the session refuses them.
pub fn write_inputs(session: &mut dyn Session, id: PlanId, case: &Case) -> Result<()> {
    for (i, input) in case.inputs.iter().enumerate() {
        let (name, values) = (format!("x{i}"), case.draw(i));
        if session.plan(id).input(&name).is_err() {
            // Nothing that is asked for depends on it.
            continue;
        }
        match input.spec.dtype {
            DType::Real => session.write(id, &name, &values.iter().map(|&x| x as f32).collect::<Vec<_>>())?,
            DType::Index => session.write_indices(id, &name, &values.iter().map(|&x| x as u32).collect::<Vec<_>>())?,
        }
    }
    Ok(())
}

/// All outputs of a case by name, gradients included, computed on the CPU in `T`.
///
/// # Errors
/// Where the case cannot be built or run.
pub fn on_cpu<T: CpuReal>(case: &Case, pool: Arc<dyn Parallel + Send>) -> Result<Vec<(String, Vec<T>)>> {
    let states = Arc::new(States::new());
    let built = build(case, states.clone(), true)?;
    let mut session = CpuSession::<T>::new(states, pool)?;
    let id = session.add(Plan::new(built.graph, Target::Cpu)?)?;
    write_inputs(&mut session, id, case)?;
    session.run(id)?;
    built.outputs.into_iter().map(|name| Ok((name.clone(), session.output(id, &name)?.to_vec()))).collect()
}

/// All outputs of a case by name, gradients included, computed on a GPU between sentinels, twice.
///
/// # Errors
/// Where the case cannot be built or run, a kernel writes beyond its buffers, or the second run gives other bits than
/// the first.
#[cfg(feature = "gpu")]
pub fn on_gpu(case: &Case, gpu: &Gpu) -> Result<Vec<(String, Vec<f32>)>> {
    let states = Arc::new(States::new());
    let built = build(case, states.clone(), true)?;
    let mut session = GpuSession::with_guards(gpu.clone(), states)?;
    let id = session.add(Plan::new(built.graph, Target::Gpu)?)?;
    write_inputs(&mut session, id, case)?;
    let mut outputs = Vec::new();
    session.run(id)?;
    for name in built.outputs {
        let mut values = vec![0.0; session.plan(id).output(&name)?.place.len];
        session.read(id, &name, &mut values)?;
        outputs.push((name, values));
    }
    session.run(id)?;
    for (name, first) in &outputs {
        let mut second = vec![0.0; first.len()];
        session.read(id, name, &mut second)?;
        if first.iter().zip(&second).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Err(Error::op(case.op, format!("a second run gave other bits in {name}")));
        }
    }
    session.check_guards(id)?;
    Ok(outputs)
}

/// The outputs of a case whose [`nmse`] against the expected ones is not below the case's tolerance, for people; and the
/// largest error of all.
pub fn compare<T: CpuReal>(
    case: &Case,
    found: &[(String, Vec<T>)],
    expected: &[(String, Vec<f64>)],
) -> (f64, Vec<String>) {
    let (mut worst, mut failures) = (0.0, Vec::new());
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        let error = nmse(found.iter().map(|x| x.to_f64()), expected.iter().copied());
        // A NaN is not below anything.
        let within = error < case.tolerance;
        if !within {
            failures.push(format!("{} {name}: NMSE {error:.1e}, allowed {:.1e}", case.title(), case.tolerance));
        }
        worst = if error > worst || error.is_nan() { error } else { worst };
    }
    (worst, failures)
}

/// `sum((a - b)^2) / sum(b^2)` over what is finite in `b`, infinite where something is not a number, or is an infinity, in one only.
pub fn nmse(found: impl Iterator<Item = f64>, expected: impl Iterator<Item = f64>) -> f64 {
    let (mut error, mut scale) = (0.0, 0.0);
    for (found, expected) in found.zip(expected) {
        if found.is_nan() && expected.is_nan() || found == expected && found.is_infinite() {
            continue;
        }
        if !found.is_finite() || !expected.is_finite() {
            return f64::INFINITY;
        }
        error += (found - expected) * (found - expected);
        scale += expected * expected;
    }
    if error == 0.0 { 0.0 } else { error / scale }
}

#[cfg(test)]
mod tests {
    use super::nmse;

    #[test]
    fn what_is_not_finite_must_be_so_in_both_and_hides_nothing_else() {
        let of = |found: [f64; 3], expected: [f64; 3]| nmse(found.into_iter(), expected.into_iter());
        let (nan, infinite) = (f64::NAN, f64::INFINITY);
        assert_eq!(of([1.0, nan, infinite], [1.0, nan, infinite]), 0.0);
        assert_eq!(of([1.0, nan, infinite], [2.0, nan, infinite]), 0.25);
        for found in [[1.0, 0.0, infinite], [1.0, nan, -infinite], [1.0, nan, 1.0], [nan, nan, infinite]] {
            assert_eq!(of(found, [1.0, nan, infinite]), infinite, "{found:?}");
        }
    }
}
