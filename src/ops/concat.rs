//! Concatenation of tensors along an axis. The gradient of each is a slice.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Blocks, Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, grid};
use crate::shader;
use crate::tensor::{Real, Shape, Spec};

static CONCAT: Shader = shader!("concat");

/// One or more inputs that differ along one axis only; the output is their concatenation.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Graph {
    /// Concatenates tensors along an axis.
    ///
    /// # Errors
    /// If there is no tensor, they have no such axis, or their shapes differ along another.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([1, 2], vec![1.0, 2.0])?;
    /// let b = graph.constant([1, 1], vec![3.0])?;
    /// let y = graph.concat(&[a, b], 1)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 2.0, 3.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Result<Value> {
        self.apply_one(Concat { axis }, parts)
    }
}

impl Concat {
    /// How many neighbouring elements of a tensor stay together.
    fn row(self, shape: Shape) -> usize {
        shape.dims()[self.axis..].iter().product()
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (shape, parallel) = (kernel.output_spec(0).shape, kernel.parallel());
        let to = self.row(shape);
        let mut offset = 0;
        for part in 0..kernel.input_specs().len() {
            let (x, row) = (kernel.input(part), self.row(kernel.input_spec(part).shape));
            let (per_task, pieces) = ((PER_TASK / row).max(1), row.div_ceil(PER_TASK));
            let blocks = Blocks::new(kernel.output(), to, [per_task, if pieces == 1 { row } else { PER_TASK }]);
            parallel.for_pieces(blocks.within(offset..offset + row), |_, mut y| {
                let start = y.columns().start - offset;
                for r in y.rows() {
                    let y = y.row(r);
                    y.copy_from_slice(&x[r * row + start..][..y.len()]);
                }
            });
            offset += row;
        }
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        let Some(first) = inputs.first().filter(|first| self.axis < first.shape.rank()) else {
            let shapes: Vec<String> = inputs.iter().map(|spec| spec.shape.to_string()).collect();
            let detail = format!("there is no axis {} along which {shapes:?} could be put together", self.axis);
            return Err(Error::op(self.name(), detail));
        };
        let mut dims = first.shape.dims().to_vec();
        dims[self.axis] = 0;
        for (number, part) in inputs.iter().enumerate() {
            let part = part.shape.dims();
            let fits = part.len() == dims.len() && (0..dims.len()).all(|i| i == self.axis || part[i] == dims[i]);
            if !fits {
                let detail = format!(
                    "input {number} has shape {part:?}, the first {}: they may differ along axis {} only",
                    first.shape, self.axis
                );
                return Err(Error::op(self.name(), detail));
            }
            dims[self.axis] += part[self.axis];
        }
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None; node.inputs.len()]) };
        let (mut start, mut gradients) = (0, Vec::new());
        for (&part, &wanted) in node.inputs.iter().zip(node.wanted) {
            let end = start + graph.shape(part)[self.axis];
            gradients.push(if wanted { Some(graph.slice(dy, self.axis, start..end, 1)?) } else { None });
            start = end;
        }
        Ok(gradients)
    }

    cpu_kernels!();

    // One launch for each part, so that there may be more of them than buffers that a kernel can have.
    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let mut offset = 0;
        let launch = |(part, spec): (usize, &Spec)| {
            let (len, row) = (spec.shape.elements(), self.row(spec.shape));
            let sizes = [("LEN", len), ("ROW", row), ("TO", self.row(outputs[0].shape)), ("OFFSET", offset)];
            offset += row;
            Launch {
                shader: &CONCAT,
                constants: sizes.map(|(name, size)| (name, size as f64)).to_vec(),
                operands: vec![Operand::Input(part), Operand::Output(0)],
                workgroups: grid(len.div_ceil(PER_WORKGROUP)),
            }
        };
        inputs.iter().enumerate().map(launch).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        if self.axis > 0 { Division::rows(inputs.len()) } else { Division::Whole }
    }
}
