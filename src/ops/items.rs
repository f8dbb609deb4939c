//! What the operations on spectrograms share: one number per item (its maximum, minimum or sum) that every cell needs.
//!
//! An item is everything under one index of the first axis. On a GPU one launch reduces each item to a few partial results, and
//! every workgroup of the next launch finishes the reduction for itself, which costs less than a launch.

use crate::error::{Error, Result};
use crate::graph::{Launch, Operand, Shader, Target, grid};
use crate::shader;
use crate::tensor::{DType, Real, Spec};
use pulp::{Simd, WithSimd};

static ITEM_REDUCE: Shader = shader!("item_reduce");

/// Elements that one workgroup reduces to one partial result.
const CHUNK: usize = 4096;

/// What is found per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduce {
    Sum = 0,
    Max = 1,
    Min = 2,
}

/// Items, and elements of each.
pub(super) fn items(spec: &Spec) -> (usize, usize) {
    let items = spec.shape[0];
    (items, spec.shape.elements() / items)
}

/// Partial results per item.
pub(super) fn partials(len: usize) -> usize {
    len.div_ceil(CHUNK)
}

/// The launch that leaves [`partials`] results per item of input `input` in scratch buffer 0.
pub(super) fn reduce_launch(reduce: Reduce, input: usize, spec: &Spec) -> Launch {
    let (items, len) = items(spec);
    Launch {
        shader: &ITEM_REDUCE,
        constants: vec![
            ("ITEMS", items as f64),
            ("LEN", len as f64),
            ("PARTIALS", partials(len) as f64),
            ("KIND", f64::from(reduce as u32)),
        ],
        operands: vec![Operand::Input(input), Operand::Scratch(0)],
        workgroups: grid(items * partials(len)),
    }
}

/// The scratch buffer that [`reduce_launch`] writes.
pub(super) fn scratch(spec: &Spec, target: Target) -> Vec<usize> {
    let (items, len) = items(spec);
    if target == Target::Gpu { vec![items * partials(len)] } else { Vec::new() }
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

/// A reduction of a slice, for [`pulp::Arch::dispatch`]. Structs, since a closure that only borrows reaches `dispatch` through a
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
