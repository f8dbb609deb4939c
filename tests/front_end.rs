//! The operations of the front end: against their definitions written out naively in f64, f32 against f64, GPU against CPU, and
//! what they refuse.

#[path = "common/gpu.rs"]
mod common;

use humdinger::audio::filterbank::{FilterBank, FilterBankSpec, Norm, Scale};
use humdinger::audio::window::hann_periodic;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, Session, States, Target, Value};
use humdinger::ops::{BankRows, Fill, Framing, Per};
use humdinger::{Result, Shape};
use std::sync::Arc;

/// An input of a case.
#[derive(Clone)]
enum Feed {
    Real(Vec<usize>, Vec<f32>),
    Index(Vec<usize>, Vec<u32>),
}

type Build = Box<dyn Fn(&mut Graph, &[Value]) -> Result<Value>>;
type Reference = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

struct Case {
    name: String,
    feeds: Vec<Feed>,
    build: Build,
    reference: Option<Reference>,
    /// Relative to the largest value of the result.
    tolerance: f64,
}

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

/// Deterministic noise in [-1, 1).
fn noise(len: usize, salt: u32) -> Vec<f32> {
    let hash = |i: u32| {
        let mut h = i.wrapping_add(salt.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
        h ^= h >> 13;
        h = h.wrapping_mul(0xC2B2_AE35);
        h ^ h >> 16
    };
    (0..len as u32).map(|i| (hash(i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn real(shape: &[usize], salt: u32) -> Feed {
    Feed::Real(shape.to_vec(), noise(shape.iter().product(), salt))
}

fn powers(shape: &[usize], salt: u32) -> Feed {
    let values = noise(shape.iter().product(), salt).into_iter().map(|x| 10f32.powf(x * 7.0)).collect();
    Feed::Real(shape.to_vec(), values)
}

fn crop_case(n: usize, c: usize, samples: usize, length: usize) -> Case {
    let start: Vec<u32> = (0..n).map(|i| ((i * 7919 + samples - 1) % samples) as u32).collect();
    Case {
        name: format!("circular_crop {n}x{c}x{samples} -> {length}"),
        feeds: vec![real(&[n, c, samples], 1), Feed::Index(vec![n], start.clone())],
        build: Box::new(move |graph, v| graph.circular_crop(v[0], v[1], length)),
        reference: Some(Box::new(move |inputs| {
            let at = |i: usize| {
                let (row, t) = (i / length, i % length);
                inputs[0][row * samples + (start[row / c] as usize + t) % samples]
            };
            (0..n * c * length).map(at).collect()
        })),
        tolerance: 0.0,
    }
}

/// |DFT|^2 of each frame by the definition.
fn naive_power(x: &[f64], rows: usize, window: &[f64], framing: Framing) -> Vec<f64> {
    let samples = x.len() / rows;
    let (n, pad) = (framing.n_fft, if framing.centred { framing.n_fft as isize / 2 } else { 0 });
    let margin = (n - window.len()) / 2;
    let mut powers = vec![];
    for x in x.chunks(samples) {
        for frame in 0..framing.frames(samples).unwrap() {
            let at = |j: usize| {
                let t = (frame * framing.hop + j) as isize - pad;
                let t = t.abs();
                let t = if t >= samples as isize { 2 * (samples as isize - 1) - t } else { t };
                x[t as usize] * window.get(j.wrapping_sub(margin)).copied().unwrap_or(0.0)
            };
            let frame: Vec<f64> = (0..n).map(at).collect();
            for k in 0..=n / 2 {
                let (mut re, mut im) = (0.0, 0.0);
                for (t, x) in frame.iter().enumerate() {
                    let angle = -std::f64::consts::TAU * ((k * t) % n) as f64 / n as f64;
                    re += x * angle.cos();
                    im += x * angle.sin();
                }
                powers.push(re * re + im * im);
            }
        }
    }
    powers
}

fn rows(bank: &FilterBank) -> BankRows {
    let FilterBank { bins, first, offset, weights, .. } = bank.clone();
    BankRows { bins, first, offset, weights }
}

fn mel(n_fft: usize, bands: usize) -> FilterBank {
    let (sample_rate, f_min, f_max) = (11_000.0, 0.0, 5_500.0);
    let (scale, norm) = (Scale::MelHtk, Norm::None);
    FilterBank::new(&FilterBankSpec { sample_rate, n_fft, bands, f_min, f_max, scale, norm }).unwrap()
}

fn semitones(n_fft: usize, bands: usize) -> FilterBank {
    let (sample_rate, f_min, f_max) = (8_000.0, 80.0, 0.0);
    let (scale, norm) = (Scale::Logarithmic { per_octave: 24.0 }, Norm::Sum);
    FilterBank::new(&FilterBankSpec { sample_rate, n_fft, bands, f_min, f_max, scale, norm }).unwrap()
}

/// x [rows, frames, bins] through the bank: [rows, bands, frames].
fn naive_bank(power: &[f64], rows: usize, bank: &FilterBank) -> Vec<f64> {
    let (dense, bins, frames) = (bank.dense(), bank.bins, power.len() / rows / bank.bins);
    let mut y = vec![];
    for x in power.chunks(frames * bins) {
        for weights in dense.chunks(bins) {
            for x in x.chunks(bins) {
                y.push(x.iter().zip(weights).map(|(x, w)| x * w).sum());
            }
        }
    }
    y
}

fn spectrum_case(n: usize, c: usize, samples: usize, window: usize, framing: Framing) -> Case {
    let table = hann_periodic(window);
    let reference = table.clone();
    Case {
        name: format!("power_spectrum {n}x{c}x{samples}, window {window}, {framing:?}"),
        feeds: vec![real(&[n, c, samples], 2)],
        build: Box::new(move |graph, v| graph.power_spectrum(v[0], &table, framing)),
        reference: Some(Box::new(move |inputs| naive_power(&inputs[0], n * c, &reference, framing))),
        tolerance: 2e-6,
    }
}

fn bank_case(n: usize, c: usize, frames: usize, bank: FilterBank) -> Case {
    let table = rows(&bank);
    Case {
        name: format!("filter_bank {n}x{c}x{frames}x{} -> {}", bank.bins, bank.bands()),
        feeds: vec![powers(&[n, c, frames, bank.bins], 3)],
        build: Box::new(move |graph, v| graph.filter_bank(v[0], &table)),
        reference: Some(Box::new(move |inputs| naive_bank(&inputs[0], n * c, &bank))),
        tolerance: 1e-6,
    }
}

fn band_spectrum_case(n: usize, c: usize, samples: usize, window: usize, framing: Framing, bank: FilterBank) -> Case {
    let (table, shape) = (rows(&bank), hann_periodic(window));
    let reference = shape.clone();
    Case {
        name: format!("band_spectrum {n}x{c}x{samples}, window {window}, {framing:?}, {} bands", bank.bands()),
        feeds: vec![real(&[n, c, samples], 4)],
        build: Box::new(move |graph, v| graph.band_spectrum(v[0], &shape, framing, &table)),
        reference: Some(Box::new(move |inputs| {
            naive_bank(&naive_power(&inputs[0], n * c, &reference, framing), n * c, &bank)
        })),
        tolerance: 2e-6,
    }
}

fn decibels_case(shape: &[usize], top_db: f64) -> Case {
    let items = shape[0];
    let mut feed = powers(shape, 5);
    let Feed::Real(_, values) = &mut feed else { unreachable!() };
    values[0] = 0.0;
    Case {
        name: format!("decibels {shape:?} top_db {top_db}"),
        feeds: vec![feed],
        build: Box::new(move |graph, v| graph.decibels(v[0], 1e-10, top_db)),
        reference: Some(Box::new(move |inputs| {
            let x = &inputs[0];
            let item = |x: &[f64]| {
                let db: Vec<f64> = x.iter().map(|&x| 10.0 * x.max(1e-10).log10()).collect();
                let top = db.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                db.into_iter().map(move |x| x.max(top - top_db)).collect::<Vec<f64>>()
            };
            x.chunks(x.len() / items).flat_map(item).collect()
        })),
        tolerance: 4e-7,
    }
}

fn mask_case(shape: [usize; 4], frequency: Vec<u32>, time: Vec<u32>, fill: Fill) -> Case {
    let [n, c, bands, frames] = shape;
    let pairs = |masks: &[u32]| vec![n, masks.len() / n / 2, 2];
    let (f, t) = (frequency.clone(), time.clone());
    Case {
        name: format!("mask {shape:?} {fill:?}"),
        feeds: vec![real(&shape, 6), Feed::Index(pairs(&frequency), frequency), Feed::Index(pairs(&time), time)],
        build: Box::new(move |graph, v| graph.mask(v[0], v[1], v[2], fill)),
        reference: Some(Box::new(move |inputs| {
            let x = &inputs[0];
            let len = c * bands * frames;
            let hit = |masks: &[u32], item: usize, at: usize| {
                let own = &masks[item * masks.len() / n..(item + 1) * masks.len() / n];
                own.chunks(2).any(|m| (m[0] as usize..(m[0] + m[1]) as usize).contains(&at))
            };
            let cell = |i: usize| {
                let item = i / len;
                let value = match fill {
                    Fill::Constant(value) => value,
                    Fill::ItemMean => x[item * len..(item + 1) * len].iter().sum::<f64>() / len as f64,
                };
                let masked = hit(&f, item, i / frames % bands) || hit(&t, item, i % frames);
                if masked { value } else { x[i] }
            };
            (0..x.len()).map(cell).collect()
        })),
        tolerance: 1e-6,
    }
}

fn standardise_case(shape: &[usize], per: Per, eps: f64, scale: f32, offset: f32) -> Case {
    let groups = if per == Per::Item { shape[0] } else { 1 };
    let mut feed = real(shape, 7);
    let Feed::Real(_, values) = &mut feed else { unreachable!() };
    values.iter_mut().for_each(|v| *v = *v * scale + offset);
    Case {
        name: format!("standardise {shape:?} {per:?} eps {eps} scale {scale} offset {offset}"),
        feeds: vec![feed],
        build: Box::new(move |graph, v| graph.standardise(v[0], per, eps)),
        reference: Some(Box::new(move |inputs| {
            let group = |x: &[f64]| {
                let mean = x.iter().sum::<f64>() / x.len() as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0);
                let sd = variance.sqrt() + eps;
                x.iter().map(move |x| if sd == 0.0 { 0.0 } else { (x - mean) / sd }).collect::<Vec<f64>>()
            };
            inputs[0].chunks(inputs[0].len() / groups).flat_map(group).collect()
        })),
        tolerance: if offset == 0.0 { 2e-6 } else { 2e-5 },
    }
}

fn warp_case(shape: [usize; 4], by: Vec<f32>) -> Case {
    let [_, c, bands, frames] = shape;
    let warp = by.clone();
    Case {
        name: format!("warp {shape:?} by {by:?}"),
        feeds: vec![real(&shape, 8), Feed::Real(vec![shape[0], 2], by)],
        build: Box::new(|graph, v| graph.warp(v[0], v[1])),
        reference: Some(Box::new(move |inputs| {
            let x = &inputs[0];
            let len = c * bands * frames;
            let cell = |i: usize| {
                let item = i / len;
                let own = &x[item * len..(item + 1) * len];
                let least = own.iter().copied().fold(f64::INFINITY, f64::min);
                let plane = &own[i % len / (bands * frames) * bands * frames..][..bands * frames];
                let at = |b: f64, t: f64| {
                    let inside = b >= 0.0 && b < bands as f64 && t >= 0.0 && t < frames as f64;
                    if inside { plane[b as usize * frames + t as usize] } else { least }
                };
                let b = (i / frames % bands) as f64 - f64::from(warp[item * 2]);
                let t = (i % frames) as f64 * f64::from(warp[item * 2 + 1]);
                let (b0, t0) = (b.floor(), t.floor());
                let (pb, pt) = (b - b0, t - t0);
                let low = at(b0, t0) * (1.0 - pt) + at(b0, t0 + 1.0) * pt;
                let high = at(b0 + 1.0, t0) * (1.0 - pt) + at(b0 + 1.0, t0 + 1.0) * pt;
                low * (1.0 - pb) + high * pb
            };
            (0..x.len()).map(cell).collect()
        })),
        tolerance: 3e-5,
    }
}

fn cases() -> Vec<Case> {
    let framing = |n_fft, hop, centred| Framing { n_fft, hop, centred };
    vec![
        crop_case(1, 1, 1, 1),
        crop_case(3, 2, 500, 500),
        crop_case(4, 1, 777, 333),
        spectrum_case(1, 1, 5, 8, framing(8, 1, true)),
        spectrum_case(2, 1, 70, 16, framing(16, 5, true)),
        spectrum_case(1, 1, 100, 10, framing(32, 7, false)),
        spectrum_case(1, 2, 700, 256, framing(256, 100, true)),
        spectrum_case(1, 1, 600, 512, framing(512, 512, true)),
        spectrum_case(2, 2, 1_300, 1_024, framing(1_024, 512, true)),
        spectrum_case(1, 1, 2_048, 2_048, framing(2_048, 2_048, false)),
        spectrum_case(1, 1, 2_049, 4_096, framing(4_096, 1_000, true)),
        bank_case(1, 1, 1, mel(256, 8)),
        bank_case(2, 2, 19, mel(1_024, 64)),
        band_spectrum_case(2, 2, 3_000, 1_024, framing(1_024, 512, true), mel(1_024, 64)),
        band_spectrum_case(1, 1, 2_500, 1_024, framing(2_048, 256, true), semitones(2_048, 120)),
        band_spectrum_case(1, 1, 300, 256, framing(256, 64, true), mel(256, 70)),
        decibels_case(&[1, 5], 80.0),
        decibels_case(&[3, 2, 64, 86], 80.0),
        decibels_case(&[2, 9_000], 70.0),
        decibels_case(&[2, 300], f64::INFINITY),
        mask_case([1, 1, 4, 5], vec![0, 0], vec![0, 0], Fill::ItemMean),
        mask_case([1, 1, 4, 5], vec![3, 1], vec![5, 5], Fill::Constant(-2.0)),
        mask_case(
            [3, 2, 64, 86],
            vec![0, 6, 60, 4, 10, 3, 11, 3, 64, 0, 0, 64],
            vec![85, 1, 0, 8, 4, 0, 20, 7, 1, 2, 50, 8],
            Fill::ItemMean,
        ),
        standardise_case(&[1, 2], Per::Item, 0.0, 1.0, 0.0),
        standardise_case(&[3, 2, 64, 86], Per::Item, 0.0, 20.0, -50.0),
        standardise_case(&[3, 2, 64, 86], Per::Batch, 0.0, 20.0, 0.0),
        standardise_case(&[5, 7], Per::Batch, 1e-5, 1.0, 0.0),
        standardise_case(&[2, 4_097], Per::Item, 1e-5, 0.0, 3.0),
        standardise_case(&[2, 30], Per::Item, 0.0, 0.0, 3.0),
        warp_case([1, 1, 1, 1], vec![0.0, 1.0]),
        warp_case([2, 1, 12, 31], vec![0.0, 1.0, 2.0, 0.5]),
        warp_case([4, 2, 20, 40], vec![1.5, 1.25, -3.25, 0.8, 100.0, 1.0, 0.25, 3.0]),
        warp_case([1, 1, 120, 251], vec![-13.7, 1.31]),
    ]
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
