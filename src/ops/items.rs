//! What the operations on spectrograms share: a few numbers per item (its maximum, minimum, sum or moments) that every cell
//! needs.
//!
//! An item is everything under one index of the first axis. On a GPU one launch reduces each item to [`Partial`] results, a few
//! for each item, and every workgroup of the next launch finishes the reduction for itself, which costs less than a launch.
//! Even the first launch can be avoided, if the operation that makes the spectrogram also computes the partial results.
//! [`fuse`](crate::fusion::fuse) arranges that; the bits stay the same.

use crate::error::{Error, Result};
use crate::graph::{Kernel, Launch, Operand, Shader, Target, grid};
use crate::shader;
use crate::tensor::{DType, Real, Spec};
use pulp::{Simd, WithSimd};

static ITEM_REDUCE: Shader = shader!("item_reduce", "nan", "items");

/// Elements that one workgroup reduces to one partial result: `CHUNK` in shaders/shared/items.wgsl.
const CHUNK: usize = 1024;

/// What is found per chunk of an item. Results have the shape [N, chunks], moments (the mean and the sum of squared distances
/// from it) [N, chunks, 2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// The sum.
    Sum = 0,
    /// The greatest element; NaN where there is one.
    Max = 1,
    /// The least element; NaN where there is one.
    Min = 2,
    /// The mean and the sum of squared distances from it.
    Moments = 3,
}

/// The shaders' number for no partial result at all.
const NOTHING: u32 = 4;

impl Partial {
    /// The shape of the partial results of x.
    pub(crate) fn spec(self, x: &Spec) -> Spec {
        let (count, chunks) = (x.shape[0], chunks(x));
        if self == Self::Moments { Spec::real([count, chunks, 2]) } else { Spec::real([count, chunks]) }
    }
}

/// Items, and elements of each.
pub(super) fn items(spec: &Spec) -> (usize, usize) {
    let items = spec.shape[0];
    (items, spec.shape.elements() / items)
}

/// Chunks of an item.
pub(super) fn chunks(spec: &Spec) -> usize {
    items(spec).1.div_ceil(CHUNK)
}

/// A workgroup for each chunk of x.
pub(super) fn workgroups(x: &Spec) -> [u32; 3] {
    grid(items(x).0 * chunks(x))
}

/// The constants of shaders/shared/items.wgsl.
pub(super) fn constants(x: &Spec, hands_on: Option<Partial>) -> Vec<(&'static str, f64)> {
    let (count, len) = items(x);
    let kind = hands_on.map_or(NOTHING, |partial| partial as u32);
    vec![("ITEMS", count as f64), ("LEN", len as f64), ("CHUNKS", chunks(x) as f64), ("HANDS_ON", f64::from(kind))]
}

/// Where an operation on x, its input 0, finds partial results: handed on by whoever made x, as the input number `own`, or in
/// scratch buffer 0, after a launch of its own. Returns that launch, the operand, and how many results there are for each item.
pub(super) fn incoming(partial: Partial, inputs: &[Spec], own: usize) -> (Option<Launch>, Operand, usize) {
    if let Some(handed) = inputs.get(own) {
        return (None, Operand::Input(own), handed.shape[1]);
    }
    let launch = Launch {
        shader: &ITEM_REDUCE,
        constants: constants(&inputs[0], Some(partial)),
        operands: vec![Operand::Input(0), Operand::Scratch(0)],
        workgroups: workgroups(&inputs[0]),
    };
    (Some(launch), Operand::ReadScratch(0), chunks(&inputs[0]))
}

/// Where an operation leaves the partial results of its output: its output 1, or nowhere, for which a place must be bound all
/// the same.
pub(super) fn outgoing(hands_on: Option<Partial>) -> Operand {
    if hands_on.is_some() { Operand::Output(1) } else { Operand::Scratch(1) }
}

/// Scratch buffers for [`incoming`] and [`outgoing`].
pub(super) fn scratch(x: &Spec, target: Target) -> Vec<usize> {
    if target == Target::Gpu { vec![Partial::Moments.spec(x).shape.elements(), 1] } else { Vec::new() }
}

/// The outputs of an operation whose result is like x.
pub(super) fn outputs(x: Spec, hands_on: Option<Partial>) -> Vec<Spec> {
    std::iter::once(x).chain(hands_on.map(|partial| partial.spec(&x))).collect()
}

