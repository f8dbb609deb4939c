//! Shapes, element types and host tensors.

use crate::error::{Error, Result};
use std::fmt;

/// The largest number of axes a [`Shape`] can have.
pub const MAX_RANK: usize = 6;

/// The extent of every axis of a tensor, outermost first; row-major. Small enough to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape with these extents.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] axes: that is a mistake in a program, not in its input.
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "a shape has at most {MAX_RANK} axes, got {dims:?}");
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Self { dims: all, rank: dims.len() }
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The same for `own` of a batch's `items`, of which each has as many rows along the first axis as any other.
    pub(crate) fn of_rows(mut self, items: usize, own: usize) -> Self {
        self.dims[0] = self.dims[0] / items * own;
        self
    }

    /// The number of elements; 1 for a scalar (rank 0). Where no number can say it, the largest there is: more than any memory holds.
    pub fn elements(&self) -> usize {
        self.dims().iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    /// The distance in elements between neighbours along each axis of a row-major tensor.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank];
        for axis in (1..self.rank).rev() {
            strides[axis - 1] = strides[axis] * self.dims[axis];
        }
        strides
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

impl std::ops::Index<usize> for Shape {
    type Output = usize;
    fn index(&self, axis: usize) -> &usize {
        &self.dims()[axis]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

/// What the elements of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// Real numbers: f32 on a GPU, f32 or f64 on the CPU.
    Real,
    /// Unsigned 32-bit integers: class numbers, offsets, counts.
    Index,
}

/// Shape and element type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The extents.
    pub shape: Shape,
    /// The element type.
    pub dtype: DType,
}

impl Spec {
    /// A value of real numbers.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), dtype: DType::Real }
    }

    /// A value of indices.
    pub fn index(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), dtype: DType::Index }
    }
}

/// A tensor in host memory: a shape and its elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T = f32> {
    shape: Shape,
    data: Vec<T>,
}

impl<T: Copy> Tensor<T> {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// Where the number of elements is not the shape's.
    pub fn new(shape: impl Into<Shape>, data: Vec<T>) -> Result<Self> {
        let shape = shape.into();
        if shape.elements() != data.len() {
            let detail = format!("shape {shape} has {} elements, {} were given", shape.elements(), data.len());
            return Err(Error::value("tensor", detail));
        }
        Ok(Self { shape, data })
    }

    /// A tensor whose elements are all the same.
    pub fn full(shape: impl Into<Shape>, value: T) -> Self {
        let shape = shape.into();
        Self { shape, data: vec![value; shape.elements()] }
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, row-major, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements alone.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }
}

impl<T> From<Vec<T>> for Tensor<T> {
    /// A tensor of one axis.
    fn from(data: Vec<T>) -> Self {
        Self { shape: Shape::from([data.len()]), data }
    }
}

/// A real number type that CPU kernels can be run in: f32, which trains, and f64, in which the same code is checked.
pub trait Real:
    bytemuck::Pod
    + Send
    + Sync
    + Default
    + PartialOrd
    + fmt::Debug
    + fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;
    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same value in f64.
    fn to_f64(self) -> f64;
    /// `self * a + b`, rounded once where the machine can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The decimal logarithm.
    fn log10(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 - erf(self)`, the complementary error function.
    fn erfc(self) -> Self;
    /// True for NaN.
    fn is_nan(self) -> bool;
    /// `self` where it is greater than `other` or NaN, else `other`: unlike [`f32::max`] a NaN on the left stays visible.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
    /// `self` where it is less than `other` or NaN, else `other`.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }
}

macro_rules! real {
    ($t:ident, $erfc:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $t::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn log10(self) -> Self {
                $t::log10(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $t::tanh(self)
            }
            fn erfc(self) -> Self {
                $erfc(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
        }
    };
}
real!(f32, libm::erfcf);
real!(f64, libm::erfc);
