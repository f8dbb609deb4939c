//! What passes over a finished graph are made of: counting uses, and replacing and removing nodes.

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

    /// For passes: puts `op` in the place of node `number`, with these inputs, making these existing values. Values that
    /// the old node made and that are not listed are gone. Every input must have been made before every output.
    ///
    /// # Errors
    /// Where the shape rule gives other shapes than the values have.
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

    /// For passes: takes a node away whose outputs nobody needs any more, or another node makes now.
    pub fn remove(&mut self, number: usize) {
        self.nodes[number] = None;
    }

    /// For passes: a new value that some node is then [made](Graph::replace) to compute.
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
