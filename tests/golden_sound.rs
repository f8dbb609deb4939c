//! Against torchaudio and librosa: the numbers that `tools/golden_sound.py` wrote.

#![cfg(feature = "app")]

#[path = "common/gpu.rs"]
mod common;
#[path = "common/vectors.rs"]
mod vectors;

use humdinger::audio::channels::to_count;
use humdinger::audio::decode::decode_file;
use humdinger::audio::filterbank::{FilterBank, FilterBankSpec, Norm, Scale};
use humdinger::audio::resample::Resampler;
use humdinger::audio::window::hann_periodic;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::data::draws::NotebookDraws;
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, Session, States, Target};
use humdinger::ops::{BankRows, Fill, Framing, Per};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RATE: u32 = 11_000;
const WINDOW: usize = 44_000;
const BANDS: usize = 64;
const FRAMES: usize = 86;
const SLICE: usize = 300;

struct Golden {
    bytes: Vec<u8>,
    header: Json,
}

impl Golden {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sound").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let fields = metadata.metadata().clone().unwrap().into_iter();
        let header = fields.map(|(key, text)| (key, serde_json::from_str(&text).unwrap())).collect();
        Self { bytes, header: Json::Object(header) }
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let data = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec();
        data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn cases(&self) -> &[Json] {
        self.header["cases"].as_array().unwrap()
    }
}

fn number(json: &Json, key: &str) -> usize {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} of {json}")) as usize
}

/// `signal` of the script: two gliding triangle waves and noise, from integers alone.
fn signal(samples: usize, salt: u64) -> Vec<f32> {
    let low = |x: u64| x & 0xFFFF_FFFF;
    let triangle = |t: u64, base: u64, slope: u64| {
        let phase = low(t.wrapping_mul(base).wrapping_add(t.wrapping_mul(t).wrapping_mul(slope)));
        ((phase >> 16) as i64 - 32_768).abs() - 16_384
    };
    let sample = |t: u64| {
        let mut h = low(t.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503));
        h ^= h >> 15;
        h = low(h.wrapping_mul(2_246_822_519));
        let noise = (h >> 20) as i64 - 2_048;
        let tones = triangle(t, 31_000_000 + 700_000 * salt, 9 + salt).div_euclid(2);
        ((tones + triangle(t, 93_000_000, 3).div_euclid(4) + noise) as f64 / 32_768.0) as f32
    };
    (0..samples as u64).map(sample).collect()
}

fn selected(x: &[f32]) -> Vec<f32> {
    let n = x.len();
    if n <= 3 * SLICE {
        return x.to_vec();
    }
    [&x[..SLICE], &x[n / 2..n / 2 + SLICE], &x[n - SLICE..]].concat()
}

fn statistics(x: &[f32]) -> [f64; 2] {
    let x = x.iter().map(|&x| f64::from(x));
    [x.clone().sum(), x.map(|x| x * x).sum()]
}

