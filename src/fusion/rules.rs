//! The rules that look at one node and its neighbours.

use super::{Head, HeadGradient, Rewrite, all, is, is_plane_mean, only_maker};
use crate::graph::{Graph, Node, Op, Source, Value};
use crate::ops::{
    BandSpectrum, BatchNormGradient, Conv2d, CrossEntropy, CrossEntropyGradient, Decibels, Excerpts, Expand, Fill,
    Linear, LinearWeightGradient, Mask, Matmul, Partial, Reduce, Relu, ReluGradient, Scale, Standardise, Warp,
};
use crate::tensor::Spec;
use std::sync::Arc;

/// `relu(conv2d(x))` becomes one convolution.
pub(super) fn conv_relu(graph: &mut Graph, number: usize, node: &Node) -> Option<Rewrite> {
    is::<Relu>(node)?;
    let (at, conv, conv_node) = only_maker::<Conv2d>(graph, node.inputs[0])?;
    let op = Arc::new(Conv2d { relu: true, ..conv });
    (!conv.relu).then(|| Rewrite::put(at, op, conv_node.inputs, node.outputs.clone()).without(&[number]))
}

/// `relu_gradient(batch_norm_gradient(..), y)` becomes one gradient, if the ReLU's result y is what the norm normalises.
pub(super) fn norm_relu(graph: &mut Graph, number: usize, node: &Node) -> Option<Rewrite> {
    is::<ReluGradient>(node)?;
    let (at, norm, norm_node) = only_maker::<BatchNormGradient>(graph, node.inputs[0])?;
    if norm.relu || norm_node.inputs[1] != node.inputs[1] {
        return None;
    }
    let outputs = vec![node.outputs[0], norm_node.outputs[1], norm_node.outputs[2]];
    let op = Arc::new(BatchNormGradient { relu: true, ..norm });
    Some(Rewrite::put(at, op, norm_node.inputs, outputs).without(&[number]))
}

/// `band_spectrum(excerpts(recordings, places))` reads the recordings itself.
pub(super) fn excerpts(graph: &mut Graph, number: usize, node: &Node) -> Option<Rewrite> {
    let spectrum = is::<BandSpectrum>(node)?;
    let (cut_number, cut, cut_node) = only_maker::<Excerpts>(graph, node.inputs[0])?;
    let op = Arc::new(spectrum.of_excerpts(cut)?);
    let [recordings, places] = [cut_node.inputs[0], cut_node.inputs[1]];
    let inputs = [&[recordings], &node.inputs[1..], &[places]].concat();
    Some(Rewrite::put(number, op, inputs, node.outputs.clone()).without(&[cut_number]))
}

