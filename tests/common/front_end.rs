//! Cases of the front end's operations, with their definitions written out naively in f64.

use humdinger::Result;
use humdinger::audio::filterbank::{FilterBank, FilterBankSpec, Norm, Scale};
use humdinger::audio::window::hann_periodic;
use humdinger::graph::{Graph, Value};
use humdinger::ops::{BankRows, Fill, Framing, Per};

/// An input of a case.
#[derive(Clone)]
pub enum Feed {
    Real(Vec<usize>, Vec<f32>),
    Index(Vec<usize>, Vec<u32>),
}

pub type Build = Box<dyn Fn(&mut Graph, &[Value]) -> Result<Value>>;
pub type Reference = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

pub struct Case {
    pub name: String,
    pub feeds: Vec<Feed>,
    pub build: Build,
    pub reference: Option<Reference>,
    /// Relative to the largest value of the result.
    pub tolerance: f64,
}

/// Deterministic noise in [-1, 1).
pub fn noise(len: usize, salt: u32) -> Vec<f32> {
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

pub fn rows(bank: &FilterBank) -> BankRows {
    let FilterBank { bins, first, offset, weights, .. } = bank.clone();
    BankRows { bins, first, offset, weights }
}

pub fn mel(n_fft: usize, bands: usize) -> FilterBank {
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

pub fn cases() -> Vec<Case> {
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