fn largest_difference(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(&a, &b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[test]
fn resampling_is_torchaudios() {
    vectors::choose_vectors();
    let golden = Golden::open("resample.safetensors");
    for case in golden.cases() {
        let name = case["name"].as_str().unwrap();
        let resampler = Resampler::new(number(case, "start") as u32, number(case, "end") as u32).unwrap();
        let y = resampler.run(&signal(number(case, "samples"), 1));
        assert_eq!(y.len(), number(case, "length"), "{name}");
        let error = largest_difference(&selected(&y), &golden.tensor(name));
        assert!(error < 1e-6, "{name}: off by {error:e}");
        let expected = &case["statistics"];
        for (i, got) in statistics(&y).into_iter().enumerate() {
            let expected = expected[i].as_f64().unwrap();
            assert!((got - expected).abs() < 1e-5 * y.len() as f64 * 0.1 + 1e-6, "{name}: {got} {expected}");
        }
    }
    for row in golden.header["lengths"].as_array().unwrap() {
        let row: Vec<usize> = row.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let resampler = Resampler::shared(row[0] as u32, row[1] as u32).unwrap();
        assert_eq!(resampler.output_len(row[2]), row[3], "{row:?}");
    }
}

#[test]
fn filter_banks_are_librosas_and_torchaudios() {
    let golden = Golden::open("banks.safetensors");
    for case in golden.cases() {
        let name = case["name"].as_str().unwrap();
        let slaney = case["scale"] == "slaney";
        let bank = FilterBank::new(&FilterBankSpec {
            sample_rate: number(case, "rate") as f64,
            n_fft: number(case, "n_fft"),
            bands: number(case, "bands"),
            f_min: case["f_min"].as_f64().unwrap(),
            f_max: case["f_max"].as_f64().unwrap(),
            scale: if slaney { Scale::MelSlaney } else { Scale::MelHtk },
            norm: if case["norm"] == "slaney" { Norm::Area } else { Norm::None },
        })
        .unwrap();
        let dense: Vec<f32> = bank.dense().into_iter().map(|w| w as f32).collect();
        let expected = golden.tensor(name);
        let scale = f64::from(expected.iter().copied().fold(0.0, f32::max));
        let error = largest_difference(&dense, &expected) / scale;
        // torchaudio computes in f32, librosa in f64.
        let allowed = if slaney { 1e-6 } else { 3e-6 };
        println!("{name}: {error:.1e}");
        assert!(error < allowed, "{name}: off by {error:e}");
    }
}

/// The front end of the recipe `notebook`, with every intermediate result as an output.
fn front_end(batch: usize) -> Graph {
    let mut g = Graph::new(Arc::new(States::new()));
    let samples = g.input("samples", [batch, 2, WINDOW]).unwrap();
    let start = g.index_input("start", [batch]).unwrap();
    let frequency = g.index_input("frequency", [batch, 2, 2]).unwrap();
    let time = g.index_input("time", [batch, 2, 2]).unwrap();
    let framing = Framing { n_fft: 1_024, hop: 512, centred: true };
    let bank = FilterBank::new(&FilterBankSpec {
        sample_rate: f64::from(RATE),
        n_fft: framing.n_fft,
        bands: BANDS,
        f_min: 0.0,
        f_max: f64::from(RATE) / 2.0,
        scale: Scale::MelHtk,
        norm: Norm::None,
    })
    .unwrap();
    let bank = BankRows { bins: bank.bins, first: bank.first, offset: bank.offset, weights: bank.weights };
    let window = g.circular_crop(samples, start, WINDOW).unwrap();
    let mel = g.band_spectrum(window, &hann_periodic(1_024), framing, &bank).unwrap();
    let decibels = g.decibels(mel, 1e-10, 80.0).unwrap();
    let masked = g.mask(decibels, frequency, time, Fill::ItemMean).unwrap();
    let standardised = g.standardise(masked, Per::Item, 0.0).unwrap();
    let all = g.standardise(masked, Per::Batch, 0.0).unwrap();
    for (name, value) in
        [("mel", mel), ("decibels", decibels), ("masked", masked), ("standardised", standardised), ("batch", all)]
    {
        g.output(name, value).unwrap();
    }
    g
}

/// What the graph is fed for one item.
struct Item {
    samples: Vec<Vec<f32>>,
    start: u32,
    frequency: Vec<u32>,
    time: Vec<u32>,
}

/// The named outputs of a batch, on the CPU and, where there is one, on the GPU.
fn compute(items: &[Item], names: &[&str]) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let run = |session: &mut dyn Session, graph: Graph, target| -> Vec<Vec<f32>> {
        let id = session.add(Plan::new(graph, target).unwrap()).unwrap();
        let mut samples = vec![0.0; items.len() * 2 * WINDOW];
        for (item, to) in items.iter().zip(samples.chunks_mut(2 * WINDOW)) {
            for (channel, to) in to.chunks_mut(WINDOW).enumerate() {
                let from = &item.samples[channel];
                let n = from.len().min(WINDOW);
                to[..n].copy_from_slice(&from[..n]);
            }
        }
        session.write(id, "samples", &samples).unwrap();
        let gather = |f: &dyn Fn(&Item) -> Vec<u32>| items.iter().flat_map(f).collect::<Vec<u32>>();
        session.write_indices(id, "start", &gather(&|i| vec![i.start])).unwrap();
        session.write_indices(id, "frequency", &gather(&|i| i.frequency.clone())).unwrap();
        session.write_indices(id, "time", &gather(&|i| i.time.clone())).unwrap();
        session.run(id).unwrap();
        let size = items.len() * 2 * BANDS * FRAMES;
        let read = |name: &&str| {
            let mut y = vec![0.0; size];
            session.read(id, name, &mut y).unwrap();
            y
        };
        names.iter().map(read).collect()
    };
    let mut results = vec![];
    let graph = front_end(items.len());
    let mut session = CpuSession::<f32>::new(graph.states().clone(), Arc::new(Pool::new(2))).unwrap();
    results.push(("CPU", run(&mut session, graph, Target::Cpu)));
    if let Some(gpu) = common::gpu() {
        let graph = front_end(items.len());
        let mut session = GpuSession::new(gpu, graph.states().clone()).unwrap();
        results.push(("GPU", run(&mut session, graph, Target::Gpu)));
    }
    results
}

/// Largest relative error of the cells, and of the decibels the largest error.
fn compare(what: &str, name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    // Powers 40 dB below the loudest carry torchaudio's own rounding: f32 against f64 it is off by 7e-5 there.
    let loud = expected.iter().copied().fold(0.0, f32::max) * if name == "mel" { 1e-4 } else { 0.0 };
    let cells = got.iter().zip(expected).filter(|(_, b)| b.abs() > loud);
    let relative = cells.map(|(&a, &b)| f64::from((a - b).abs() / b.abs())).fold(0.0, f64::max);
    let absolute = largest_difference(got, expected);
    println!("{what} {name}: absolute {absolute:.1e}, relative {relative:.1e}");
    match name {
        "mel" => assert!(relative < 1e-5, "{what} {name}: relative error {relative:e}"),
        "decibels" | "masked" => assert!(absolute < 1e-4, "{what} {name}: {absolute:e} dB"),
        _ => assert!(absolute < 1e-5, "{what} {name}: {absolute:e}"),
    }
}

#[test]
fn the_path_of_the_notebook_is_torchaudios() {
    vectors::choose_vectors();
    let golden = Golden::open("front_end.safetensors");
    let items: Vec<Item> = (golden.cases().iter())
        .map(|case| {
            let (rate, samples) = (number(case, "rate") as u32, number(case, "samples"));
            let channels = (0..number(case, "channels") as u64).map(|c| signal(samples, 2 + c)).collect::<Vec<_>>();
            let quiet = |x: Vec<f32>| x.into_iter().map(|x| x / 1024.0).collect();
            let channels = if case["name"] == "quiet" { channels.into_iter().map(quiet).collect() } else { channels };
            let resampler = Resampler::shared(rate, RATE).unwrap();
            let channels = to_count(channels.iter().map(|x| resampler.run(x)).collect(), 2);
            let pairs = |key: &str| {
                let flat = case[key].as_array().unwrap().iter().flat_map(|pair| pair.as_array().unwrap().clone());
                flat.map(|n| n.as_u64().unwrap() as u32).collect::<Vec<u32>>()
            };
            let draws = NotebookDraws {
                pad_front: number(case, "pad_front"),
                shift: number(case, "shift"),
                ..Default::default()
            };
            let start = ((WINDOW - draws.roll(WINDOW)) % WINDOW) as u32;
            Item { samples: channels, start, frequency: pairs("frequency"), time: pairs("time") }
        })
        .collect();
    let names = ["mel", "decibels", "masked", "standardised", "batch"];
    for (device, outputs) in compute(&items, &names) {
        let size = 2 * BANDS * FRAMES;
        for (name, got) in names.iter().zip(&outputs) {
            if *name == "batch" {
                compare(device, name, got, &golden.tensor("batch"));
                continue;
            }
            for (case, got) in golden.cases().iter().zip(got.chunks(size)) {
                let case = case["name"].as_str().unwrap();
                compare(&format!("{device} {case}"), name, got, &golden.tensor(&format!("{case}.{name}")));
            }
        }
    }
}

#[test]
fn real_clips_match_torchaudio() {
    let path = std::env::var_os("HUMDINGER_GOLDEN_REAL")
        .map_or_else(|| std::env::temp_dir().join("humdinger-golden-real.json"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else {
        let message = "make it with tools/golden_sound.py --real FOLDER --json FILE";
        let _ = writeln!(std::io::stderr(), "SKIPPED: no numbers of real clips at {}; {message}", path.display());
        return;
    };
    let numbers: Json = serde_json::from_str(&text).unwrap();
    let folder = Path::new(numbers["folder"].as_str().unwrap());
    let clips = numbers["clips"].as_array().unwrap();
    assert!(!clips.is_empty());
    for clip in clips {
        let file = clip["file"].as_str().unwrap();
        let audio = decode_file(&folder.join(file)).unwrap();
        assert_eq!(
            (audio.sample_rate as usize, audio.channels.len()),
            (number(clip, "rate"), number(clip, "channels"))
        );
        let audio = audio.resampled(RATE).unwrap();
        assert_eq!(audio.frames(), number(clip, "length"), "{file}");
        let floats =
            |json: &Json| -> Vec<f32> { json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect() };
        for (c, channel) in audio.channels.iter().enumerate() {
            let error = largest_difference(&selected(channel), &floats(&clip["samples"][c]));
            assert!(error < 1e-6, "{file}: samples off by {error:e}");
            let squares = clip["statistics"][c][1].as_f64().unwrap();
            assert!((statistics(channel)[1] / squares - 1.0).abs() < 1e-5, "{file}");
        }
        let samples = to_count(audio.channels, 2);
        let item = Item { samples, start: 0, frequency: vec![0; 4], time: vec![0; 4] };
        for (device, outputs) in compute(&[item], &["mel", "decibels"]) {
            let decibels = floats(&clip["decibels"]);
            // Far below the loudest cell, torchaudio's own rounding (f32 against f64) is already 4e-4 dB.
            let top = decibels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (loud, soft): (Vec<_>, Vec<_>) = outputs[1].iter().zip(&decibels).partition(|(_, b)| **b > top - 50.0);
            for (what, cells, allowed) in [("loud", loud, 1e-4), ("soft", soft, 2e-3)] {
                let error = cells.iter().map(|(a, b)| (*a - *b).abs()).fold(0.0, f32::max);
                println!("{device} {file}: {error:.1e} dB in {} {what} cells", cells.len());
                assert!(error < allowed, "{device} {file}: {error:e} dB in {what} cells");
            }
        }
    }
}

#[test]
fn narrower_vectors_give_torchaudios_too() {
    vectors::with_narrower_vectors(&["resampling_is_torchaudios", "the_path_of_the_notebook_is_torchaudios"]);
}