/// What an operation on spectrograms needs of its input, if it is not handed that yet.
fn needed(node: &Node) -> Option<Partial> {
    // And as its input of which number it may be handed that.
    let (partial, number) = if is::<Decibels>(node).is_some() {
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
    (node.inputs.len() == number).then_some(partial)
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

/// What makes a spectrogram makes the reduction, too, that its reader begins with.
pub(super) fn hand_on(graph: &mut Graph, number: usize, reader: &Node) -> Option<Rewrite> {
    let partial = needed(reader)?;
    let (maker_number, maker) = graph.nodes().find(|(_, node)| node.outputs[0] == reader.inputs[0])?;
    let (op, spec) = handing_on(graph, maker, partial)?;
    let (inputs, y) = (maker.inputs.clone(), maker.outputs[0]);
    let handed = graph.fresh(spec);
    let reads = reader.inputs.iter().copied().chain([handed]).collect();
    let rewrite = Rewrite::put(maker_number, op, inputs, vec![y, handed]);
    Some(rewrite.and_put(number, reader.op.clone(), reads, reader.outputs.clone()))
}

/// Whether a value is there before node `number` runs.
fn there_before(graph: &Graph, value: Value, number: usize) -> bool {
    match graph.source(graph.base(value).0) {
        Source::Node { node, .. } => *node < number,
        Source::Pack(_) => false,
        _ => true,
    }
}

/// `cross_entropy(linear(plane_mean(x)))` becomes a [`Head`].
pub(super) fn head(graph: &mut Graph, number: usize, node: &Node) -> Option<Rewrite> {
    let (x, pooled) = (node.inputs[0], node.outputs[0]);
    if !is::<Reduce>(node).is_some_and(is_plane_mean) || graph.shape(x).rank() != 4 {
        return None;
    }
    let (linear_number, _, linear) = all::<Linear>(graph).into_iter().find(|(_, _, node)| node.inputs[0] == pooled)?;
    let scores = linear.outputs[0];
    let (loss_number, loss, entropy) =
        all::<CrossEntropy>(graph).into_iter().find(|(_, _, node)| node.inputs[0] == scores)?;
    let inputs = vec![x, linear.inputs[1], linear.inputs[2], entropy.inputs[1]];
    let early = inputs.iter().all(|&input| there_before(graph, input, number));
    // The items' own losses are not among the head's outputs.
    let items_unused = graph.uses()[entropy.outputs[2].index()] == 0;
    let outputs = vec![entropy.outputs[0], entropy.outputs[1], pooled, scores];
    let op = Arc::new(Head { smoothing: loss.smoothing });
    (early && items_unused).then(|| Rewrite::put(number, op, inputs, outputs).without(&[linear_number, loss_number]))
}

/// What [`Head`]'s gradient was made of becomes a [`HeadGradient`]: `dscores w`, divided by the pixels and spread over them, and the
/// gradients of the weights.
pub(super) fn head_gradient(graph: &mut Graph, number: usize, node: &Node) -> Option<Rewrite> {
    let gradient = is::<CrossEntropyGradient>(node)?;
    let log_probabilities = node.inputs[1];
    let (_, _, head) = all::<Head>(graph).into_iter().find(|(_, _, node)| node.outputs[1] == log_probabilities)?;
    let (w, pooled, dscores) = (head.inputs[1], head.outputs[2], node.outputs[0]);
    let (back_number, _, back) = all::<Matmul>(graph)
        .into_iter()
        .find(|(_, matmul, node)| !matmul.transpose_a && !matmul.transpose_b && node.inputs == [dscores, w])?;
    let (weights_number, _, weights) =
        all::<LinearWeightGradient>(graph).into_iter().find(|(_, _, node)| node.inputs == [pooled, dscores])?;
    // dscores w, seen as [N, C, 1, 1], divided by the pixels, spread over them.
    let dpooled = back.outputs[0];
    let plane = graph.shape(head.inputs[0]);
    let (share_number, _, share) = all::<Scale>(graph).into_iter().find(|(_, scale, node)| {
        let seen = matches!(graph.source(node.inputs[0]), Source::View { of, offset: 0 } if *of == dpooled);
        seen && (scale.factor * (plane[2] * plane[3]) as f64 - 1.0).abs() < 1e-12
    })?;
    let (spread_number, _, spread) = all::<Expand>(graph)
        .into_iter()
        .find(|(_, expand, node)| node.inputs[0] == share.outputs[0] && expand.shape == plane)?;
    let uses = graph.uses();
    let used = |value: Value| uses[value.index()];
    let private = used(dscores) == 2 && used(dpooled) == 1 && used(share.inputs[0]) == 1;
    if !private || used(share.outputs[0]) != 1 {
        return None;
    }
    let op = Arc::new(HeadGradient { smoothing: gradient.smoothing, plane: [plane[2], plane[3]] });
    let inputs = vec![node.inputs[0], log_probabilities, node.inputs[2], pooled, w];
    let outputs = vec![spread.outputs[0], weights.outputs[0], weights.outputs[1]];
    let taken = [back_number, weights_number, share_number, spread_number];
    Some(Rewrite::put(number, op, inputs, outputs).without(&taken))
}
