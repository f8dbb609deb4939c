//! Fusion: rules that put one operation in the place of several, so that fewer kernels are launched and less memory is read; and the
//! operations that only these rules make.
//!
//! The rules run on a finished graph, gradients included, before it is planned, in the order of a table: each looks at one node
//! and says what takes its place, or nothing. Each can be switched off, and `tests/fusion.rs` holds fused against unfused graphs.
//!
//! ```
//! use humdinger::fusion::{Fusions, fuse};
//! use humdinger::graph::{Graph, Target};
//!
//! let mut graph = Graph::default();
//! let x = graph.input("x", [1, 1, 4, 4])?;
//! let w = graph.input("w", [8, 1, 3, 3])?;
//! let y = graph.conv2d(x, w, None, Default::default())?;
//! let y = graph.relu(y)?;
//! graph.output("y", y)?;
//! fuse(&mut graph, Fusions::for_target(Target::Cpu))?;
//! // The convolution has taken over the ReLU.
//! assert_eq!(graph.nodes().count(), 1);
//! # Ok::<(), humdinger::Error>(())
//! ```

mod conv_block;
mod head;
mod rules;

pub use conv_block::{BlockMean, BlockMeanGradient, BlockOutput, ConvBlock, ConvBlockGradient, Entry};
pub use head::{Head, HeadGradient};

use crate::error::Result;
use crate::graph::{Graph, Node, Op, Target, Value};
use crate::ops::{Reduce, Reduction};
use std::any::Any;
use std::sync::Arc;

/// Which fusions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fusions {
    /// A convolution takes over the ReLU that follows it.
    pub conv_relu: bool,
    /// The gradient of batch norm takes over that of the ReLU before it.
    pub norm_relu: bool,
    /// Mean over the planes, linear layer and cross-entropy, and their gradients, become [`Head`] and [`HeadGradient`].
    pub head: bool,
    /// A convolution with ReLU, the statistics of the norm after it, and the norm before it become one [`ConvBlock`], their
    /// gradients a [`ConvBlockGradient`], which have kernels for the CPU alone. Needs the first two.
    pub blocks: bool,
    /// A spectrum cuts its frames out of recordings itself, for the CPU alone: the bits stay the same.
    pub excerpts: bool,
    /// What makes a spectrogram hands the reductions on that the operation after it needs of it: the bits stay the same.
    pub hand_on: bool,
}

impl Fusions {
    /// None.
    pub const NONE: Self =
        Self { conv_relu: false, norm_relu: false, head: false, blocks: false, excerpts: false, hand_on: false };

    /// All that pay on this target. Head and spectrogram are left alone on the CPU, where there is no launch to save.
    pub fn for_target(target: Target) -> Self {
        let gpu = target == Target::Gpu;
        Self { conv_relu: true, norm_relu: true, head: gpu, blocks: !gpu, excerpts: !gpu, hand_on: gpu }
    }
}

/// Whether a rule is wanted.
type Wanted = fn(Fusions) -> bool;

/// What a rule does with the graph.
enum Rule {
    /// Looks at a node, and says what is to be changed. It may ask for [fresh](Graph::fresh) values, and changes nothing itself.
    Node(fn(&mut Graph, usize, &Node) -> Option<Rewrite>),
    /// Goes through the whole graph, since what it makes of a node depends on what it has made of others.
    Graph(fn(&mut Graph) -> Result<()>),
}

/// All rules, in the order in which they are tried, and what switches each on.
const RULES: [(Wanted, Rule); 7] = [
    (|fusions| fusions.conv_relu, Rule::Node(rules::conv_relu)),
    (|fusions| fusions.norm_relu, Rule::Node(rules::norm_relu)),
    (|fusions| fusions.head, Rule::Node(rules::head)),
    (|fusions| fusions.head, Rule::Node(rules::head_gradient)),
    (|fusions| fusions.hand_on, Rule::Node(rules::hand_on)),
    (|fusions| fusions.excerpts, Rule::Node(rules::excerpts)),
    (|fusions| fusions.blocks, Rule::Graph(conv_block::blocks)),
];

/// Makes these fusions wherever the graph allows them: where no other node uses what is no longer computed.
///
/// # Errors
/// Never for a graph that was built through its own methods; a rule that would change shapes is refused.
pub fn fuse(graph: &mut Graph, fusions: Fusions) -> Result<()> {
    graph.remove_dead();
    for (wanted, rule) in RULES {
        match rule {
            _ if !wanted(fusions) => {}
            Rule::Graph(pass) => pass(graph)?,
            Rule::Node(rule) => {
                let numbers: Vec<usize> = graph.nodes().map(|(number, _)| number).collect();
                for number in numbers {
                    // An earlier one of these nodes may have taken this one over.
                    let Some(node) = graph.nodes().find(|(i, _)| *i == number).map(|(_, node)| node.clone()) else {
                        continue;
                    };
                    if let Some(rewrite) = rule(graph, number, &node) {
                        rewrite.apply(graph)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What a rule changes: nodes that get another operation, and nodes that are taken over by those.
struct Rewrite {
    put: Vec<(usize, Node)>,
    remove: Vec<usize>,
}

impl Rewrite {
    /// Puts `op` in the place of node `number`, with these inputs, making these values.
    fn put(number: usize, op: Arc<dyn Op>, inputs: Vec<Value>, outputs: Vec<Value>) -> Self {
        Self { put: vec![(number, Node { op, inputs, outputs })], remove: Vec::new() }
    }

    /// And another one.
    fn and_put(mut self, number: usize, op: Arc<dyn Op>, inputs: Vec<Value>, outputs: Vec<Value>) -> Self {
        self.put.push((number, Node { op, inputs, outputs }));
        self
    }

    /// Removes nodes whose results are no longer needed, or are made by a node that was added.
    fn without(mut self, numbers: &[usize]) -> Self {
        self.remove.extend(numbers);
        self
    }

    fn apply(self, graph: &mut Graph) -> Result<()> {
        for (number, Node { op, inputs, outputs }) in self.put {
            graph.replace(number, op, &inputs, &outputs)?;
        }
        self.remove.into_iter().for_each(|number| graph.remove(number));
        Ok(())
    }
}

/// The node's operation, if it is a `T`.
fn is<T: Op>(node: &Node) -> Option<&T> {
    let op: &dyn Any = &*node.op;
    op.downcast_ref()
}

/// The nodes whose operation is a `T`, with their numbers.
fn all<T: Op + Clone>(graph: &Graph) -> Vec<(usize, T, Node)> {
    graph.nodes().filter_map(|(i, node)| Some((i, is::<T>(node)?.clone(), node.clone()))).collect()
}

/// The live uses of a value: removed nodes, and views that no node reads, do not count.
fn users(graph: &Graph, value: Value) -> usize {
    graph.uses()[value.index()]
}

/// The node that makes this value, if it is a `T` and the value its first output.
fn maker<T: Op + Clone>(graph: &Graph, value: Value) -> Option<(usize, T, Node)> {
    all::<T>(graph).into_iter().find(|(_, _, node)| node.outputs[0] == value)
}

/// The same, if the value has one user alone.
fn only_maker<T: Op + Clone>(graph: &Graph, value: Value) -> Option<(usize, T, Node)> {
    maker(graph, value).filter(|_| users(graph, value) == 1)
}

/// Whether a reduction of `[N, C, H, W]` is the mean over each plane, as `[N, C]`.
fn is_plane_mean(reduce: &Reduce) -> bool {
    reduce.reduction == Reduction::Mean && !reduce.keep && (reduce.axes == [2, 3] || reduce.axes == [3, 2])
}
