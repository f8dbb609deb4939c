// What the Burn and candle peers share, included by both with #[path]: the formula of inputs and weights, the protocol and the
// timing of README.md.

use std::io::BufRead;
use std::time::{Duration, Instant};

/// `count` numbers in [-1, 1) from 32-bit integers: tools/notebook_model.py's `hashed_uniform`.
pub fn hashed_uniform(seed: u32, count: usize) -> Vec<f32> {
    let value = |i: u32| {
        let mut h = i.wrapping_mul(0x9E37_79B1).wrapping_add(seed.wrapping_mul(0x85EB_CA6B));
        h ^= h >> 16;
        h = h.wrapping_mul(0x7FEB_352D);
        h ^= h >> 15;
        h = h.wrapping_mul(0x846C_A68B);
        h ^= h >> 16;
        (f64::from(h >> 8) / 8_388_608.0 - 1.0) as f32
    };
    (0..count as u32).map(value).collect()
}

/// `hashed_uniform` times a factor, rounded once.
pub fn scaled(seed: u32, count: usize, factor: f64) -> Vec<f32> {
    hashed_uniform(seed, count).into_iter().map(|x| (f64::from(x) * factor) as f32).collect()
}

/// In and out channels and kernel size of the four convolutions.
pub const CONVOLUTIONS: [(usize, usize, usize); 4] = [(2, 8, 5), (8, 16, 3), (16, 32, 3), (32, 64, 3)];

/// The weights of convolution `i`, from 0. Every block has four parameters in PyTorch's order.
pub fn convolution_weights(i: usize) -> Vec<f32> {
    let (inputs, outputs, kernel) = CONVOLUTIONS[i];
    let fan_in = inputs * kernel * kernel;
    scaled(1000 + 4 * i as u32, outputs * fan_in, (6.0 / fan_in as f64).sqrt())
}

/// Weights [10, 64] and bias [10] of the linear layer.
pub fn linear_weights() -> [Vec<f32>; 2] {
    [scaled(1016, 640, 0.125), scaled(1017, 10, 0.125)]
}

/// The input [n, 2, 64, 86] and the labels.
pub fn batch(n: usize) -> (Vec<f32>, Vec<u32>) {
    (hashed_uniform(7, n * 2 * 64 * 86), (0..n as u32).map(|i| i % 8).collect())
}

/// A convolution of the work `conv2d`: sizes, inputs and the gradient that arrives.
pub struct Convolution {
    /// N, channels in, channels out, height and width, stride.
    pub sizes: [usize; 5],
    /// Height and width of the output.
    pub out: usize,
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    pub dy: Vec<f32>,
}

/// The convolution of a variant, `56x56` or `28x28`.
pub fn convolution(variant: &str) -> Option<Convolution> {
    let sizes @ [n, from, to, size, stride] = match variant {
        "56x56" => [32, 64, 64, 56, 1],
        "28x28" => [16, 128, 256, 28, 2],
        _ => return None,
    };
    let out = (size - 1) / stride + 1;
    Some(Convolution {
        sizes,
        out,
        x: hashed_uniform(1, n * from * size * size),
        w: scaled(2, to * from * 9, 1.0 / ((9 * from) as f64).sqrt()),
        b: hashed_uniform(3, to),
        dy: hashed_uniform(4, n * to * out * out),
    })
}

/// The mean of the squares.
#[allow(dead_code)]
pub fn mean_square(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / values.len() as f64
}

/// A piece of work that can be repeated.
pub trait Step {
    /// Does it once. The work's check (the loss before a training step, say) is on the host when this returns, if `read` is
    /// set; the work is done in any case.
    fn step(&mut self, read: bool) -> f64;
}

fn measure(work: &str, name: &str, batch: usize, seconds: f64, step: &mut dyn Step) -> String {
    let mut check = 0.0;
    for _ in 0..10 {
        check = step.step(true);
    }
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_secs_f64(seconds / 10.0) {
        step.step(false);
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < Duration::from_secs_f64(seconds) {
        let one = Instant::now();
        step.step(false);
        times.push(one.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    format!(
        r#"{{"name": "{work}", "variant": "{name}", "batch": {batch}, "median_ms": {median}, "best_ms": {best}, "check": {check}}}"#
    )
}

/// Makes a piece of work from its name, its variant and a batch size; none where it is not offered.
pub type Make = fn(&str, &str, usize) -> Option<Box<dyn Step>>;

fn answer(line: &str, variant: &str, make: Make) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |flag: &str| words.iter().position(|w| *w == flag).and_then(|i| words.get(i + 1)).copied();
    let (Ok(batch), Ok(seconds)) = (value("--batch").unwrap_or("4").parse(), value("--seconds").unwrap_or("2").parse())
    else {
        return r#"{"error": "--batch and --seconds want numbers"}"#.into();
    };
    let work = words.first().copied().unwrap_or_default();
    match make(work, value("--variant").unwrap_or_default(), batch) {
        Some(mut step) => measure(work, variant, batch, seconds, &mut *step),
        None => format!(r#"{{"error": "`{work}` is not offered here in this variant"}}"#),
    }
}

/// The protocol: one measurement from the arguments, or with `--serve` one per line of standard input.
pub fn serve(library: &str, version: &str, variant: &str, make: Make) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|a| a == "--serve") {
        println!("{}", answer(&arguments.join(" "), variant, make));
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(r#"{{"ready": true, "threads": {threads}, "versions": {{"{library}": "{version} {variant}"}}}}"#);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", answer(&line, variant, make));
    }
}
