//! How convolutions are launched on a GPU: as matrix products whose second factor is read straight from the map.
//!
//! | operation | rows | columns | terms of each sum |
//! |---|---|---|---|
//! | forward | output channels | output pixels of all items | input channels x taps |
//! | gradient of x | input channels | input pixels of all items | output channels x taps |
//! | gradient of w (and b) | output channels | input channels x taps (and 1) | output pixels of all items |
//!
//! The first two are one kernel, `shaders/conv2d.wgsl`. The third has few results and long sums, so these are cut into
//! a number of stretches fixed by the shape, and a second kernel adds the partial results in order; short sums are not cut.

use super::{Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvOptions, ConvSizes};
use crate::graph::{Launch, Operand, Shader, grid};
use crate::ops::gpu_tile::GpuTile;
use crate::shader;
use crate::tensor::Spec;

static CONV2D: Shader = shader!("conv2d", "nan", "divide", "tile");
static WEIGHT_GRADIENT: Shader = shader!("conv2d_weight_gradient", "divide", "tile");
static WEIGHT_GRADIENT_SUM: Shader = shader!("conv2d_weight_gradient_sum");

/// Workgroups that the weight gradient is cut into at least, where its sums are long enough.
const WORKGROUPS_WANTED: usize = 256;
/// Stretches at most: the second kernel adds their partial results one after another.
const MAX_STRETCHES: usize = 64;
/// Sums of so few terms are not cut: a second launch would take longer.
const SHORT_SUM: usize = 512;
/// Terms of a partial sum at least; fewer would not pay for writing and reading the partial result.
const MIN_CHUNK: usize = 64;
/// Elements of all partial results together at most: half of the 128 MiB that a binding may have.
const MAX_PARTIAL_ELEMENTS: usize = 1 << 24;

