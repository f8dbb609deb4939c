//! Options and sizes of a convolution.

use crate::error::{Error, Result};
use crate::tensor::{DType, Spec};

/// The parameters of a convolution; each pair is (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions {
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Zeros around the input, on each side.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Number of groups that input and output channels are cut into.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl ConvOptions {
    /// The same stride and padding both ways, no dilation, one group.
    pub fn square(stride: usize, padding: usize) -> Self {
        Self { stride: [stride; 2], padding: [padding; 2], ..Self::default() }
    }
}

/// All sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvSizes {
    /// Items in the batch, N.
    pub items: usize,
    /// Input channels of one group, C/groups.
    pub in_channels: usize,
    /// Output channels of one group, O/groups.
    pub out_channels: usize,
    /// Number of groups.
    pub groups: usize,
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride, padding, dilation.
    pub options: ConvOptions,
}

impl ConvSizes {
    /// Sizes from the shapes of x and w.
    ///
    /// # Errors
    /// Where shapes or options do not fit.
    pub fn new(op: &'static str, x: &Spec, w: &Spec, options: ConvOptions) -> Result<Self> {
        let (xs, ws) = (x.shape, w.shape);
        if xs.rank() != 4 || ws.rank() != 4 {
            let detail = format!("wants x [N, C, H, W] and w [O, C/groups, KH, KW], got x {xs} and w {ws}");
            return Err(Error::op(op, detail));
        }
        if x.dtype != DType::Real || w.dtype != DType::Real {
            return Err(Error::op(op, "works on real numbers, not on indices"));
        }
        let ConvOptions { stride, padding, dilation, groups } = options;
        if stride.contains(&0) || dilation.contains(&0) || groups == 0 {
            return Err(Error::op(op, format!("stride, dilation and groups must be at least 1, got {options:?}")));
        }
        if !xs[1].is_multiple_of(groups) || !ws[0].is_multiple_of(groups) || xs[1] / groups != ws[1] {
            let detail = format!("{groups} groups do not fit x {xs} and w {ws}: w must have C/groups channels");
            return Err(Error::op(op, detail));
        }
        let mut output = [0; 2];
        for axis in 0..2 {
            let padded = xs[2 + axis] + 2 * padding[axis];
            let span = dilation[axis] * (ws[2 + axis] - 1) + 1;
            if span > padded {
                let detail = format!(
                    "a kernel of {} taps with dilation {} spans {span}, more than the padded input's {padded} (x {xs}, w {ws})",
                    ws[2 + axis],
                    dilation[axis]
                );
                return Err(Error::op(op, detail));
            }
            output[axis] = (padded - span) / stride[axis] + 1;
        }
        Ok(Self {
            items: xs[0],
            in_channels: ws[1],
            out_channels: ws[0] / groups,
            groups,
            input: [xs[2], xs[3]],
            output,
            kernel: [ws[2], ws[3]],
            options,
        })
    }

    pub(crate) fn x_spec(&self) -> Spec {
        Spec::real([self.items, self.groups * self.in_channels, self.input[0], self.input[1]])
    }

    pub(crate) fn w_spec(&self) -> Spec {
        Spec::real([self.groups * self.out_channels, self.in_channels, self.kernel[0], self.kernel[1]])
    }

    pub(crate) fn y_spec(&self) -> Spec {
        Spec::real([self.items, self.groups * self.out_channels, self.output[0], self.output[1]])
    }

    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Output pixels of one item.
    pub(crate) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Two operations for every product of an input element and a weight.
    pub(crate) fn flops(&self) -> f64 {
        2.0 * (self.y_spec().shape.elements() * self.in_channels * self.taps()) as f64
    }
}