/// Refuses partial results, where there are any, of another shape than [N, ...].
pub(super) fn expect_partials(op: &'static str, inputs: &[Spec], own: usize, moments: bool) -> Result<()> {
    let Some(handed) = inputs.get(own) else { return Ok(()) };
    let rank = if moments { 3 } else { 2 };
    if handed.dtype != DType::Real || handed.shape.rank() != rank || handed.shape[0] != inputs[0].shape[0] {
        let detail =
            format!("partial results {:?} {} do not belong to {}", handed.dtype, handed.shape, inputs[0].shape);
        return Err(Error::op(op, detail));
    }
    Ok(())
}

/// On the CPU, where an item stays in the cache and its reader reduces it for itself: the partial results for whoever asks.
pub(super) fn hand_on<T: Real>(kernel: &mut Kernel<'_, T>, partial: Option<Partial>) {
    let Some(partial) = partial else { return };
    let (_, len) = items(&kernel.output_spec(0));
    let [y, onward] = kernel.outputs();
    let parts = y.chunks_exact(len).flat_map(|item| item.chunks(CHUNK));
    match partial {
        Partial::Sum => parts.zip(onward).for_each(|(part, to)| *to = T::from_f64(sum(part))),
        Partial::Max => parts.zip(onward).for_each(|(part, to)| *to = greatest(part)),
        Partial::Min => parts.zip(onward).for_each(|(part, to)| *to = least(part)),
        Partial::Moments => parts.zip(onward.as_chunks_mut::<2>().0).for_each(|(part, to)| {
            let mean = sum(part) / part.len() as f64;
            *to = [mean, squares(part, mean)].map(T::from_f64);
        }),
    }
}

/// Refuses what has no axis of items.
pub(super) fn expect_items(op: &'static str, spec: &Spec) -> Result<()> {
    if spec.shape.rank() < 2 || spec.dtype != DType::Real {
        return Err(Error::op(op, format!("needs real numbers [N, ...], not {:?} {}", spec.dtype, spec.shape)));
    }
    Ok(())
}

/// Refuses anything but real numbers of `rank` axes.
pub(super) fn expect_rank(op: &'static str, what: &str, spec: &Spec, axes: &str, rank: usize) -> Result<()> {
    if spec.shape.rank() != rank || spec.dtype != DType::Real {
        return Err(Error::op(op, format!("{what} must be real numbers {axes}, not {:?} {}", spec.dtype, spec.shape)));
    }
    Ok(())
}

/// A reduction of a slice, for [`dispatch`](crate::kernels::simd::dispatch). Structs, since a closure that only borrows reaches `dispatch` through a
/// shim that is compiled without the vectors.
pub(super) struct Sum<'a, T>(pub &'a [T]);
/// The mean and the sum of squared distances from it.
pub(super) struct Moments<'a, T>(pub &'a [T]);
/// The least element.
pub(super) struct Least<'a, T>(pub &'a [T]);

impl<T: Real> WithSimd for Sum<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        sum(self.0)
    }
}

impl<T: Real> WithSimd for Moments<'_, T> {
    type Output = (f64, f64);
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f64, f64) {
        let mean = sum(self.0) / self.0.len() as f64;
        (mean, squares(self.0, mean))
    }
}

impl<T: Real> WithSimd for Least<'_, T> {
    type Output = T;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> T {
        least(self.0)
    }
}

const LANES: usize = 16;

/// The sum, in f64, in an order of its own that lets it be vectorised.
#[inline(always)]
fn sum<T: Real>(x: &[T]) -> f64 {
    fold(x, 0.0, |sum, x| sum + x.to_f64(), |a, b| a + b)
}

/// The sum of squared distances from `mean`, in f64.
#[inline(always)]
fn squares<T: Real>(x: &[T], mean: f64) -> f64 {
    let square = |sum: f64, x: T| {
        let d = x.to_f64() - mean;
        sum + d * d
    };
    fold(x, 0.0, square, |a, b| a + b)
}

/// The greatest element; NaN where there is one.
#[inline(always)]
pub(super) fn greatest<T: Real>(x: &[T]) -> T {
    fold(x, T::NEG_INFINITY, |m: T, x| keep_nan(m, x, x > m), |a, b| keep_nan(a, b, b > a))
}

/// The least element; NaN where there is one.
#[inline(always)]
fn least<T: Real>(x: &[T]) -> T {
    fold(x, -T::NEG_INFINITY, |m: T, x| keep_nan(m, x, x < m), |a, b| keep_nan(a, b, b < a))
}

#[inline(always)]
fn keep_nan<T: Real>(held: T, new: T, better: bool) -> T {
    if better | new.is_nan() { new } else { held }
}

#[inline(always)]
fn fold<T: Real, A: Copy>(x: &[T], start: A, step: impl Fn(A, T) -> A, join: impl Fn(A, A) -> A) -> A {
    let mut lanes = [start; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, x);
    }
    lanes.into_iter().reduce(join).unwrap_or(start)
}
