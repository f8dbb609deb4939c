//! Passes that put one operation in the place of several, so that fewer kernels are launched and less memory is read.
//!
//! They run on a finished graph, gradients included, before it is planned; each can be switched off, and
//! `tests/fusion.rs` holds fused against unfused graphs.

use super::items::Partial;
use super::{
    BandSpectrum, BatchNormGradient, Conv2d, CrossEntropy, CrossEntropyGradient, Decibels, Excerpts, Expand, Fill,
    Head, HeadGradient, Linear, LinearWeightGradient, Mask, Matmul, Reduce, Reduction, Relu, ReluGradient, Scale,
    Standardise, Warp,
};
use crate::error::Result;
use crate::graph::{Graph, Node, Op, Source, Target, Value};
use crate::tensor::Spec;
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
    /// A convolution with ReLU, the statistics of the norm after it, and the norm before it become one
    /// [`ConvBlock`](super::ConvBlock), their gradients a [`ConvBlockGradient`](super::ConvBlockGradient), which have kernels
    /// for the CPU alone. Needs the two above.
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

/// Makes these fusions wherever the graph allows them: where what falls away in between is used by nobody else.
///
/// # Errors
/// Never for a graph that was built through its own methods; a pass that would change shapes is refused.
pub fn fuse(graph: &mut Graph, fusions: Fusions) -> Result<()> {
    graph.remove_dead();
    if fusions.conv_relu {
        conv_relu(graph)?;
    }
    if fusions.norm_relu {
        norm_relu(graph)?;
    }
    if fusions.head {
        head(graph)?;
        head_gradient(graph)?;
    }
    if fusions.hand_on {
        hand_on(graph)?;
    }
    if fusions.excerpts {
        excerpts(graph)?;
    }
    if fusions.blocks {
        super::conv_block::blocks(graph)?;
    }
    Ok(())
}

fn is<T: Op>(node: &Node) -> Option<&T> {
    let op: &dyn Any = &*node.op;
    op.downcast_ref()
}

/// The nodes whose operation is a `T`, with their numbers.
pub(super) fn all<T: Op + Clone>(graph: &Graph) -> Vec<(usize, T, Node)> {
    graph.nodes().filter_map(|(i, node)| Some((i, is::<T>(node)?.clone(), node.clone()))).collect()
}

/// The live uses of values: nodes that are gone, and views that nobody looks at, do not count.
pub(super) fn users(graph: &Graph, value: Value) -> usize {
    graph.uses()[value.index()]
}

fn only_use(graph: &Graph, value: Value) -> bool {
    users(graph, value) == 1
}

/// The node that makes this value, if it is a `T` and the value its first output.
pub(super) fn maker<T: Op + Clone>(graph: &Graph, value: Value) -> Option<(usize, T, Node)> {
    all::<T>(graph).into_iter().find(|(_, _, node)| node.outputs[0] == value)
}

fn conv_relu(graph: &mut Graph) -> Result<()> {
    for (relu_number, _, relu) in all::<Relu>(graph) {
        let Some((number, conv, node)) = maker::<Conv2d>(graph, relu.inputs[0]) else { continue };
        if !conv.relu && only_use(graph, relu.inputs[0]) {
            graph.replace(number, Arc::new(Conv2d { relu: true, ..conv }), &node.inputs, &relu.outputs)?;
            graph.remove(relu_number);
        }
    }
    Ok(())
}

fn norm_relu(graph: &mut Graph) -> Result<()> {
    for (relu_number, _, relu) in all::<ReluGradient>(graph) {
        let Some((number, norm, node)) = maker::<BatchNormGradient>(graph, relu.inputs[0]) else { continue };
        // The ReLU's output must be what batch norm normalises.
        if !norm.relu && node.inputs[1] == relu.inputs[1] && only_use(graph, relu.inputs[0]) {
            let outputs = [relu.outputs[0], node.outputs[1], node.outputs[2]];
            graph.replace(number, Arc::new(BatchNormGradient { relu: true, ..norm }), &node.inputs, &outputs)?;
            graph.remove(relu_number);
        }
    }
    Ok(())
}

