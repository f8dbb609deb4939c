//! The training step of the notebook's classifier in Burn; see ../README.md. The backend is the feature's it was built with.

#![recursion_limit = "256"]

#[path = "../../common.rs"]
mod common;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use common::CONVOLUTIONS;

#[derive(Module, Debug)]
struct Network {
    convolutions: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    linear: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        let (mut convolutions, mut norms) = (Vec::new(), Vec::new());
        for (i, (inputs, outputs, kernel)) in CONVOLUTIONS.into_iter().enumerate() {
            let pad = kernel / 2;
            let config = Conv2dConfig::new([inputs, outputs], [kernel, kernel])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad));
            let mut convolution = config.init(device);
            let values = TensorData::new(common::convolution_weights(i), [outputs, inputs, kernel, kernel]);
            convolution.weight = Param::from_data(values, device);
            convolution.bias = Some(Param::from_data(TensorData::new(vec![0f32; outputs], [outputs]), device));
            convolutions.push(convolution);
            norms.push(BatchNormConfig::new(outputs).init(device));
        }
        let mut linear = LinearConfig::new(64, 10).init(device);
        let [weight, bias] = common::linear_weights();
        // Burn keeps the weights as [inputs, outputs].
        let transposed: Vec<f32> = (0..640).map(|k| weight[k % 10 * 64 + k / 10]).collect();
        linear.weight = Param::from_data(TensorData::new(transposed, [64, 10]), device);
        linear.bias = Some(Param::from_data(TensorData::new(bias, [10]), device));
        Self { convolutions, norms, linear }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            x = norm.forward(relu(convolution.forward(x)));
        }
        let pooled: Tensor<2> = x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2);
        self.linear.forward(pooled)
    }
}

struct Classifier {
    // Taken out while a step changes it.
    network: Option<Network>,
    optimiser: ModuleOptimizer,
    loss: CrossEntropyLoss,
    x: Tensor<4>,
    labels: Tensor<1, Int>,
    device: Device,
}

impl Classifier {
    fn new(n: usize) -> Self {
        let device = device().autodiff();
        let (x, labels) = common::batch(n);
        let labels: Vec<i32> = labels.into_iter().map(|l| l as i32).collect();
        Self {
            network: Some(Network::new(&device)),
            optimiser: AdamConfig::new().with_epsilon(1e-8).init(),
            loss: CrossEntropyLossConfig::new().init(&device),
            x: Tensor::from_data(TensorData::new(x, [n, 2, 64, 86]), &device),
            labels: Tensor::from_data(TensorData::new(labels, [n]), &device),
            device,
        }
    }
}

impl common::Step for Classifier {
    fn step(&mut self, read: bool) -> f64 {
        let Some(network) = self.network.take() else { return f64::NAN };
        let loss = self.loss.forward(network.forward(self.x.clone()), self.labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        self.network = Some(self.optimiser.step(1e-3, network, gradients));
        let value = if read { f64::from(loss.into_scalar::<f32>()) } else { 0.0 };
        if self.device.sync().is_err() { f64::NAN } else { value }
    }
}

/// A convolution forward and backward.
struct Convolution {
    x: Tensor<4>,
    w: Tensor<4>,
    b: Tensor<1>,
    dy: Tensor<4>,
    stride: usize,
    device: Device,
}

impl Convolution {
    fn new(given: common::Convolution) -> Self {
        let ([n, from, to, size, stride], device) = (given.sizes, device().autodiff());
        Self {
            x: Tensor::from_data(TensorData::new(given.x, [n, from, size, size]), &device).require_grad(),
            w: Tensor::from_data(TensorData::new(given.w, [to, from, 3, 3]), &device).require_grad(),
            b: Tensor::from_data(TensorData::new(given.b, [to]), &device).require_grad(),
            dy: Tensor::from_data(TensorData::new(given.dy, [n, to, given.out, given.out]), &device),
            stride,
            device,
        }
    }
}

impl common::Step for Convolution {
    fn step(&mut self, read: bool) -> f64 {
        let options = ConvOptions::new([self.stride; 2], [1, 1], [1, 1], 1);
        let y = conv2d(self.x.clone(), self.w.clone(), Some(self.b.clone()), options);
        let gradients = (y * self.dy.clone()).sum().backward();
        let dw = self.w.grad(&gradients);
        let value = match dw.filter(|_| read).map(|dw| dw.into_data().try_to_vec::<f32>()) {
            Some(Ok(dw)) => common::mean_square(&dw),
            _ => 0.0,
        };
        if self.device.sync().is_err() { f64::NAN } else { value }
    }
}

#[cfg(not(feature = "wgpu"))]
fn device() -> Device {
    Device::flex()
}

#[cfg(feature = "wgpu")]
fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

fn main() {
    let variant = if cfg!(feature = "wgpu") { "wgpu" } else { "flex" };
    common::serve("burn", "0.22.1", variant, |work, variant, batch| match work {
        "step" => Some(Box::new(Classifier::new(batch))),
        "conv2d" => Some(Box::new(Convolution::new(common::convolution(variant)?))),
        _ => None,
    });
}
