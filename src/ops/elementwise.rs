//! Element-by-element arithmetic on two values, with NumPy's broadcasting: shapes are aligned at their ends, and an axis
//! of length 1 (or one that is missing) is repeated along the other's.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Blocks, Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::kernels::strided::{A_STRIDES, B_STRIDES, DIMS, Walk, broadcast, broadcast_strides};
use crate::shader;
use crate::tensor::{Real, Shape, Spec};

static BINARY: Shader = shader!("binary", "nan");

/// `c = a op b` with broadcasting. Inputs a and b, output c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`
    Divide,
    /// 1 where `a == b`, else 0; has no gradient.
    Equal,
    /// The greater of both; NaN if one is NaN.
    Maximum,
    /// The lesser of both; NaN if one is NaN.
    Minimum,
    /// What a maximum's gradient gives to a: 1 where `a > b` or one is NaN, 1/2 where they are equal, else 0; has no gradient.
    Share,
    /// a where b is not 0, else 0; b takes no gradient.
    Keep,
    /// `a * b`, and 0 where b is 0, even if a is infinite or NaN (a gradient that is not passed on); has no
    /// gradient.
    Portion,
}

impl Graph {
    /// `a + b`, element by element, with broadcasting.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    /// let b = graph.constant([2], vec![10.0, 20.0])?;
    /// let y = graph.add(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [11.0, 22.0, 13.0, 24.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Add, &[a, b])
    }

    /// `a - b`, element by element, with broadcasting.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.subtract(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [2.0, -1.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn subtract(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Subtract, &[a, b])
    }

    /// `a * b`, element by element, with broadcasting.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.multiply(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [3.0, 2.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn multiply(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Multiply, &[a, b])
    }

    /// `a / b`, element by element, with broadcasting.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.divide(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [3.0, 0.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn divide(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Divide, &[a, b])
    }

    /// 1 where `a` and `b` are the same number, else 0, with broadcasting. Has no gradient.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.equal(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [0.0, 0.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn equal(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Equal, &[a, b])
    }

    /// The greater of `a` and `b`, element by element, with broadcasting; NaN where one is NaN. Equal elements share the gradient.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.maximum(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [3.0, 2.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn maximum(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Maximum, &[a, b])
    }

    /// The lesser of `a` and `b`, element by element, with broadcasting; NaN where one is NaN. Equal elements share the gradient.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2], vec![3.0, 1.0])?;
    /// let b = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.minimum(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 1.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn minimum(&mut self, a: Value, b: Value) -> Result<Value> {
        self.apply_one(Binary::Minimum, &[a, b])
    }

    /// `x` where `mask` is not 0, else 0 (even if x is NaN there), with broadcasting. The mask takes no gradient.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    pub fn keep(&mut self, x: Value, mask: Value) -> Result<Value> {
        self.apply_one(Binary::Keep, &[x, mask])
    }

    /// Undoes a broadcast for a gradient: sums over the axes along which `shape` was repeated to become `x`'s.
    pub(super) fn sum_to(&mut self, x: Value, shape: Shape) -> Result<Value> {
        let from = self.shape(x);
        if from == shape {
            return Ok(x);
        }
        let shift = from.rank() - shape.rank();
        let axes: Vec<usize> =
            (0..from.rank()).filter(|&axis| axis < shift || (shape[axis - shift] == 1 && from[axis] != 1)).collect();
        let sum = self.sum(x, &axes, false)?;
        self.reshape(sum, shape)
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Equal => "equal",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Share => "share",
            Self::Keep => "keep",
            Self::Portion => "portion",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        match broadcast(inputs[0].shape, inputs[1].shape) {
            Some(shape) => Ok(vec![Spec::real(shape)]),
            None => {
                let detail = format!(
                    "shapes {} and {} do not broadcast: aligned at their ends, axes must be equal or 1",
                    inputs[0].shape, inputs[1].shape
                );
                Err(Error::op(self.name(), detail))
            }
        }
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dc) = node.arriving[0] else { return Ok(vec![None, None]) };
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let (da, db) = (node.wanted[0], node.wanted[1]);
        let (da, db) = match self {
            Self::Add => (Some(dc), Some(dc)),
            Self::Subtract => (Some(dc), if db { Some(graph.scale(dc, -1.0)?) } else { None }),
            Self::Multiply => (
                if da { Some(graph.multiply(dc, b)?) } else { None },
                if db { Some(graph.multiply(dc, a)?) } else { None },
            ),
            Self::Divide => {
                let share = graph.divide(dc, b)?;
                let db = if db {
                    let product = graph.multiply(share, node.outputs[0])?;
                    Some(graph.scale(product, -1.0)?)
                } else {
                    None
                };
                (Some(share), db)
            }
            Self::Maximum | Self::Minimum => {
                let mut share = |x, other, wanted: bool| -> Result<Option<Value>> {
                    if !wanted {
                        return Ok(None);
                    }
                    let pair = if *self == Self::Maximum { [x, other] } else { [other, x] };
                    let share = graph.apply_one(Self::Share, &pair)?;
                    Ok(Some(graph.apply_one(Self::Portion, &[dc, share])?))
                };
                (share(a, b, da)?, share(b, a, db)?)
            }
            Self::Keep if db => return Err(Error::op(self.name(), "has no gradient with respect to its mask")),
            Self::Keep => (Some(graph.keep(dc, b)?), None),
            Self::Equal | Self::Share | Self::Portion => return no_gradient(self.name()),
        };
        let mut fitted = Vec::new();
        for (gradient, (&input, &wanted)) in [da, db].into_iter().zip(node.inputs.iter().zip(node.wanted)) {
            let shape = graph.shape(input);
            fitted.push(match gradient.filter(|_| wanted) {
                Some(gradient) => Some(graph.sum_to(gradient, shape)?),
                None => None,
            });
        }
        Ok(fitted)
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        let walk = walk(inputs, outputs[0]);
        let mut launch = Launch {
            shader: &BINARY,
            constants: vec![
                ("LEN", len as f64),
                ("OP", f64::from(*self as u8)),
                ("SAME", f64::from(u8::from(walk.rank == 1 && walk.row_strides() == [1, 1]))),
            ],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: grid(len.div_ceil(PER_WORKGROUP)),
        };
        walk.put_dims(&mut launch, &DIMS);
        walk.put_strides(&mut launch, 0, &A_STRIDES);
        walk.put_strides(&mut launch, 1, &B_STRIDES);
        vec![launch]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        let rank = inputs[0].shape.rank().max(inputs[1].shape.rank());
        let most = inputs.iter().filter(|spec| spec.shape.rank() == rank).map(|spec| spec.shape.dims().first());
        let most = most.max().flatten();
        let by_rows = |spec: &Spec| spec.shape.rank() == rank && spec.shape.dims().first() == most;
        Division::rows_of(&[by_rows(&inputs[0]), by_rows(&inputs[1])])
    }
}

