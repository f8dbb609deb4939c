//! One value of a graph, without a plan and a session of one's own.

use super::{CpuSession, Pool};
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan, Session, Target, Value};
use crate::tensor::{DType, Tensor};
use std::sync::Arc;

impl Graph {
    /// Computes one value in f64 on a thread of this machine, from these inputs by name and from states as they begin: to try
    /// things out, and for tests. What runs more than once belongs in a [`Plan`].
    ///
    /// # Errors
    /// Where the value holds indices, there is no such input, it has another number of elements, or it holds indices and is given
    /// something else.
    pub fn evaluate(&self, value: Value, inputs: &[(&str, &[f64])]) -> Result<Tensor<f64>> {
        let mut graph = self.clone();
        graph.output("value of evaluate", value)?;
        let shape = graph.shape(value);
        let mut session = CpuSession::<f64>::new(graph.states().clone(), Arc::new(Pool::new(1)))?;
        let plan = session.add(Plan::new(graph, Target::Cpu)?)?;
        for &(name, data) in inputs {
            if session.plan(plan).input(name)?.spec.dtype == DType::Real {
                session.write_real(plan, name, data)?;
                continue;
            }
            let indices: Vec<u32> = data.iter().map(|&x| x as u32).collect();
            if indices.iter().zip(data).any(|(&index, &x)| f64::from(index) != x) {
                return Err(Error::value(name, format!("holds indices, which {data:?} are not")));
            }
            session.write_indices(plan, name, &indices)?;
        }
        session.run(plan)?;
        Tensor::new(shape, session.output(plan, "value of evaluate")?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_arrive_and_what_does_not_fit_is_refused() -> Result<()> {
        let mut graph = Graph::default();
        let x = graph.input("x", [2, 2])?;
        let rows = graph.index_input("rows", [3])?;
        let y = graph.gather(x, rows, 0)?;
        let x4: &[f64] = &[1.0, 2.0, 3.0, 4.0];
        let found = graph.evaluate(y, &[("x", x4), ("rows", &[1.0, 0.0, 1.0])])?;
        assert_eq!((found.shape().dims(), found.data()), (&[3, 2][..], &[3.0, 4.0, 1.0, 2.0, 3.0, 4.0][..]));
        for (inputs, word) in [
            (("x", &x4[..3]), "4 elements"),
            (("z", x4), "z"),
            (("rows", &[0.0, 0.5, 1.0][..]), "indices"),
            (("rows", &[0.0, -1.0, 1.0][..]), "indices"),
            (("rows", &[0.0, 2.0, 1.0][..]), "below 2"),
        ] {
            let error = graph.evaluate(y, &[inputs]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(graph.evaluate(rows, &[]).is_err());
        Ok(())
    }
}
