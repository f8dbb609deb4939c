//! Throughput of the sound half: decoding, resampling and the front end, in clips a second and times real time.
//!
//!     cargo bench --bench sound [-- FILTER]
//!
//! Every line is the median of at least five runs and at least half a second. The front end runs on the CPU and, where there
//! is a GPU that is not software, on that; `HUMDINGER_BENCH_SOFTWARE=1` takes a software one too.

use humdinger::audio::decode::decode_bytes;
use humdinger::audio::filterbank::{FilterBank, FilterBankSpec, Norm, Scale};
use humdinger::audio::resample::Resampler;
use humdinger::audio::window::hann_periodic;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{Graph, Plan, Session, States, Target};
use humdinger::ops::{BankRows, Fill, Framing, Per};
use rayon::prelude::*;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECONDS: f64 = 15.0;

fn main() -> humdinger::Result<()> {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with("--")).unwrap_or_default();
    let bench = |name: &str, clips: usize, seconds: f64, run: &mut dyn FnMut()| {
        if !name.contains(&filter) {
            return;
        }
        let median = median_time(run).as_secs_f64();
        let rate = clips as f64 / median;
        println!("{name:58} {:9.3} ms {rate:10.1} clips/s {:10.0} x real time", median * 1e3, rate * seconds);
    };
    let threads = rayon::current_num_threads();
    println!("{threads} threads");

    let stereo = wav(2, 44_100);
    let path = Path::new("bench.wav");
    bench("decode WAV, 15 s stereo 44.1 kHz 16 bit, one thread", 1, SECONDS, &mut || {
        black_box(decode_bytes(stereo.clone(), path).ok());
    });
    bench("  the same through hound's sample iterator", 1, SECONDS, &mut || {
        let mut reader = hound::WavReader::new(&stereo[..]).expect("a good header");
        let samples: Vec<f32> = reader.samples::<i16>().map(|s| f32::from(s.unwrap_or(0)) / 32_768.0).collect();
        black_box(samples);
    });
    for (from, to) in [(44_100, 11_000), (44_100, 8_000), (8_000, 11_000), (48_000, 16_000)] {
        let resampler = Resampler::new(from, to)?;
        let channel: Vec<f32> = (0..(f64::from(from) * SECONDS) as u32).map(noise).collect();
        bench(&format!("resample {from} -> {to}, 15 s stereo, all threads"), 1, SECONDS, &mut || {
            black_box((resampler.run(&channel), resampler.run(&channel)));
        });
    }
    let many: Vec<Vec<u8>> = vec![stereo; 4 * threads];
    bench("decode and resample to 11 kHz, files in parallel", many.len(), SECONDS, &mut || {
        let decode = |file: &Vec<u8>| decode_bytes(file.clone(), path).and_then(|audio| audio.resampled(11_000));
        black_box(many.par_iter().map(|file| decode(file).map(|audio| audio.frames()).unwrap_or(0)).sum::<usize>());
    });

    let pool = Arc::new(Pool::of_machine());
    let software = std::env::var_os("HUMDINGER_BENCH_SOFTWARE").is_some();
    let gpu = Gpu::open(None).ok().filter(|gpu| software || !gpu.adapter().is_software());
    for notebook in [true, false] {
        for batch in [1, 16] {
            let (graph, samples, rate) = front_end(notebook, batch)?;
            let name = if notebook { "notebook" } else { "melody" };
            let seconds = samples as f64 / rate;
            let len = graph.inputs_len;
            let signal: Vec<f32> = (0..len as u32).map(noise).collect();
            let mut cpu = CpuSession::<f32>::new(graph.graph.states().clone(), pool.clone())?;
            let id = cpu.add(Plan::new(graph.graph.clone(), Target::Cpu)?)?;
            cpu.write(id, "samples", &signal)?;
            bench(&format!("front end of `{name}`, batch {batch}, CPU"), batch, seconds, &mut || {
                cpu.run(id).expect("runs");
            });
            if filter.contains("steps") {
                let mut times = std::collections::BTreeMap::<(usize, &str), Duration>::new();
                for _ in 0..50 {
                    let mut last = Instant::now();
                    cpu.run_with(id, |name, step| {
                        *times.entry((step, name)).or_default() += last.elapsed();
                        last = Instant::now();
                    })?;
                }
                times.iter().for_each(|(step, time)| println!("  {step:?} {:?}", *time / 50));
            }
            if let Some(gpu) = &gpu {
                let mut session = GpuSession::new(gpu.clone(), graph.graph.states().clone())?;
                let id = session.add(Plan::new(graph.graph.clone(), Target::Gpu)?)?;
                session.write(id, "samples", &signal)?;
                let mut image = vec![0.0; graph.outputs_len];
                bench(&format!("front end of `{name}`, batch {batch}, GPU"), batch, seconds, &mut || {
                    session.run(id).and_then(|()| session.read(id, "image", &mut image)).expect("runs");
                });
            }
        }
    }
    Ok(())
}

