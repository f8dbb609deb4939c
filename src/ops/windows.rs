//! The windows of poolings.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// The windows of a pooling, rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Elements of a window along each axis.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Rows and columns of padding on each side: at most half the kernel.
    pub padding: [usize; 2],
    /// Distance between the elements of a window.
    pub dilation: [usize; 2],
    /// Whether a last window that extends beyond the padding counts (PyTorch's `ceil_mode`). It must begin inside the image or the padding before it.
    pub ceil: bool,
}

impl Windows {
    /// Square windows side by side.
    pub fn square(size: usize) -> Self {
        Self { kernel: [size; 2], stride: [size; 2], padding: [0; 2], dilation: [1; 2], ceil: false }
    }

    /// The number of windows along an axis of `len`, if at least one fits.
    fn count(&self, axis: usize, len: usize) -> Option<usize> {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let room = (len + 2 * self.padding[axis]).checked_sub(span)?;
        let stride = self.stride[axis];
        if !self.ceil {
            return Some(room / stride + 1);
        }
        // The last window begins inside the image or in the padding before it.
        let count = room.div_ceil(stride) + 1;
        Some(if (count - 1) * stride >= len + self.padding[axis] { count - 1 } else { count })
    }

    /// The first of `count` windows along an axis of `len` that has no element in it: dilation carries it over the whole axis.
    fn empty(&self, axis: usize, len: usize, count: usize) -> Option<usize> {
        let inside = |window: usize, i: usize| {
            let at = window * self.stride[axis] + i * self.dilation[axis];
            (self.padding[axis]..self.padding[axis] + len).contains(&at)
        };
        (0..count).find(|&window| !(0..self.kernel[axis]).any(|i| inside(window, i)))
    }

    pub(super) fn constants(&self, x: Shape, y: Shape) -> Vec<(&'static str, f64)> {
        let names = ["PLANES", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW"];
        let ([kh, kw], [sh, sw], [ph, pw], [dh, dw]) = (self.kernel, self.stride, self.padding, self.dilation);
        let values = [x[0] * x[1], x[2], x[3], y[2], y[3], kh, kw, sh, sw, ph, pw, dh, dw];
        names.into_iter().zip(values.map(|value| value as f64)).collect()
    }

    /// The shape of the output for x.
    ///
    /// # Errors
    /// If x is not `[N, C, H, W]`, a size is zero, the padding is more than half the kernel, the kernel spans more than the padded
    /// input, or a window lies in the padding alone.
    pub(super) fn output(&self, op: &'static str, x: Shape) -> Result<[usize; 4]> {
        let refuse = |detail: String| Err(Error::op(op, detail));
        if x.rank() != 4 {
            return refuse(format!("the input has shape {x}, but must be [N, C, H, W]"));
        }
        let mut sizes = [0; 2];
        for axis in 0..2 {
            let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return refuse(format!("kernel {kernel}, stride {stride} and dilation {dilation} must not be zero"));
            }
            if 2 * self.padding[axis] > kernel {
                let padding = self.padding[axis];
                return refuse(format!("the padding {padding} is more than half the kernel {kernel}"));
            }
            let Some(count) = self.count(axis, x[2 + axis]) else {
                return refuse(format!(
                    "kernel {:?} with dilation {:?} and padding {:?} is larger than the padded input {x}",
                    self.kernel, self.dilation, self.padding
                ));
            };
            if let Some(window) = self.empty(axis, x[2 + axis], count) {
                return refuse(format!(
                    "window {window} along axis {} of the input {x} lies in the padding alone: kernel {:?}, dilation {:?}, \
                     padding {:?}; choose a smaller dilation or less padding",
                    2 + axis,
                    self.kernel,
                    self.dilation,
                    self.padding
                ));
            }
            sizes[axis] = count;
        }
        Ok([x[0], x[1], sizes[0], sizes[1]])
    }

    /// Where element `i` of window `window` along an axis lies in an image of `len`, if it does not lie in the padding.
    #[inline(always)]
    pub(super) fn place(&self, axis: usize, len: usize, window: usize, i: usize) -> Option<usize> {
        let at = (window * self.stride[axis] + i * self.dilation[axis]).checked_sub(self.padding[axis])?;
        (at < len).then_some(at)
    }

    /// How many elements of a window along an axis lie in an image of `len`, or `with_padding` in it and its padding.
    #[inline(always)]
    pub(super) fn elements(&self, axis: usize, len: usize, window: usize, with_padding: bool) -> usize {
        let start = window * self.stride[axis];
        let inside = |i: &usize| {
            let at = start + i * self.dilation[axis];
            let outside = if with_padding { 0 } else { self.padding[axis] };
            at >= outside && at < len + 2 * self.padding[axis] - outside
        };
        (0..self.kernel[axis]).filter(inside).count()
    }
}