type Constants = Vec<(&'static str, f64)>;

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// One axis of `shaders/conv2d.wgsl`; the names are its constants'.
struct Axis {
    source: usize,
    result: usize,
    kernel: usize,
    classes: usize,
    tap_step: usize,
    mul: usize,
    step: isize,
    offset: isize,
    dilation: usize,
}

impl Axis {
    fn forward(sizes: &ConvSizes, axis: usize) -> Self {
        let ConvOptions { stride, padding, dilation, .. } = sizes.options;
        Self {
            source: sizes.input[axis],
            result: sizes.output[axis],
            kernel: sizes.kernel[axis],
            classes: 1,
            tap_step: 1,
            mul: stride[axis],
            step: dilation[axis] as isize,
            offset: -(padding[axis] as isize),
            dilation: dilation[axis],
        }
    }

    /// Pixel i of dx meets tap u of dy's pixel (i + padding - u * dilation) / stride where that is whole: for one i these
    /// are every (stride / gcd(stride, dilation))-th tap, and the same ones for all i of one residue modulo the stride.
    fn backward(sizes: &ConvSizes, axis: usize) -> Self {
        let ConvOptions { stride, padding, dilation, .. } = sizes.options;
        let common = greatest_common_divisor(stride[axis], dilation[axis]);
        Self {
            source: sizes.output[axis],
            result: sizes.input[axis],
            kernel: sizes.kernel[axis],
            classes: stride[axis],
            tap_step: stride[axis] / common,
            mul: 1,
            step: -((dilation[axis] / common) as isize),
            offset: padding[axis] as isize,
            dilation: dilation[axis],
        }
    }

    /// Taps that the pixels of a residue class meet; see `first_tap` of the kernel.
    fn taps(&self, residue: usize) -> usize {
        let meets = |tap: &usize| {
            (residue as isize + self.offset - (tap * self.dilation) as isize) % self.classes as isize == 0
        };
        let first = (0..self.tap_step.min(self.kernel)).find(meets).unwrap_or(self.kernel);
        (self.kernel - first).div_ceil(self.tap_step)
    }

    fn constants(&self, names: [&'static str; 9]) -> Constants {
        let values = [
            self.source as f64,
            self.result as f64,
            self.kernel as f64,
            self.classes as f64,
            self.tap_step as f64,
            self.mul as f64,
            self.step as f64,
            self.offset as f64,
            self.dilation as f64,
        ];
        names.into_iter().zip(values).collect()
    }
}

const NAMES_H: [&str; 9] =
    ["SOURCE_H", "RESULT_H", "KERNEL_H", "CLASSES_H", "TAP_STEP_H", "MUL_H", "STEP_H", "OFFSET_H", "DILATION_H"];
const NAMES_W: [&str; 9] =
    ["SOURCE_W", "RESULT_W", "KERNEL_W", "CLASSES_W", "TAP_STEP_W", "MUL_W", "STEP_W", "OFFSET_W", "DILATION_W"];

/// A launch of `shaders/conv2d.wgsl`: result channels (of a group), source channels, distances between the weights of
/// neighbouring ones.
struct Map {
    rows: usize,
    channels: usize,
    w_row: usize,
    w_channel: usize,
    axes: [Axis; 2],
}

impl Map {
    fn launch(&self, sizes: &ConvSizes, bias: Option<Operand>, relu: bool) -> Launch {
        let [height, width] = &self.axes;
        let classes = height.classes * width.classes;
        let pixels = height.result.div_ceil(height.classes) * width.result.div_ceil(width.classes) * sizes.items;
        let products = classes * sizes.groups;
        let tile = GpuTile::choose_gathered(self.rows, pixels, products);
        let sums: Vec<usize> = (0..classes)
            .map(|class| height.taps(class / width.classes) * width.taps(class % width.classes) * self.channels)
            .collect();
        let mut constants = tile.constants(self.rows, pixels, &sums, products);
        constants.extend(height.constants(NAMES_H));
        constants.extend(width.constants(NAMES_W));
        let rest = [
            ("ITEMS", sizes.items),
            ("GROUPS", sizes.groups),
            ("ROWS", self.rows),
            ("CHANNELS", self.channels),
            ("W_ROW", self.w_row),
            ("W_CHANNEL", self.w_channel),
            ("MASKED", usize::from(sizes.taps() <= 32)),
            ("BIAS", usize::from(bias.is_some())),
            ("RELU", usize::from(relu)),
        ];
        constants.extend(rest.map(|(name, value)| (name, value as f64)));
        // The slot must be bound: without a bias it holds w, unread.
        let operands =
            vec![Operand::Input(0), Operand::Input(1), bias.unwrap_or(Operand::Input(1)), Operand::Output(0)];
        let workgroups = grid(tile.count(self.rows, pixels) * products);
        Launch { shader: &CONV2D, constants, operands, workgroups }
    }
}

impl Conv2d {
    pub(super) fn launches(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = ConvSizes::new("conv2d", &inputs[0], &inputs[1], self.options)
            .expect("the shapes were checked when the graph was built");
        let map = Map {
            rows: sizes.out_channels,
            channels: sizes.in_channels,
            w_row: sizes.in_channels * sizes.taps(),
            w_channel: sizes.taps(),
            axes: [Axis::forward(&sizes, 0), Axis::forward(&sizes, 1)],
        };
        vec![map.launch(&sizes, self.bias.then_some(Operand::Input(2)), self.relu)]
    }

    pub(super) fn gpu_temporaries(&self, _: &[Spec], _: &[Spec]) -> Vec<usize> {
        Vec::new()
    }
}

impl Conv2dInputGradient {
    pub(super) fn launches(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = &self.sizes;
        let map = Map {
            rows: sizes.in_channels,
            channels: sizes.out_channels,
            w_row: sizes.taps(),
            w_channel: sizes.in_channels * sizes.taps(),
            axes: [Axis::backward(sizes, 0), Axis::backward(sizes, 1)],
        };
        vec![map.launch(sizes, None, false)]
    }

    pub(super) fn gpu_temporaries(&self, _: &[Spec], _: &[Spec]) -> Vec<usize> {
        Vec::new()
    }
}

/// How the weight gradient's sums are cut.
struct SumCut {
    tile: GpuTile,
    /// Columns of a partial result.
    columns: usize,
    /// Elements of a partial result.
    elements: usize,
    /// Terms of a partial sum.
    chunk: usize,
    /// Stretches that the terms are cut into.
    stretches: usize,
}

impl SumCut {
    /// Partial results.
    fn partials(&self) -> usize {
        self.stretches * self.tile.splits()
    }
}

impl Conv2dWeightGradient {
    fn split(&self) -> SumCut {
        let sizes = &self.sizes;
        let columns = sizes.in_channels * sizes.taps() + usize::from(self.bias);
        let elements = sizes.groups * sizes.out_channels * columns;
        let terms = sizes.items * sizes.pixels();
        // Which tile serves best does not depend on the split: whatever the tile, there is enough to do.
        let products = sizes.groups * terms.div_ceil(MIN_CHUNK).min(MAX_STRETCHES);
        if terms <= SHORT_SUM {
            let tile = GpuTile::choose_tabled(sizes.out_channels, columns, products);
            return SumCut { tile, columns, elements, chunk: terms, stretches: 1 };
        }
        let tile = GpuTile::choose_split(sizes.out_channels, columns, products);
        let wanted = WORKGROUPS_WANTED.div_ceil(tile.count(sizes.out_channels, columns) * sizes.groups);
        let most =
            MAX_STRETCHES.min(MAX_PARTIAL_ELEMENTS / elements / tile.splits()).min(terms.div_ceil(MIN_CHUNK)).max(1);
        let chunk = terms.div_ceil(wanted.min(most));
        SumCut { tile, columns, elements, chunk, stretches: terms.div_ceil(chunk) }
    }

    pub(in crate::ops) fn launches(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = &self.sizes;
        let ConvOptions { stride, padding, dilation, .. } = sizes.options;
        let cut = self.split();
        let partials = cut.partials();
        let SumCut { tile, columns, elements, chunk, stretches } = cut;
        let products = sizes.groups * stretches;
        let mut constants = tile.constants(sizes.out_channels, columns, &[chunk], products);
        let own = [
            ("ITEMS", sizes.items),
            ("GROUPS", sizes.groups),
            ("ROWS", sizes.out_channels),
            ("CHANNELS", sizes.in_channels),
            ("INPUT_H", sizes.input[0]),
            ("INPUT_W", sizes.input[1]),
            ("OUTPUT_H", sizes.output[0]),
            ("OUTPUT_W", sizes.output[1]),
            ("KERNEL_H", sizes.kernel[0]),
            ("KERNEL_W", sizes.kernel[1]),
            ("STRIDE_H", stride[0]),
            ("STRIDE_W", stride[1]),
            ("PADDING_H", padding[0]),
            ("PADDING_W", padding[1]),
            ("DILATION_H", dilation[0]),
            ("DILATION_W", dilation[1]),
            ("COLUMNS", columns),
            ("CHUNK", chunk),
            ("DIRECT", usize::from(partials == 1)),
            ("TAPS_LEN", tile.columns()),
        ];
        constants.extend(own.map(|(name, value)| (name, value as f64)));
        let sums = vec![
            ("LEN", elements as f64),
            ("COLUMNS", columns as f64),
            ("WEIGHTS", (sizes.in_channels * sizes.taps()) as f64),
            ("PARTIALS", partials as f64),
        ];
        // The slot must be bound: without a bias it holds a scratch buffer that no kernel writes.
        let unused = Operand::Scratch(usize::from(partials > 1));
        let db = if self.bias { Operand::Output(1) } else { unused };
        let to = if partials > 1 { Operand::Scratch(0) } else { Operand::Output(0) };
        let first = Launch {
            shader: &WEIGHT_GRADIENT,
            constants,
            operands: vec![Operand::Input(0), Operand::Input(1), to, db],
            workgroups: grid(tile.count(sizes.out_channels, columns) * products),
        };
        if partials == 1 {
            return vec![first];
        }
        vec![
            first,
            Launch {
                shader: &WEIGHT_GRADIENT_SUM,
                constants: sums,
                operands: vec![Operand::ReadScratch(0), Operand::Output(0), db],
                workgroups: grid(elements.div_ceil(64)),
            },
        ]
    }

    pub(in crate::ops) fn gpu_temporaries(&self, _: &[Spec], _: &[Spec]) -> Vec<usize> {
        let cut = self.split();
        let (elements, partials) = (cut.elements, cut.partials());
        let mut lengths = Vec::new();
        lengths.extend((partials > 1).then_some(elements * partials));
        lengths.extend((!self.bias).then_some(1));
        lengths
    }
}
