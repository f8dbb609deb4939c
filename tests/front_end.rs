//! The operations of the front end: against their definitions written out naively in f64, f32 against f64, GPU against CPU, and
//! what they refuse.

#![cfg(feature = "app")]

#[path = "common/front_end.rs"]
mod cases;
#[path = "common/gpu.rs"]
mod common;
#[path = "common/vectors.rs"]
mod vectors;

use cases::{Build, Case, Feed, cases, mel, noise, rows};
use humdinger::Shape;
use humdinger::audio::window::hann_periodic;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, Session, States, Target, Value};
use humdinger::ops::{BankRows, Fill, Framing, Per};
use std::sync::Arc;

fn graph(case: &Case) -> (Graph, Shape) {
    let mut graph = Graph::new(Arc::new(States::new()));
    let inputs: Vec<Value> = (case.feeds.iter().enumerate())
        .map(|(i, feed)| match feed {
            Feed::Real(shape, _) => graph.input(&i.to_string(), Shape::new(shape)).unwrap(),
            Feed::Index(shape, _) => graph.index_input(&i.to_string(), Shape::new(shape)).unwrap(),
        })
        .collect();
    let y = (case.build)(&mut graph, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    graph.output("y", y).unwrap();
    let shape = graph.shape(y);
    (graph, shape)
}

/// States are compared by address, so each session is made over those of its case's graph.
fn states(case: &Case) -> (Graph, Arc<States>) {
    let (graph, _) = graph(case);
    let states = graph.states().clone();
    (graph, states)
}

fn cpu<T: humdinger::graph::CpuReal>(case: &Case, threads: usize) -> Vec<f64> {
    let (graph, states) = states(case);
    let mut session = CpuSession::<T>::new(states, Arc::new(Pool::new(threads))).unwrap();
    let id = session.add(Plan::new(graph, Target::Cpu).unwrap()).unwrap();
    feed(case, &mut session, id);
    session.run(id).unwrap();
    session.output(id, "y").unwrap().iter().map(|v| v.to_f64()).collect()
}

fn gpu(case: &Case) -> Option<Vec<f64>> {
    let (graph, states) = states(case);
    let mut session = GpuSession::new(common::gpu()?, states).unwrap();
    let len = graph.shape(graph.outputs()[0].1).elements();
    let id = session.add(Plan::new(graph, Target::Gpu).unwrap_or_else(|e| panic!("{}: {e}", case.name))).unwrap();
    feed(case, &mut session, id);
    session.run(id).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let mut y = vec![0.0; len];
    session.read(id, "y", &mut y).unwrap();
    Some(y.into_iter().map(f64::from).collect())
}

fn feed(case: &Case, session: &mut dyn Session, id: humdinger::graph::PlanId) {
    for (i, feed) in case.feeds.iter().enumerate() {
        match feed {
            Feed::Real(_, data) => session.write(id, &i.to_string(), data).unwrap(),
            Feed::Index(_, data) => session.write_indices(id, &i.to_string(), data).unwrap(),
        }
    }
}

/// The largest difference, relative to the largest expected magnitude.
fn difference(name: &str, got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    let nan = got.iter().zip(expected).position(|(a, b)| a.is_nan() != b.is_nan());
    assert_eq!(nan, None, "{name}: NaN at this place in one of the two");
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
}

fn inputs(case: &Case) -> Vec<Vec<f64>> {
    let values = |feed: &Feed| match feed {
        Feed::Real(_, data) => data.iter().map(|&x| f64::from(x)).collect(),
        Feed::Index(_, data) => data.iter().map(|&x| f64::from(x)).collect(),
    };
    case.feeds.iter().map(values).collect()
}

#[test]
fn cpu_against_the_definitions() {
    vectors::choose_vectors();
    for case in cases() {
        let double = cpu::<f64>(&case, 2);
        if let Some(reference) = &case.reference {
            let error = difference(&case.name, &double, &reference(&inputs(&case)));
            assert!(error < 1e-11, "{}: f64 is off by {error:e}", case.name);
        }
        let error = difference(&case.name, &cpu::<f32>(&case, 2), &double);
        assert!(error <= case.tolerance, "{}: f32 is off by {error:e}", case.name);
    }
}

#[test]
fn narrower_vectors_against_the_definitions() {
    vectors::with_narrower_vectors(&["cpu_against_the_definitions"]);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    for case in cases() {
        let one = cpu::<f32>(&case, 1);
        for threads in [2, 5] {
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&one), bits(&cpu::<f32>(&case, threads)), "{} with {threads} threads", case.name);
        }
    }
}

#[test]
fn gpu_against_cpu() {
    for case in cases() {
        let Some(got) = gpu(&case) else { return };
        let error = difference(&case.name, &got, &cpu::<f64>(&case, 2));
        assert!(error <= case.tolerance, "{}: the GPU is off by {error:e}", case.name);
        println!("{:60} {error:.1e}", case.name);
    }
}

