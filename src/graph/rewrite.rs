//! Tools for passes over a finished graph: counting uses, and replacing and removing nodes.

use super::{Graph, Node, Op, Source, check};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::tensor::Spec;
use std::sync::Arc;

impl Graph {
    /// How often each value is used: by nodes, views, packs, as an output, or to be assigned.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        let mut count = |value: Value| uses[value.index()] += 1;
        self.nodes().flat_map(|(_, node)| &node.inputs).for_each(|&value| count(value));
        self.outputs.iter().for_each(|&(_, value)| count(value));
        self.assignments.iter().for_each(|&(_, value)| count(value));
        for definition in &self.values {
            match &definition.source {
                Source::View { of, .. } => count(*of),
                Source::Pack(parts) => parts.iter().for_each(|&(value, _)| count(value)),
                _ => {}
            }
        }
        uses
    }

    /// For passes: replaces node `number` by `op`, with these inputs and these existing values as outputs. Outputs
    /// of the old node that are not listed no longer exist. Every input must have been created before every output.
    ///
    /// # Errors
    /// If the shape rule gives other shapes than the values have.
    pub fn replace(&mut self, number: usize, op: Arc<dyn Op>, inputs: &[Value], outputs: &[Value]) -> Result<()> {
        let specs: Vec<Spec> = inputs.iter().map(|&value| self.spec(value)).collect();
        let made = op.outputs(&specs)?;
        if made.len() != outputs.len() || made.iter().zip(outputs).any(|(spec, &value)| *spec != self.spec(value)) {
            return Err(Error::op(op.name(), "a pass replaced a node by one with other outputs"));
        }
        check::updates(&*op, &specs, &made)?;
        for (output, &value) in outputs.iter().enumerate() {
            self.values[value.index()].source = Source::Node { node: number, output };
        }
        self.nodes[number] = Some(Node { op, inputs: inputs.to_vec(), outputs: outputs.to_vec() });
        Ok(())
    }

    /// For passes: removes a node whose outputs are no longer used, or are computed by another node now.
    pub fn remove(&mut self, number: usize) {
        self.nodes[number] = None;
    }

    /// For passes: a new value, which a node will then compute (see [`Graph::replace`]).
    pub fn fresh(&mut self, spec: Spec) -> Value {
        self.define(spec, Source::Node { node: usize::MAX, output: 0 })
    }

    /// The pass that removes every node on which no output and no assignment depends.
    pub fn remove_dead(&mut self) {
        let mut live = vec![false; self.values.len()];
        let mut stack: Vec<Value> = self.outputs.iter().map(|&(_, value)| value).collect();
        stack.extend(self.assignments.iter().map(|&(_, value)| value));
        while let Some(value) = stack.pop() {
            if std::mem::replace(&mut live[value.index()], true) {
                continue;
            }
            match self.source(value) {
                Source::View { of, .. } => stack.push(*of),
                Source::Pack(parts) => stack.extend(parts.iter().map(|&(part, _)| part)),
                Source::Node { node, .. } => stack.extend(self.nodes[*node].iter().flat_map(|node| &node.inputs)),
                Source::Input(_) | Source::Constant(_) | Source::State(_) => {}
            }
        }
        for node in &mut self.nodes {
            let dead = node.as_ref().is_some_and(|node| !node.outputs.iter().any(|output| live[output.index()]));
            if dead {
                *node = None;
            }
        }
    }
}