fn excerpts(graph: &mut Graph) -> Result<()> {
    for (number, spectrum, node) in all::<BandSpectrum>(graph) {
        let Some((cut_number, cut, cut_node)) = maker::<Excerpts>(graph, node.inputs[0]) else { continue };
        let Some(op) = spectrum.of_excerpts(cut).filter(|_| only_use(graph, node.inputs[0])) else { continue };
        let [recordings, places] = [cut_node.inputs[0], cut_node.inputs[1]];
        let inputs = [&[recordings], &node.inputs[1..], &[places]].concat();
        graph.replace(number, Arc::new(op), &inputs, &node.outputs)?;
        graph.remove(cut_number);
    }
    Ok(())
}

/// What an operation on spectrograms needs of its input, and as its input of which number it may be handed that.
fn needed(node: &Node) -> Option<(Partial, usize)> {
    let needed = if is::<Decibels>(node).is_some() {
        (Partial::Max, 1)
    } else if is::<Mask>(node).is_some_and(|mask| mask.fill == Fill::ItemMean) {
        (Partial::Sum, 3)
    } else if is::<Warp>(node).is_some() {
        (Partial::Min, 2)
    } else if is::<Standardise>(node).is_some() {
        (Partial::Moments, 1)
    } else {
        return None;
    };
    (node.inputs.len() == needed.1).then_some(needed)
}

/// The same operation with `partial` as a further output, if it can do that and does not hand anything on yet; and the shape.
fn handing_on(graph: &Graph, node: &Node, partial: Partial) -> Option<(Arc<dyn Op>, Spec)> {
    let y = graph.spec(node.outputs[0]);
    let hands_on = Some(partial);
    if let Some(op) = is::<BandSpectrum>(node) {
        let frames = Spec::real([y.shape[0], y.shape[1] * y.shape[3]]);
        return if partial == Partial::Max { Some((Arc::new(op.with_maxima()?), frames)) } else { None };
    }
    let op: Arc<dyn Op> = match (is::<Decibels>(node), is::<Mask>(node), is::<Warp>(node)) {
        (Some(&op), ..) if op.hands_on.is_none() => Arc::new(Decibels { hands_on, ..op }),
        (_, Some(&op), _) if op.hands_on.is_none() => Arc::new(Mask { hands_on, ..op }),
        (.., Some(&op)) if op.hands_on.is_none() => Arc::new(Warp { hands_on }),
        _ => return None,
    };
    Some((op, partial.spec(&y)))
}

fn hand_on(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<usize> = graph.nodes().map(|(number, _)| number).collect();
    for number in nodes {
        let Some(reader) = graph.nodes().find(|(i, _)| *i == number).map(|(_, node)| node.clone()) else { continue };
        let Some((partial, _)) = needed(&reader) else { continue };
        let maker = graph.nodes().find(|(_, node)| node.outputs[0] == reader.inputs[0]);
        let Some((maker_number, maker)) = maker.map(|(number, node)| (number, node.clone())) else { continue };
        let Some((op, spec)) = handing_on(graph, &maker, partial) else { continue };
        let handed = graph.fresh(spec);
        graph.replace(maker_number, op, &maker.inputs, &[maker.outputs[0], handed])?;
        let inputs: Vec<Value> = reader.inputs.iter().copied().chain([handed]).collect();
        graph.replace(number, reader.op.clone(), &inputs, &reader.outputs)?;
    }
    Ok(())
}

/// Whether a value is there before node `number` runs.
fn there_before(graph: &Graph, value: Value, number: usize) -> bool {
    match graph.source(graph.base(value).0) {
        Source::Node { node, .. } => *node < number,
        Source::Pack(_) => false,
        _ => true,
    }
}