/// The operations that hold a spectrogram must not hide a NaN, on either device.
#[test]
fn nan_stays_visible() {
    let mut values = noise(2 * 100, 9);
    values[130] = f32::NAN;
    let feed = Feed::Real(vec![2, 1, 10, 10], values);
    let builds: Vec<(&str, Build)> = vec![
        ("decibels", Box::new(|graph, v| graph.decibels(v[0], 1e-10, 80.0))),
        ("standardise", Box::new(|graph, v| graph.standardise(v[0], Per::Item, 1e-5))),
    ];
    for (name, build) in builds {
        let case = Case { name: name.into(), feeds: vec![feed.clone()], build, reference: None, tolerance: 0.0 };
        for y in [Some(cpu::<f32>(&case, 2)), gpu(&case)].into_iter().flatten() {
            assert!(y[..100].iter().all(|v| !v.is_nan()), "{name}");
            assert!(y[100..].iter().all(|v| v.is_nan()), "{name}");
        }
    }
}

#[test]
fn what_is_refused() {
    let hann = hann_periodic(64);
    let framing = Framing { n_fft: 64, hop: 16, centred: true };
    let bank = rows(&mel(64, 4));
    let mut graph = Graph::new(Arc::new(States::new()));
    let signal = graph.input("signal", [2, 1, 100]).unwrap();
    let flat = graph.input("flat", [2]).unwrap();
    let image = graph.input("image", [2, 1, 4, 5]).unwrap();
    let start = graph.index_input("start", [2]).unwrap();
    let pairs = graph.index_input("pairs", [2, 1, 2]).unwrap();
    let three = graph.index_input("three", [3, 1, 2]).unwrap();
    let by = graph.input("by", [2, 2]).unwrap();
    let g = &mut graph;
    let bad_bank = |change: fn(&mut BankRows)| {
        let mut bank = bank.clone();
        change(&mut bank);
        bank
    };
    let spectrum = |g: &mut Graph, framing| g.power_spectrum(signal, &hann, framing);
    let results = [
        g.circular_crop(flat, start, 5),
        g.circular_crop(signal, start, 101),
        g.circular_crop(signal, start, 0),
        g.circular_crop(signal, pairs, 5),
        spectrum(g, Framing { n_fft: 60, ..framing }),
        spectrum(g, Framing { n_fft: 8_192, ..framing }),
        spectrum(g, Framing { n_fft: 32, ..framing }),
        spectrum(g, Framing { hop: 0, ..framing }),
        spectrum(g, Framing { n_fft: 256, ..framing }),
        spectrum(g, Framing { n_fft: 128, centred: false, ..framing }),
        g.power_spectrum(signal, &[], framing),
        g.power_spectrum(image, &hann, framing),
        g.band_spectrum(signal, &hann, Framing { n_fft: 128, ..framing }, &bank),
        g.band_spectrum(signal, &hann, framing, &bad_bank(|b| b.first[3] = 60)),
        g.band_spectrum(signal, &hann, framing, &bad_bank(|b| b.offset[1] = 1_000)),
        g.band_spectrum(signal, &hann, framing, &bad_bank(|b| b.weights.truncate(3))),
        g.filter_bank(image, &bank),
        g.decibels(image, 0.0, 80.0),
        g.decibels(image, 1e-10, -1.0),
        g.decibels(image, 1e-10, f64::NAN),
        g.decibels(flat, 1e-10, 80.0),
        g.mask(image, three, pairs, Fill::ItemMean),
        g.mask(image, pairs, by, Fill::ItemMean),
        g.mask(signal, pairs, pairs, Fill::ItemMean),
        g.mask(image, pairs, pairs, Fill::Constant(f64::NAN)),
        g.standardise(image, Per::Item, -1.0),
        g.standardise(flat, Per::Item, 0.0),
        g.warp(signal, by),
        g.warp(image, flat),
    ];
    for (i, result) in results.into_iter().enumerate() {
        assert!(result.is_err(), "number {i} was accepted");
    }
    // Indices are checked when they are written.
    let crop = graph.circular_crop(signal, start, 50).unwrap();
    let masked = graph.mask(image, pairs, pairs, Fill::ItemMean).unwrap();
    graph.output("crop", crop).unwrap();
    graph.output("masked", masked).unwrap();
    let states = graph.states().clone();
    let mut session = CpuSession::<f32>::new(states, Arc::new(Pool::new(1))).unwrap();
    let id = session.add(Plan::new(graph, Target::Cpu).unwrap()).unwrap();
    assert!(session.write_indices(id, "start", &[0, 100]).is_err());
    assert!(session.write_indices(id, "start", &[0, 99]).is_ok());
    assert!(session.write_indices(id, "pairs", &[0, 0, 0, 6]).is_err());
}

#[test]
fn gradients_are_refused() {
    let mut graph = Graph::new(Arc::new(States::new()));
    let x = graph.input("x", [2, 1, 4, 5]).unwrap();
    let y = graph.standardise(x, Per::Item, 1e-5).unwrap();
    let one = graph.circular_crop_of_one(y);
    let error = graph.gradients(one, &[x]).unwrap_err().to_string();
    assert!(error.contains("no gradient"), "{error}");
}

trait One {
    fn circular_crop_of_one(&mut self, x: Value) -> Value;
}

impl One for Graph {
    /// Any value of one element that depends on `x` through operations of the front end alone.
    fn circular_crop_of_one(&mut self, x: Value) -> Value {
        let rows = self.reshape(x, [1, 1, 40]).unwrap();
        let start = self.index_constant([1], vec![0]).unwrap();
        self.circular_crop(rows, start, 1).unwrap()
    }
}
