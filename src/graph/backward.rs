//! Reverse-mode differentiation, which adds the nodes of the gradients to the same graph.

use super::{Gradient, Graph, Node, Source, Value};
use crate::error::{Error, Result};
use crate::tensor::DType;

/// Adds two values. It is a parameter because the graph knows no operations.
pub type Add = fn(&mut Graph, Value, Value) -> Result<Value>;

impl Graph {
    /// The gradient of `loss` (one element) with respect to each of `wrt`, by reverse accumulation: every node's gradient
    /// rule is applied once, from the loss backwards, to the sum of the gradients of its outputs.
    /// [`Graph::gradients`] is this with the operation `add`.
    ///
    /// # Errors
    /// If the loss has more than one element, does not depend on one of `wrt`, or depends on it through an operation that
    /// has no gradient.
    pub fn backpropagate(&mut self, loss: Value, wrt: &[Value], add: Add) -> Result<Vec<Value>> {
        let shape = self.shape(loss);
        if shape.elements() != 1 {
            return Err(Error::op("gradients", format!("the loss must have one element, not shape {shape}")));
        }
        let needed = self.depends_on(wrt);
        let mut gradients: Vec<Option<Value>> = vec![None; loss.index() + 1];
        gradients[loss.index()] = Some(self.constant(shape, vec![1.0])?);

        for index in (0..=loss.index()).rev() {
            let Some(gradient) = gradients[index] else {
                // The first output of a node stands for the whole node; another one may still carry a gradient.
                if !self.carries_later_gradient(index, &gradients) {
                    continue;
                }
                self.through_node(index, &needed, &mut gradients, add)?;
                continue;
            };
            if !needed[index] {
                continue;
            }
            match self.values[index].source.clone() {
                Source::View { of, offset } => {
                    if !needed[of.index()] {
                        continue;
                    }
                    let whole = self.spec(of).shape;
                    if offset != 0 || whole.elements() != self.values[index].spec.shape.elements() {
                        let detail = "ask for the gradient of each state by itself, not of its whole group";
                        return Err(Error::op("gradients", detail));
                    }
                    let back = self.reshape(gradient, whole)?;
                    accumulate(self, &mut gradients, of, back, add)?;
                }
                Source::Node { output: 0, .. } => self.through_node(index, &needed, &mut gradients, add)?,
                Source::Pack(_) => return super::no_gradient("pack"),
                _ => {}
            }
        }
        let found = |&value: &Value| {
            gradients.get(value.index()).copied().flatten().ok_or_else(|| {
                let name = self.state_views.iter().find(|&(_, &v)| v == value).map_or("a value", |(name, _)| name);
                Error::op("gradients", format!("the loss does not depend on {name} of shape {}", self.shape(value)))
            })
        };
        wrt.iter().map(found).collect()
    }

    fn carries_later_gradient(&self, index: usize, gradients: &[Option<Value>]) -> bool {
        let Source::Node { node, output: 0 } = self.values[index].source else { return false };
        self.nodes[node]
            .iter()
            .flat_map(|node| &node.outputs)
            .any(|v| gradients.get(v.index()).copied().flatten().is_some())
    }

    fn through_node(
        &mut self,
        first_output: usize,
        needed: &[bool],
        gradients: &mut [Option<Value>],
        add: Add,
    ) -> Result<()> {
        let Source::Node { node, .. } = self.values[first_output].source else { return Ok(()) };
        let Some(Node { op, inputs, outputs }) = self.nodes[node].clone() else { return Ok(()) };
        let arriving: Vec<Option<Value>> =
            outputs.iter().map(|v| gradients.get(v.index()).copied().flatten()).collect();
        let wanted: Vec<bool> = inputs
            .iter()
            .map(|v| needed.get(v.index()).copied().unwrap_or(false) && self.spec(*v).dtype == DType::Real)
            .collect();
        if !wanted.contains(&true) {
            return Ok(());
        }
        let rule = Gradient { inputs: &inputs, outputs: &outputs, arriving: &arriving, wanted: &wanted };
        let made = op.gradient(self, &rule)?;
        for ((&input, gradient), wanted) in inputs.iter().zip(made).zip(wanted) {
            let Some(gradient) = gradient.filter(|_| wanted) else { continue };
            if self.spec(gradient) != self.spec(input) {
                let detail = format!(
                    "its gradient rule gave shape {} for an input of {}",
                    self.shape(gradient),
                    self.shape(input)
                );
                return Err(Error::op(op.name(), detail));
            }
            accumulate(self, gradients, input, gradient, add)?;
        }
        Ok(())
    }

    /// For every value, whether it depends on one of `wrt`.
    fn depends_on(&self, wrt: &[Value]) -> Vec<bool> {
        let mut depends = vec![false; self.values.len()];
        for (index, definition) in self.values.iter().enumerate() {
            depends[index] = wrt.contains(&Value(index as u32))
                || match &definition.source {
                    Source::View { of, .. } => depends[of.index()],
                    Source::Pack(parts) => parts.iter().any(|(part, _)| depends[part.index()]),
                    Source::Node { node, .. } => {
                        self.nodes[*node].iter().flat_map(|node| &node.inputs).any(|input| depends[input.index()])
                    }
                    _ => false,
                };
        }
        depends
    }
}

fn accumulate(
    graph: &mut Graph,
    gradients: &mut [Option<Value>],
    value: Value,
    gradient: Value,
    add: Add,
) -> Result<()> {
    let sum = match gradients[value.index()] {
        Some(other) => add(graph, other, gradient)?,
        None => gradient,
    };
    gradients[value.index()] = Some(sum);
    Ok(())
}