/// Whether a reduction of `[N, C, H, W]` is the mean over each plane, as `[N, C]`.
pub(super) fn is_plane_mean(reduce: &Reduce) -> bool {
    reduce.reduction == Reduction::Mean && !reduce.keep && (reduce.axes == [2, 3] || reduce.axes == [3, 2])
}

fn head(graph: &mut Graph) -> Result<()> {
    for (number, mean, reduce) in all::<Reduce>(graph) {
        let x = reduce.inputs[0];
        if graph.shape(x).rank() != 4 || !is_plane_mean(&mean) {
            continue;
        }
        let pooled = reduce.outputs[0];
        let linear = all::<Linear>(graph).into_iter().find(|(_, _, node)| node.inputs[0] == pooled);
        let Some((linear_number, _, linear)) = linear else { continue };
        let scores = linear.outputs[0];
        let loss = all::<CrossEntropy>(graph).into_iter().find(|(_, _, node)| node.inputs[0] == scores);
        let Some((loss_number, loss, entropy)) = loss else { continue };
        let inputs = [x, linear.inputs[1], linear.inputs[2], entropy.inputs[1]];
        let early = inputs.iter().all(|&input| there_before(graph, input, number));
        // The items' own losses are not among the head's outputs.
        let items_unused = graph.uses()[entropy.outputs[2].index()] == 0;
        if early && items_unused {
            let outputs = [entropy.outputs[0], entropy.outputs[1], pooled, scores];
            graph.replace(number, Arc::new(Head { smoothing: loss.smoothing }), &inputs, &outputs)?;
            graph.remove(linear_number);
            graph.remove(loss_number);
        }
    }
    Ok(())
}

fn head_gradient(graph: &mut Graph) -> Result<()> {
    for (number, gradient, entropy) in all::<CrossEntropyGradient>(graph) {
        let log_probabilities = entropy.inputs[1];
        let head = all::<Head>(graph).into_iter().find(|(_, _, node)| node.outputs[1] == log_probabilities);
        let Some((_, _, head)) = head else { continue };
        let (w, pooled, dscores) = (head.inputs[1], head.outputs[2], entropy.outputs[0]);
        let back = all::<Matmul>(graph)
            .into_iter()
            .find(|(_, matmul, node)| !matmul.transpose_a && !matmul.transpose_b && node.inputs == [dscores, w]);
        let weights =
            all::<LinearWeightGradient>(graph).into_iter().find(|(_, _, node)| node.inputs == [pooled, dscores]);
        let (Some((back_number, _, back)), Some((weights_number, _, weights))) = (back, weights) else { continue };
        // dscores w, seen as [N, C, 1, 1], divided by the pixels, spread over them.
        let dpooled = back.outputs[0];
        let plane = graph.shape(head.inputs[0]);
        let share = all::<Scale>(graph).into_iter().find(|(_, scale, node)| {
            let seen = matches!(graph.source(node.inputs[0]), Source::View { of, offset: 0 } if *of == dpooled);
            seen && (scale.factor * (plane[2] * plane[3]) as f64 - 1.0).abs() < 1e-12
        });
        let Some((share_number, _, share)) = share else { continue };
        let spread = all::<Expand>(graph)
            .into_iter()
            .find(|(_, expand, node)| node.inputs[0] == share.outputs[0] && expand.shape == plane);
        let Some((spread_number, _, spread)) = spread else { continue };
        let uses = graph.uses();
        let used = |value: Value| uses[value.index()];
        let private = used(dscores) == 2 && used(dpooled) == 1 && used(share.inputs[0]) == 1;
        if private && used(share.outputs[0]) == 1 {
            let op = HeadGradient { smoothing: gradient.smoothing, plane: [plane[2], plane[3]] };
            let inputs = [entropy.inputs[0], log_probabilities, entropy.inputs[2], pooled, w];
            let outputs = [spread.outputs[0], weights.outputs[0], weights.outputs[1]];
            graph.replace(number, Arc::new(op), &inputs, &outputs)?;
            [back_number, weights_number, share_number, spread_number].into_iter().for_each(|n| graph.remove(n));
        }
    }
    Ok(())
}
