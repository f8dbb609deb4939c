//! The pass that makes blocks.
//!
//! Block after block, in the order of the graph: a block can be made where its input is another block's output,
//! or where it is not and no gradient with respect to it is needed. The values between blocks change their layout; what leaves the
//! last block is brought back by [`BlockOutput`](super::BlockOutput), unless all that is wanted of it is the mean over its planes.

use super::pooled::{BlockMean, BlockMeanGradient};
use super::{BlockOutput, ConvBlock, ConvBlockGradient, Entry, SUMS, rows};
use crate::error::Result;
use crate::fusion::{all, is_plane_mean, maker, users};
use crate::graph::{Graph, Node, Value};
use crate::ops::{
    BatchNorm, BatchNormEvaluate, BatchNormGradient, Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvSizes,
    Expand, Permute, Reduce,
};
use crate::tensor::Spec;
use std::sync::Arc;

/// A convolution with bias and ReLU, the norm after it, and their gradients.
struct Found {
    conv: (usize, Conv2d, Node),
    norm: (usize, Node),
    momentum: Option<f64>,
    epsilon: f64,
    gradients: Option<Gradients>,
}

struct Gradients {
    norm: (usize, BatchNormGradient, Node),
    input: Option<(usize, Node)>,
    weight: (usize, ConvSizes, Node),
}

/// A block that was made: what the next one reads.
struct Made {
    /// The output of the norm, which is no longer computed.
    y: Value,
    r: Value,
    saved: Value,
    gamma: Value,
    beta: Value,
    /// The gradient with respect to y, where there is one.
    dy: Option<Value>,
    /// The node that may make y again, if anybody but blocks reads it.
    norm_number: usize,
}

/// The gradient with respect to the output of a block's norm, as the block after it makes it.
struct Arriving {
    old: Value,
    new: Value,
    sums: Value,
}

/// Puts blocks in the place of convolutions, norms and their gradients.
pub(in crate::fusion) fn blocks(graph: &mut Graph) -> Result<()> {
    let mut made: Vec<Made> = Vec::new();
    // The gradient with respect to a block's norm, where the block after it makes it.
    let mut arriving: Vec<Arriving> = Vec::new();
    let mut gradients = Vec::new();
    for (number, conv, node) in all::<Conv2d>(graph) {
        let Some(found) = find(graph, number, conv, node) else { continue };
        let before = made.iter().find(|block| block.y == found.conv.2.inputs[0]);
        // The gradient with respect to the input goes to the norm of the block before, in the blocks' layout, and nowhere
        // else.
        let dx =
            found.gradients.as_ref().and_then(|gradients| gradients.input.as_ref()).map(|(_, node)| node.outputs[0]);
        let fits = match dx {
            None => true,
            Some(dx) => before.is_some_and(|block| block.dy == Some(dx)) && users(graph, dx) == 1,
        };
        // A block that has gradients passes one on.
        if !fits || (dx.is_none() && before.is_some_and(|block| block.dy.is_some())) {
            continue;
        }
        // A block that learns behind one that does not reads the other's result as it is written, and hands no gradient on.
        let before = before.filter(|_| dx.is_some() || found.gradients.is_none());
        let (block, more) = forward(graph, &found, before)?;
        gradients.extend(found.gradients.map(|found| (found, more, made.len())));
        made.push(block);
    }
    for (found, more, i) in gradients.into_iter().rev() {
        let dx = backward(graph, found, &more, &made[i], &arriving)?;
        arriving.extend(dx);
    }
    for block in made {
        let inputs = [block.r, block.saved, block.gamma, block.beta];
        if let Some((number, mean)) = plane_means(graph, block.y) {
            graph.remove(block.norm_number);
            graph.replace(number, Arc::new(BlockMean), &inputs, &mean.outputs)?;
        } else if users(graph, block.y) > 0 {
            graph.replace(block.norm_number, Arc::new(BlockOutput), &inputs, &[block.y])?;
        } else {
            graph.remove(block.norm_number);
        }
    }
    Ok(())
}

fn find(graph: &Graph, number: usize, conv: Conv2d, node: Node) -> Option<Found> {
    let plain = conv.options.groups == 1;
    if !(plain && conv.bias && conv.relu) {
        return None;
    }
    let r = node.outputs[0];
    let train = all::<BatchNorm>(graph).into_iter().find(|(_, _, norm)| norm.inputs[0] == r);
    let (norm, momentum, epsilon) = match train {
        Some((number, norm, node)) => ((number, node), Some(norm.momentum), norm.epsilon),
        None => {
            let (number, norm, node) =
                all::<BatchNormEvaluate>(graph).into_iter().find(|(_, _, n)| n.inputs[0] == r)?;
            ((number, node), None, norm.epsilon)
        }
    };
    let saved = norm.1.outputs[1];
    let gradients = all::<BatchNormGradient>(graph).into_iter().find(|(_, _, node)| node.inputs[3] == saved);
    let gradients = match gradients {
        None => None,
        Some(norm) => {
            let g = norm.2.outputs[0];
            let weight = all::<Conv2dWeightGradient>(graph).into_iter().find(|(_, _, node)| node.inputs[1] == g)?;
            let input = all::<Conv2dInputGradient>(graph).into_iter().find(|(_, _, node)| node.inputs[0] == g);
            // g must be a gradient with respect to the convolution's result, and used for nothing else.
            let expected = 1 + usize::from(input.is_some());
            if !norm.1.relu || !weight.1.bias || users(graph, g) != expected {
                return None;
            }
            let (input, weight) = (input.map(|(number, _, node)| (number, node)), (weight.0, weight.1.sizes, weight.2));
            Some(Gradients { norm, input, weight })
        }
    };
    // r is read by the norm and its gradient alone, and the statistics by the latter.
    let backward = usize::from(gradients.is_some());
    let private = users(graph, r) == 1 + backward && users(graph, saved) == backward;
    private.then_some(Found { conv: (number, conv, node), norm, momentum, epsilon, gradients })
}