fn walk(inputs: &[Spec], output: Spec) -> Walk<2> {
    let strides = |i: usize| broadcast_strides(inputs[i].shape, output.shape);
    Walk::new(output.shape.dims(), [strides(0), strides(1)])
}

impl Binary {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        // A loop for each operation, so that each is vectorised by itself.
        match self {
            Self::Add => binary(kernel, |a, b| a + b),
            Self::Subtract => binary(kernel, |a, b| a - b),
            Self::Multiply => binary(kernel, |a, b| a * b),
            Self::Divide => binary(kernel, |a, b| a / b),
            Self::Equal => binary(kernel, |a, b| if a == b { T::ONE } else { T::ZERO }),
            // Where b is NaN, `max` and `min` of `Real` would hide it.
            Self::Maximum => binary(kernel, |a, b| if b.is_nan() { b } else { a.max(b) }),
            Self::Minimum => binary(kernel, |a, b| if b.is_nan() { b } else { a.min(b) }),
            Self::Keep => binary(kernel, |a, b| if b == T::ZERO { T::ZERO } else { a }),
            Self::Portion => binary(kernel, |a, b| if b == T::ZERO { T::ZERO } else { a * b }),
            Self::Share => binary(kernel, |a, b| {
                if a == b {
                    T::from_f64(0.5)
                } else if a < b {
                    T::ZERO
                } else {
                    T::ONE
                }
            }),
        }
    }
}

#[inline(always)]
fn binary<T: Real>(kernel: &mut Kernel<'_, T>, f: impl Fn(T, T) -> T + Sync + Copy) {
    let walk = walk(kernel.input_specs(), kernel.output_spec(0));
    let (a, b, parallel) = (kernel.input(0), kernel.input(1), kernel.parallel());
    let row = walk.row();
    let [step_a, step_b] = walk.row_strides();
    // Short rows are bundled into a task, long ones are cut into pieces.
    let (per_task, pieces) = ((PER_TASK / row).max(1), row.div_ceil(PER_TASK));
    let blocks = Blocks::new(kernel.output(), row, [per_task, if pieces == 1 { row } else { PER_TASK }]);
    parallel.for_pieces(blocks, |_, mut c| {
        let start = c.columns().start;
        lanes::dispatch(
            #[inline(always)]
            || {
                walk.for_rows(c.rows(), |r, [at_a, at_b]| {
                    let c = c.row(r);
                    let (a, b) = (&a[at_a + start * step_a..], &b[at_b + start * step_b..]);
                    match (step_a, step_b) {
                        (1, 1) => c.iter_mut().zip(a.iter().zip(b)).for_each(|(c, (&a, &b))| *c = f(a, b)),
                        (1, 0) => c.iter_mut().zip(a).for_each(|(c, &a)| *c = f(a, b[0])),
                        (0, 1) => c.iter_mut().zip(b).for_each(|(c, &b)| *c = f(a[0], b)),
                        _ => c.iter_mut().enumerate().for_each(|(i, c)| *c = f(a[i * step_a], b[i * step_b])),
                    }
                });
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use crate::cpu::{CpuSession, Pool};
    use crate::graph::{Graph, Plan, Session, States, Target};
    use std::sync::Arc;

    /// As PyTorch has it: who is less gets nothing of an infinite gradient, not NaN.
    #[test]
    fn the_lesser_gets_nothing_of_an_infinite_gradient() -> crate::Result<()> {
        let states = Arc::new(States::new());
        let mut graph = Graph::new(states.clone());
        let (a, b) = (graph.input("a", [3])?, graph.input("b", [3])?);
        let greater = graph.maximum(a, b)?;
        let weight = graph.constant([1], vec![f64::INFINITY])?;
        let weighted = graph.multiply(greater, weight)?;
        let loss = graph.sum_all(weighted)?;
        for (name, gradient) in ["da", "db"].into_iter().zip(graph.gradients(loss, &[a, b])?) {
            graph.output(name, gradient)?;
        }
        let mut session = CpuSession::<f64>::new(states, Arc::new(Pool::new(1)))?;
        let id = session.add(Plan::new(graph, Target::Cpu)?)?;
        session.write_real(id, "a", &[1.0, 2.0, 3.0])?;
        session.write_real(id, "b", &[2.0, 2.0, 1.0])?;
        session.run(id)?;
        let infinite = f64::INFINITY;
        assert_eq!(session.output(id, "da")?, [0.0, infinite, infinite]);
        assert_eq!(session.output(id, "db")?, [infinite, infinite, 0.0]);
        Ok(())
    }
}
