//! The training step of the notebook's classifier in candle, on the CPU; see ../README.md.

#[path = "../../common.rs"]
mod common;

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::{AdamW, BatchNorm, ModuleT, Optimizer, ParamsAdamW};
use common::CONVOLUTIONS;

struct Block {
    weight: Var,
    bias: Var,
    norm: BatchNorm,
    padding: usize,
}

struct Classifier {
    blocks: Vec<Block>,
    weight: Var,
    bias: Var,
    optimiser: AdamW,
    x: Tensor,
    labels: Tensor,
}

impl Classifier {
    fn new(n: usize) -> Result<Self> {
        let device = Device::Cpu;
        let (mut blocks, mut parameters) = (Vec::new(), Vec::new());
        for (i, (inputs, outputs, kernel)) in CONVOLUTIONS.into_iter().enumerate() {
            let values = common::convolution_weights(i);
            let weight = Var::from_vec(values, (outputs, inputs, kernel, kernel), &device)?;
            let bias = Var::from_vec(vec![0f32; outputs], outputs, &device)?;
            let gamma = Var::from_vec(vec![1f32; outputs], outputs, &device)?;
            let beta = Var::from_vec(vec![0f32; outputs], outputs, &device)?;
            let (mean, variance) = (beta.as_detached_tensor(), gamma.as_detached_tensor());
            let affine = (gamma.as_tensor().clone(), beta.as_tensor().clone());
            let norm = BatchNorm::new(outputs, mean.copy()?, variance.copy()?, affine.0, affine.1, 1e-5)?;
            parameters.extend([weight.clone(), bias.clone(), gamma, beta]);
            blocks.push(Block { weight, bias, norm, padding: kernel / 2 });
        }
        let [weight, bias] = common::linear_weights();
        let (weight, bias) = (Var::from_vec(weight, (10, 64), &device)?, Var::from_vec(bias, 10, &device)?);
        parameters.extend([weight.clone(), bias.clone()]);
        // Without decay AdamW is Adam.
        let settings = ParamsAdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        let (x, labels) = common::batch(n);
        Ok(Self {
            blocks,
            weight,
            bias,
            optimiser: AdamW::new(parameters, settings)?,
            x: Tensor::from_vec(x, (n, 2, 64, 86), &device)?,
            labels: Tensor::from_vec(labels, n, &device)?,
        })
    }

    fn once(&mut self) -> Result<Tensor> {
        let mut x = self.x.clone();
        for block in &self.blocks {
            let bias = block.bias.reshape((1, (), 1, 1))?;
            // candle 0.11 takes the size of the gradient with respect to a strided convolution's input from the height
            // alone. A column of zeros at the right makes the width even like the height, and changes no result.
            if x.dim(3)? % 2 != x.dim(2)? % 2 {
                x = x.pad_with_zeros(3, 0, 1)?;
            }
            let y = x.conv2d(&block.weight, block.padding, 2, 1, 1)?.broadcast_add(&bias)?.relu()?;
            x = block.norm.forward_t(&y, true)?;
        }
        let pooled = x.flatten_from(2)?.mean(D::Minus1)?;
        let logits = pooled.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &self.labels)?;
        self.optimiser.backward_step(&loss)?;
        Ok(loss)
    }
}

impl common::Step for Classifier {
    fn step(&mut self, _: bool) -> f64 {
        // On the CPU the work is done when the call returns.
        let loss = self.once().and_then(|loss| loss.to_scalar::<f32>());
        loss.map_or(f64::NAN, f64::from)
    }
}

/// A convolution forward and backward.
struct Convolution {
    x: Var,
    w: Var,
    b: Var,
    dy: Tensor,
    stride: usize,
}

impl Convolution {
    fn new(given: common::Convolution) -> Result<Self> {
        let ([n, from, to, size, stride], device) = (given.sizes, Device::Cpu);
        Ok(Self {
            x: Var::from_vec(given.x, (n, from, size, size), &device)?,
            w: Var::from_vec(given.w, (to, from, 3, 3), &device)?,
            b: Var::from_vec(given.b, to, &device)?,
            dy: Tensor::from_vec(given.dy, (n, to, given.out, given.out), &device)?,
            stride,
        })
    }

    fn once(&self) -> Result<Vec<f32>> {
        let y = self.x.conv2d(&self.w, 1, self.stride, 1, 1)?.broadcast_add(&self.b.reshape((1, (), 1, 1))?)?;
        let gradients = (y * &self.dy)?.sum_all()?.backward()?;
        let dw = gradients.get(&self.w).ok_or_else(|| candle_core::Error::Msg("no gradient".into()))?;
        dw.flatten_all()?.to_vec1()
    }
}

impl common::Step for Convolution {
    fn step(&mut self, read: bool) -> f64 {
        self.once().map_or(f64::NAN, |dw| if read { common::mean_square(&dw) } else { 0.0 })
    }
}

fn main() {
    common::serve("candle", "0.11.1", "cpu", |work, variant, batch| match work {
        "step" => Some(Box::new(Classifier::new(batch).expect("a classifier"))),
        "conv2d" => Some(Box::new(Convolution::new(common::convolution(variant)?).expect("a convolution"))),
        _ => None,
    });
}