/// The node that takes the mean over each of a value's planes, if no other node reads the value.
fn plane_means(graph: &Graph, y: Value) -> Option<(usize, Node)> {
    let (number, _, node) =
        all::<Reduce>(graph).into_iter().find(|(_, reduce, node)| node.inputs[0] == y && is_plane_mean(reduce))?;
    (users(graph, y) == 1).then_some((number, node))
}

/// The node that repeats one number over each of a value's planes, if no other node reads the value.
fn spread(graph: &Graph, dy: Value) -> Option<(usize, Node)> {
    let (number, _, node) = maker::<Expand>(graph, dy)?;
    let (from, to) = (graph.shape(node.inputs[0]), graph.shape(dy));
    (users(graph, dy) == 1 && from.dims() == [to[0], to[1], 1, 1]).then_some((number, node))
}

/// Makes the block; returns it, and the inputs and entry that its gradient shares with it.
fn forward(graph: &mut Graph, found: &Found, before: Option<&Made>) -> Result<(Made, (Entry, Vec<Value>))> {
    let (number, conv, node) = &found.conv;
    let (norm_number, norm) = &found.norm;
    let (x, entry, mut more) = match before {
        None => (node.inputs[0], Entry::Planes, Vec::new()),
        Some(block) => (block.r, Entry::Block, vec![block.saved, block.gamma, block.beta]),
    };
    let old = graph.shape(node.outputs[0]);
    let r = graph.fresh(rows(old));
    let mut inputs = vec![x, node.inputs[1], node.inputs[2], norm.inputs[3], norm.inputs[4]];
    inputs.append(&mut more.clone());
    let outputs: Vec<Value> = std::iter::once(r).chain(norm.outputs[1..].iter().copied()).collect();
    let op = ConvBlock { options: conv.options, momentum: found.momentum, epsilon: found.epsilon, entry };
    graph.replace(*number, Arc::new(op), &inputs, &outputs)?;
    let [gamma, beta] = [norm.inputs[1], norm.inputs[2]];
    let block = Made {
        y: norm.outputs[0],
        r,
        saved: norm.outputs[1],
        gamma,
        beta,
        dy: found.gradients.as_ref().map(|gradients| gradients.norm.2.inputs[0]),
        norm_number: *norm_number,
    };
    let mut shared = vec![x, node.inputs[1]];
    shared.append(&mut more);
    Ok((block, (entry, shared)))
}

/// Makes the gradient; returns the gradient with respect to the norm before.
fn backward(
    graph: &mut Graph,
    found: Gradients,
    (entry, shared): &(Entry, Vec<Value>),
    block: &Made,
    arriving: &[Arriving],
) -> Result<Option<Arriving>> {
    let (norm_number, norm, node) = found.norm;
    let old = node.inputs[0];
    let known = arriving.iter().find(|arriving| arriving.old == old);
    let (dy, sums) = match known {
        Some(arriving) => {
            graph.remove(norm_number);
            (arriving.new, Some(arriving.sums))
        }
        None => {
            let dy = graph.fresh(rows(graph.shape(old)));
            if let Some((number, expand)) = spread(graph, old) {
                let sums = graph.fresh(Spec::real([SUMS, graph.shape(old)[1]]));
                let inputs = [expand.inputs[0], block.r, block.saved];
                graph.replace(norm_number, Arc::new(BlockMeanGradient), &inputs, &[dy, sums])?;
                graph.remove(number);
                (dy, Some(sums))
            } else {
                graph.replace(norm_number, Arc::new(Permute { order: vec![0, 2, 3, 1] }), &[old], &[dy])?;
                (dy, None)
            }
        }
    };
    let (weight_number, sizes, weight) = found.weight;
    let mut inputs = vec![dy, block.r, block.saved, block.gamma];
    inputs.extend(shared);
    inputs.extend(sums);
    let mut outputs = vec![weight.outputs[0], weight.outputs[1], node.outputs[1], node.outputs[2]];
    let (number, dx) = match found.input {
        None => (weight_number, None),
        Some((input_number, input)) => {
            let old = input.outputs[0];
            let new: Value = graph.fresh(Spec::real(rows(graph.shape(old)).shape));
            let sums = graph.fresh(Spec::real([SUMS, sizes.in_channels]));
            outputs.extend([new, sums]);
            // Whichever of the two comes first: what uses their results comes after both.
            let (first, second) = (input_number.min(weight_number), input_number.max(weight_number));
            graph.remove(second);
            (first, Some(Arriving { old, new, sums }))
        }
    };
    let op = ConvBlockGradient { sizes, training: norm.training, measured: sums.is_some(), entry: *entry };
    graph.replace(number, Arc::new(op), &inputs, &outputs)?;
    Ok(dx)
}
