//! Convolutions and their gradients on a GPU against the CPU in f64, over options drawn at random and the corners that
//! chance may miss: NMSE below 1e-11, and nothing written outside the results.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::gpu;
use humdinger::Result;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, Session, States, Target, Value};
use humdinger::ops::{Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvOptions, ConvSizes};
use std::sync::Arc;

/// A small generator of numbers in `[0, 1)` (SplitMix64: Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Items, channels and size of the input, output channels and size of the kernel, options.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    x: [usize; 4],
    w: [usize; 3],
    options: ConvOptions,
}

impl Convolution {
    fn new(x: [usize; 4], w: [usize; 3], stride: usize, padding: usize) -> Self {
        Self { x, w, options: ConvOptions::square(stride, padding) }
    }

    /// y, dx, dw, db; dy is an input, so it is not all ones.
    fn build(&self, states: &Arc<States>, bias: bool, relu: bool) -> Result<Graph> {
        let mut graph = Graph::new(states.clone());
        let Self { x, w: [channels, kh, kw], options } = *self;
        let w = [channels, x[1] / options.groups, kh, kw];
        let (x, w) = (graph.input("x", x)?, graph.input("w", w)?);
        let mut inputs = vec![x, w];
        if bias {
            inputs.push(graph.input("b", [channels])?);
        }
        let y = graph.apply_one(Conv2d { options, bias, relu }, &inputs)?;
        let shape = graph.spec(y).shape;
        let dy = graph.input("dy", shape)?;
        let sizes = ConvSizes::new("test", &graph.spec(x), &graph.spec(w), options)?;
        let dx = graph.apply_one(Conv2dInputGradient { sizes }, &[dy, w])?;
        let mut made: Vec<Value> = vec![y, dx];
        made.extend(graph.apply(Conv2dWeightGradient { sizes, bias }, &[x, dy])?);
        for (name, value) in ["y", "dx", "dw", "db"].into_iter().zip(made) {
            graph.output(name, value)?;
        }
        Ok(graph)
    }

    /// The largest NMSE of the results, and which.
    fn worst(&self, gpu: &humdinger::gpu::Gpu, bias: bool, relu: bool) -> Result<(f64, String)> {
        let states = Arc::new(States::new());
        let plan = Plan::new(self.build(&states, bias, relu)?, Target::Gpu)?;
        let mut ours = GpuSession::with_guards(gpu.clone(), states.clone())?;
        let id = ours.add(plan)?;
        let mut reference = CpuSession::<f64>::new(states.clone(), Arc::new(Pool::new(2)))?;
        let reference_id = reference.add(Plan::new(self.build(&states, bias, relu)?, Target::Cpu)?)?;
        let ports = ours.plan(id).inputs.clone();
        for port in &ports {
            let mut random = Random(port.name.bytes().map(u64::from).sum());
            let data: Vec<f32> = (0..port.place.len).map(|_| (random.next() * 2.0 - 0.9) as f32).collect();
            ours.write(id, &port.name, &data)?;
            let data: Vec<f64> = data.into_iter().map(f64::from).collect();
            reference.write_real(reference_id, &port.name, &data)?;
        }
        ours.run(id)?;
        reference.run(reference_id)?;
        let mut worst = (0.0, String::new());
        for port in ours.plan(id).outputs.clone() {
            let mut found = vec![0.0; port.place.len];
            ours.read(id, &port.name, &mut found)?;
            let expected = reference.output(reference_id, &port.name)?;
            let square = |sum: f64, x: f64| sum + x * x;
            let error = found.iter().zip(expected).map(|(&f, &e)| f64::from(f) - e).fold(0.0, square);
            let power = expected.iter().copied().fold(0.0, square);
            let nmse = if error == 0.0 { 0.0 } else { error / power };
            if nmse.is_nan() || nmse > worst.0 {
                worst = (nmse, port.name.clone());
            }
        }
        Ok(worst)
    }
}

