//! How matrix products, linear layers, Adam and clipping are launched on a GPU.

use super::gpu_tile::Product;
use super::relu::PER_WORKGROUP;
use super::{Adam, ClipFactor, Conv2dWeightGradient, ConvOptions, ConvSizes, Linear, LinearWeightGradient, Matmul};
use crate::graph::{Launch, Operand, Shader, grid};
use crate::shader;
use crate::tensor::Spec;

static ADAM: Shader = shader!("adam");
static CLIP_SQUARES: Shader = shader!("clip_squares");
static CLIP_FACTOR: Shader = shader!("clip_factor");

impl Matmul {
    pub(super) fn launches(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = self.sizes(&inputs[0], &inputs[1]).expect("the shapes were checked when the graph was built");
        let product = Product {
            batch: sizes.batch,
            rows: sizes.m,
            columns: sizes.n,
            terms: sizes.k,
            transpose_a: self.transpose_a,
            transpose_b: self.transpose_b,
            shared_b: sizes.shared_b,
        };
        vec![product.launch(None)]
    }
}

impl Linear {
    pub(super) fn launches(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (x, w) = (inputs[0].shape, inputs[1].shape);
        let product = Product {
            batch: 1,
            rows: x[0],
            columns: w[0],
            terms: x[1],
            transpose_a: false,
            transpose_b: true,
            shared_b: false,
        };
        vec![product.launch(Some(Operand::Input(2)))]
    }
}

impl LinearWeightGradient {
    /// A linear layer is a convolution of one pixel with one tap, whose kernel makes db along with dw.
    fn as_convolution(inputs: &[Spec]) -> Conv2dWeightGradient {
        let (x, dy) = (inputs[0].shape, inputs[1].shape);
        let sizes = ConvSizes {
            items: x[0],
            in_channels: x[1],
            out_channels: dy[1],
            groups: 1,
            input: [1, 1],
            output: [1, 1],
            kernel: [1, 1],
            options: ConvOptions::default(),
        };
        Conv2dWeightGradient { sizes, bias: true }
    }

    pub(super) fn launches(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        Self::as_convolution(inputs).launches(inputs, outputs)
    }

    pub(super) fn gpu_temporaries(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<usize> {
        Self::as_convolution(inputs).gpu_temporaries(inputs, outputs)
    }
}

impl Adam {
    /// p, m and v are updated in place: their old values lie where the outputs are.
    pub(super) fn launches(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        vec![Launch {
            shader: &ADAM,
            constants: vec![("LEN", len as f64)],
            operands: vec![
                Operand::Input(3),
                Operand::Input(4),
                Operand::Output(0),
                Operand::Output(1),
                Operand::Output(2),
            ],
            workgroups: grid(len.div_ceil(PER_WORKGROUP)),
        }]
    }
}

impl ClipFactor {
    /// Elements whose squares one workgroup adds: few enough for many workgroups, so many that their sums are soon added.
    fn chunk(len: usize) -> usize {
        len.div_ceil(1024).next_multiple_of(64).max(1024)
    }

    pub(super) fn launches(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let len = inputs[0].shape.elements();
        let chunk = Self::chunk(len);
        let partials = len.div_ceil(chunk);
        vec![
            Launch {
                shader: &CLIP_SQUARES,
                constants: vec![("LEN", len as f64), ("CHUNK", chunk as f64), ("PARTIALS", partials as f64)],
                operands: vec![Operand::Input(0), Operand::Scratch(0)],
                workgroups: grid(partials),
            },
            Launch {
                shader: &CLIP_FACTOR,
                constants: vec![("PARTIALS", partials as f64), ("MAX_NORM", self.max_norm)],
                operands: vec![Operand::ReadScratch(0), Operand::Output(0), Operand::Output(1)],
                workgroups: [1; 3],
            },
        ]
    }

    pub(super) fn gpu_temporaries(&self, inputs: &[Spec], _: &[Spec]) -> Vec<usize> {
        let len = inputs[0].shape.elements();
        vec![len.div_ceil(Self::chunk(len))]
    }
}
