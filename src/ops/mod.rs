//! The operations: one file each, with its meaning, shape rule, gradient, CPU kernel, GPU launch and
//! cost. Its WGSL kernel is the file of the same name in `shaders/`. Each adds its builder method to [`Graph`].

mod across;
mod adam;
mod adaptive_avg_pool2d;
mod avg_pool2d;
mod batch_norm;
mod concat;
mod conv2d;
mod cross_entropy;
mod elementwise;
mod gather;
mod gpu_tile;
mod layer_norm;
mod linear;
mod loss;
mod matmul;
mod max_pool2d;
mod pad_slice;
mod rearrange;
mod reduce;
mod relu;
mod scale;
mod sgd;
mod softmax;
mod unary;
mod windows;

pub use across::{Across, Part};
pub use adam::{AdamStep, AdamUpdate, ClipFactor};
pub use adaptive_avg_pool2d::{AdaptiveAvgPool2d, AdaptiveAvgPool2dGradient};
pub use avg_pool2d::{AvgPool2d, AvgPool2dGradient};
pub use batch_norm::{BatchNorm, BatchNormEvaluate, BatchNormGradient, Normalised};
pub use concat::Concat;
pub use conv2d::{Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvOptions, ConvSizes, conv2d_gradients};
pub(crate) use cross_entropy::TOTAL as CROSS_ENTROPY_TOTAL;
pub use cross_entropy::{Correct, CrossEntropy, CrossEntropyGradient, CrossEntropyOutputs};
pub use elementwise::Binary;
pub use gather::{Gather, GatherGradient, OneHot};
pub use linear::{Linear, LinearWeightGradient};
pub use loss::{LossOptions, LossReduction};
pub use matmul::{Matmul, MatmulSizes};
pub use max_pool2d::{MaxPool2d, MaxPool2dGradient};
pub use pad_slice::{PadSlice, Reach};
pub use rearrange::{Expand, Permute};
pub use reduce::{Reduce, Reduction};
pub use relu::{Relu, ReluGradient};
pub use scale::{Dropout, Scale};
pub use sgd::{SgdStep, SgdUpdate};
pub(crate) use softmax::log_softmax_row;
pub use softmax::{LogSoftmax, LogSoftmaxGradient};
pub use unary::{Unary, UnaryGradient};
pub use windows::Windows;

// The spectrogram front end.
mod circular_crop;
mod decibels;
mod excerpts;
mod filter_bank;
mod frames;
mod items;
mod mask;
mod spectrum;
mod standardise;
mod warp;

pub use circular_crop::CircularCrop;
pub use decibels::Decibels;
pub use excerpts::{Excerpt, Excerpts};
pub use filter_bank::{ApplyFilterBank, BankRows};
pub use frames::Framing;
pub use items::Partial;
pub use mask::{Fill, Mask};
pub use spectrum::{BandSpectrum, PowerSpectrum};
pub use standardise::{Per, Standardise};
pub use warp::Warp;
#[cfg(feature = "app")]
pub(crate) use warp::place as warp_place;

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::tensor::{DType, Spec};

impl Graph {
    /// The gradient of `loss` (one element) with respect to each of `wrt`. Adds nodes to this graph.
    ///
    /// # Errors
    /// If the loss has more than one element, does not depend on one of `wrt`, or depends on it through an operation
    /// that has no gradient.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.input("x", [2])?;
    /// let cubes = graph.multiply(x, x)?;
    /// let cubes = graph.multiply(cubes, x)?;
    /// let y = graph.sum_all(cubes)?;
    /// let dx = graph.gradients(y, &[x])?[0];
    /// assert_eq!(graph.evaluate(dx, &[("x", &[1.0, 2.0])])?.data(), [3.0, 12.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn gradients(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>> {
        self.backpropagate(loss, wrt, Graph::add)
    }
}

/// For shape rules: every input must hold real numbers.
pub(crate) fn real(op: &'static str, inputs: &[Spec]) -> Result<()> {
    match inputs.iter().position(|spec| spec.dtype != DType::Real) {
        Some(i) => {
            Err(Error::op(op, format!("input {i} of shape {} must hold real numbers, not indices", inputs[i].shape)))
        }
        None => Ok(()),
    }
}

/// For shape rules: two operands must have one shape.
fn same(op: &'static str, what: &str, a: Spec, other: &str, b: Spec) -> Result<()> {
    if a.shape == b.shape {
        return Ok(());
    }
    Err(Error::op(op, format!("{what} has shape {}, {other} {}; they must be equal", a.shape, b.shape)))
}

/// For shape rules: an operand must have this shape.
pub(crate) fn expect(op: &'static str, what: &str, spec: Spec, shape: &[usize]) -> Result<()> {
    if spec.shape.dims() == shape {
        return Ok(());
    }
    Err(Error::op(op, format!("{what} has shape {}, but must have {shape:?}", spec.shape)))
}