fn check(convolutions: &[(Convolution, bool, bool)]) {
    let Some(gpu) = gpu() else { return };
    let mut failures = Vec::new();
    for (convolution, bias, relu) in convolutions {
        match convolution.worst(&gpu, *bias, *relu) {
            Ok((nmse, name)) if nmse >= 1e-11 || nmse.is_nan() => {
                failures.push(format!("{convolution:?} bias {bias} relu {relu}: {name} has NMSE {nmse:.1e}"));
            }
            Ok(_) => {}
            Err(error) => failures.push(format!("{convolution:?} bias {bias} relu {relu}: {error}")),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_classifier_s_convolutions() {
    let layers = [
        Convolution::new([3, 2, 64, 86], [8, 5, 5], 2, 2),
        Convolution::new([3, 8, 32, 43], [16, 3, 3], 2, 1),
        Convolution::new([3, 16, 16, 22], [32, 3, 3], 2, 1),
        Convolution::new([3, 32, 8, 11], [64, 3, 3], 2, 1),
    ];
    check(&layers.map(|layer| (layer, true, true)));
}

#[test]
fn corners() {
    let one = ConvOptions::default();
    let odd = |x, w, stride, padding, dilation, groups| Convolution {
        x,
        w,
        options: ConvOptions { stride, padding, dilation, groups },
    };
    check(&[
        (Convolution { x: [1, 1, 1, 1], w: [1, 1, 1], options: one }, false, false),
        (Convolution { x: [2, 5, 7, 3], w: [3, 1, 1], options: one }, true, false),
        (Convolution { x: [2, 3, 9, 9], w: [4, 9, 9], options: one }, true, false),
        // The stride leaves some of the input out, or passes whole classes of pixels by.
        (Convolution::new([2, 3, 11, 10], [5, 1, 1], 3, 0), true, false),
        (Convolution::new([2, 3, 11, 10], [5, 2, 2], 5, 1), true, true),
        // Stride and dilation share a divisor, or one divides the other.
        (odd([2, 4, 17, 19], [6, 3, 3], [4, 6], [3, 2], [6, 4], 2), true, false),
        (odd([2, 4, 17, 19], [6, 3, 2], [2, 3], [1, 4], [4, 9], 1), false, false),
        // Depthwise, and padding beyond the kernel.
        (odd([2, 6, 8, 5], [6, 3, 3], [1, 2], [4, 5], [1, 1], 6), true, false),
        (odd([1, 4, 1, 50], [8, 1, 7], [1, 2], [0, 3], [1, 1], 4), true, true),
        // Invocations that own 8 x 8 results, or 16 x 4, and read their columns themselves; the same in parts for dw.
        (Convolution::new([3, 7, 90, 91], [8, 3, 3], 1, 1), true, true),
        (Convolution::new([3, 16, 90, 91], [15, 3, 5], 2, 1), true, false),
        (Convolution::new([3, 30, 60, 61], [31, 3, 3], 1, 1), true, false),
        // Tiles of 64 x 64, several of each, and sums of more than 4 096 terms.
        (Convolution::new([3, 70, 13, 17], [130, 3, 3], 1, 1), true, false),
        (Convolution::new([1, 460, 5, 4], [9, 3, 3], 1, 1), true, false),
        (Convolution::new([70, 3, 65, 63], [5, 3, 3], 1, 1), true, false),
    ]);
}

#[test]
fn options_drawn_at_random() {
    let states = Arc::new(States::new());
    let mut random = Random(7);
    let mut below = |bound: usize| (random.next() * bound as f64) as usize;
    let mut drawn = Vec::new();
    while drawn.len() < 30 {
        let groups = 1 + below(3);
        let convolution = Convolution {
            x: [1 + below(3), groups * (1 + below(5)), 1 + below(20), 1 + below(20)],
            w: [groups * (1 + below(12)), 1 + below(5), 1 + below(5)],
            options: ConvOptions {
                stride: [1 + below(4), 1 + below(4)],
                padding: [below(4), below(4)],
                dilation: [1 + below(3), 1 + below(3)],
                groups,
            },
        };
        if convolution.build(&states, false, false).is_ok() {
            drawn.push((convolution, below(2) == 1, below(2) == 1));
        }
    }
    check(&drawn);
}
