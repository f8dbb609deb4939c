//! `y = factor * x`, and dropout from a given mask: `y = x * mask / (1 - p)`.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Spec};

static SCALE: Shader = shader!("scale");
static DROPOUT: Shader = shader!("dropout");

/// `y = factor * x`, for any shape.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The factor.
    pub factor: f64,
}

/// `y = x * mask * factor`. Inputs x and mask, output y, all of one shape; the mask takes no gradient.
#[derive(Debug)]
pub struct Dropout {
    /// `1 / (1 - p)`, so that the expected value does not change.
    pub factor: f64,
}

impl Graph {
    /// `factor * x`, element by element.
    ///
    /// # Errors
    /// If the factor is not finite.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2], vec![1.5, -2.0])?;
    /// let y = graph.scale(x, -2.0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [-3.0, 4.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn scale(&mut self, x: Value, factor: f64) -> Result<Value> {
        self.apply_one(Scale { factor }, &[x])
    }

    /// `x * mask / (1 - p)`: drops the elements where the mask (drawn by the host, 0 with probability p, else 1) is 0.
    ///
    /// # Errors
    /// If the shapes differ or p is not in `[0, 1)`.
    pub fn dropout(&mut self, x: Value, mask: Value, p: f64) -> Result<Value> {
        if !(0.0..1.0).contains(&p) {
            return Err(Error::op("dropout", format!("p must be at least 0 and below 1, not {p}")));
        }
        self.apply_one(Dropout { factor: 1.0 / (1.0 - p) }, &[x, mask])
    }
}

fn launch(shader: &'static Shader, factor: f64, len: usize, operands: Vec<Operand>) -> Vec<Launch> {
    let constants = vec![("LEN", len as f64), ("FACTOR", factor)];
    vec![Launch { shader, constants, operands, workgroups: grid(len.div_ceil(PER_WORKGROUP)) }]
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real("scale", inputs)?;
        if !self.factor.is_finite() {
            return Err(Error::op("scale", format!("the factor must be finite, not {}", self.factor)));
        }
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        Ok(vec![Some(graph.scale(dy, self.factor)?)])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        launch(&SCALE, self.factor, outputs[0].shape.elements(), vec![Operand::Input(0), Operand::Output(0)])
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl Scale {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, parallel, factor) = (kernel.input(0), kernel.parallel(), T::from_f64(self.factor));
        for_each_piece(parallel, kernel.output(), PER_TASK, |i, y| {
            let x = &x[i * PER_TASK..][..y.len()];
            lanes::dispatch(
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor),
            );
        });
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real("dropout", inputs)?;
        super::same("dropout", "the mask", inputs[1], "the input", inputs[0])?;
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None, None]) };
        let dx = graph.apply_one(Self { factor: self.factor }, &[dy, node.inputs[1]])?;
        Ok(vec![Some(dx), None])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let operands = vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)];
        launch(&DROPOUT, self.factor, outputs[0].shape.elements(), operands)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(2)
    }
}

impl Dropout {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, mask, parallel) = (kernel.input(0), kernel.input(1), kernel.parallel());
        let factor = T::from_f64(self.factor);
        for_each_piece(parallel, kernel.output(), PER_TASK, |i, y| {
            let (x, mask) = (&x[i * PER_TASK..][..y.len()], &mask[i * PER_TASK..][..y.len()]);
            lanes::dispatch(
                #[inline(always)]
                || y.iter_mut().zip(x.iter().zip(mask)).for_each(|(y, (&x, &mask))| *y = x * mask * factor),
            );
        });
    }
}