struct FrontEnd {
    graph: Graph,
    inputs_len: usize,
    outputs_len: usize,
}

/// The front end of a recipe with everything it does in training; its draws are constants.
fn front_end(notebook: bool, batch: usize) -> humdinger::Result<(FrontEnd, usize, f64)> {
    let mut g = Graph::new(Arc::new(States::new()));
    let (rate, channels, samples) = if notebook { (11_000.0, 2, 44_000) } else { (8_000.0, 1, 64_000) };
    let framing =
        Framing { n_fft: if notebook { 1_024 } else { 2_048 }, hop: if notebook { 512 } else { 256 }, centred: true };
    let bank = FilterBank::new(&FilterBankSpec {
        sample_rate: rate,
        n_fft: framing.n_fft,
        bands: if notebook { 64 } else { 120 },
        f_min: if notebook { 0.0 } else { 80.0 },
        f_max: rate / 2.0,
        scale: if notebook { Scale::MelHtk } else { Scale::Logarithmic { per_octave: 24.0 } },
        norm: Norm::None,
    })?;
    let rows = BankRows { bins: bank.bins, first: bank.first, offset: bank.offset, weights: bank.weights };
    let x = g.input("samples", [batch, channels, samples])?;
    let start = g.index_constant([batch], vec![1_000; batch])?;
    let masks = g.index_constant([batch, 2, 2], vec![3; batch * 4])?;
    let x = g.circular_crop(x, start, samples)?;
    let bands = g.band_spectrum(x, &hann_periodic(1_024), framing, &rows)?;
    let mut image = g.decibels(bands, 1e-10, if notebook { 80.0 } else { 70.0 })?;
    if notebook {
        image = g.mask(image, masks, masks, Fill::ItemMean)?;
        image = g.standardise(image, Per::Batch, 0.0)?;
    } else {
        let by = g.constant([batch, 2], [1.3, 1.1].repeat(batch))?;
        image = g.warp(image, by)?;
        image = g.standardise(image, Per::Item, 1e-5)?;
        image = g.mask(image, masks, masks, Fill::Constant(0.0))?;
    }
    g.output("image", image)?;
    let outputs_len = g.shape(image).elements();
    Ok((FrontEnd { graph: g, inputs_len: batch * channels * samples, outputs_len }, samples, rate))
}

fn noise(i: u32) -> f32 {
    (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn wav(channels: u16, sample_rate: u32) -> Vec<u8> {
    let spec = hound::WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = std::io::Cursor::new(vec![]);
    let mut writer = hound::WavWriter::new(&mut file, spec).expect("writes to memory");
    for i in 0..(f64::from(sample_rate) * SECONDS) as u32 * u32::from(channels) {
        writer.write_sample((noise(i) * 20_000.0) as i16).expect("writes to memory");
    }
    writer.finalize().expect("writes to memory");
    file.into_inner()
}

/// The median; on a busy machine look at the least, which is printed with HUMDINGER_BENCH_LEAST=1.
fn median_time(run: &mut dyn FnMut()) -> Duration {
    run();
    let (begin, mut times) = (Instant::now(), vec![]);
    while times.len() < 5 || begin.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
    }
    times.sort();
    if std::env::var_os("HUMDINGER_BENCH_LEAST").is_some() { times[0] } else { times[times.len() / 2] }
}
