//! Short-time power spectra of real signals: framing, window, Fourier transform, squared magnitude, and optionally a filter bank.
//!
//! Frame f covers the samples `f hop - n_fft / 2 ...` (centred: the signal is continued by reflection at both ends, without
//! repeating the end sample) or `f hop ...` (not centred). `P[f, k] = |sum_t window[t] x[f, t] exp(-2 pi i k t / n_fft)|^2` for k from 0
//! to n_fft / 2: `torch.stft(..., center, pad_mode="reflect", onesided=True).abs() ** 2`.

use super::excerpts::Excerpts;
use super::filter_bank::BankRows;
use super::frames::{Frames, Framing, Signals};
use super::items::{expect_rank, greatest};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, SharedMut, Stretches, Target, Tasks, Value,
    grid, no_gpu_kernel, no_gradient,
};
use crate::kernels::fourier::{Fourier, SIDE, Transform, Transforms};
use crate::kernels::lanes;
use crate::kernels::prefetch::Prefetch;
use crate::shader;
use crate::tensor::{Real, Spec};

static SPECTRUM: Shader = shader!("spectrum", "nan");

/// Transform lengths that the GPU kernel's workgroup memory holds.
pub const TRANSFORMS: std::ops::RangeInclusive<usize> = 8..=4096;
/// The shortest transform whose room in workgroup memory holds a number for each lane.
const MAXIMA_FROM: usize = 128;

/// See the top of this file. Inputs x [N, C, samples], window `[n_fft]`, twiddles [n_fft / 2, 2]; output [N, C, frames, bins].
#[derive(Debug)]
pub struct PowerSpectrum {
    framing: Framing,
    transforms: Transforms,
}

/// [`PowerSpectrum`] and [`ApplyFilterBank`](super::ApplyFilterBank) in one, so that the spectrum is never stored. Inputs x
/// [N, C, samples], window `[n_fft]`, twiddles [n_fft / 2, 2] and the three tables of [`BankRows`]; output [N, C, bands, frames], and
/// [N, C frames] with maxima, if the next operation needs them. If it cuts its signals itself, x is recordings `[L]`, and a seventh input the
/// places of [`Excerpts`].
#[derive(Clone, Debug)]
pub struct BandSpectrum {
    framing: Framing,
    transforms: Transforms,
    /// How signals are cut out of recordings, sixteen frames at a time, so that they are never stored. On the CPU alone.
    excerpts: Option<Excerpts>,
    /// Whether the greatest band of each frame is an output, for the next operation.
    maxima: bool,
}

impl BandSpectrum {
    /// The same with the greatest band of each frame as a second output; `None` if transforms are too short for the kernel to
    /// do that.
    pub(crate) fn with_maxima(&self) -> Option<Self> {
        let can = !self.maxima && self.excerpts.is_none() && self.framing.n_fft >= MAXIMA_FROM;
        can.then(|| Self { maxima: true, ..self.clone() })
    }

    /// The same that cuts its signals out of recordings itself.
    pub(crate) fn of_excerpts(&self, excerpts: Excerpts) -> Option<Self> {
        (!self.maxima && self.excerpts.is_none()).then(|| Self { excerpts: Some(excerpts), ..self.clone() })
    }

    /// The signals [N, C, samples].
    fn signals(&self, inputs: &[Spec]) -> Result<Spec> {
        self.excerpts.map_or(Ok(inputs[0]), |excerpts| excerpts.signals(self.name(), inputs[0], inputs[6]))
    }
}

impl Graph {
    /// The power spectrum of each frame of x [N, C, samples]: [N, C, frames, n_fft / 2 + 1]. A window shorter than n_fft is
    /// centred in it. Has no gradient.
    ///
    /// # Errors
    /// If n_fft is not a power of two from 8 to 4096, hop is 0, the window is longer than n_fft or the signal too short.
    pub fn power_spectrum(&mut self, x: Value, window: &[f64], framing: Framing) -> Result<Value> {
        let [window, twiddles] = tables(self, "power_spectrum", window, framing)?;
        self.apply_one(PowerSpectrum { framing, transforms: Transforms::default() }, &[x, window, twiddles])
    }

    /// The power spectrum of each frame of x [N, C, samples] through a filter bank: [N, C, bands, frames]. Has no gradient.
    ///
    /// # Errors
    /// As [`Graph::power_spectrum`] and [`Graph::filter_bank`].
    pub fn band_spectrum(&mut self, x: Value, window: &[f64], framing: Framing, bank: &BankRows) -> Result<Value> {
        bank.check("band_spectrum")?;
        if bank.bins != framing.bins() {
            let detail = format!("the bank is made for {} bins, the spectrum has {}", bank.bins, framing.bins());
            return Err(Error::op("band_spectrum", detail));
        }
        let [window, twiddles] = tables(self, "band_spectrum", window, framing)?;
        let [first, offset, weights] = bank.constants(self)?;
        let op = BandSpectrum { framing, transforms: Transforms::default(), excerpts: None, maxima: false };
        self.apply_one(op, &[x, window, twiddles, first, offset, weights])
    }
}

/// Window and twiddle factors as constants, computed in f64.
fn tables(graph: &mut Graph, op: &'static str, window: &[f64], framing: Framing) -> Result<[Value; 2]> {
    let n = framing.n_fft;
    if !n.is_power_of_two() || !TRANSFORMS.contains(&n) || framing.hop == 0 || window.len() > n || window.is_empty() {
        let detail = format!(
            "n_fft {n} must be a power of two from {} to {}, hop {} at least 1, and the window of {} samples no longer than n_fft",
            TRANSFORMS.start(),
            TRANSFORMS.end(),
            framing.hop,
            window.len()
        );
        return Err(Error::op(op, detail));
    }
    let mut padded = vec![0.0; n];
    padded[(n - window.len()) / 2..][..window.len()].copy_from_slice(window);
    let angle = |k: usize| std::f64::consts::TAU * k as f64 / n as f64;
    let twiddles: Vec<f64> = (0..n / 2).flat_map(|k| [angle(k).cos(), -angle(k).sin()]).collect();
    Ok([graph.constant([n], padded)?, graph.constant([n / 2, 2], twiddles)?])
}

/// The shape rule of both: N, C and the number of frames.
fn shape_rule(op: &'static str, x: &Spec, framing: Framing) -> Result<[usize; 3]> {
    expect_rank(op, "the signal", x, "[N, C, samples]", 3)?;
    let samples = x.shape[2];
    let Some(frames) = framing.frames(samples) else {
        let n = framing.n_fft;
        let least = if framing.centred { n / 2 + 1 } else { n };
        return Err(Error::op(op, format!("a signal of {samples} samples for n_fft {n}; at least {least} are needed")));
    };
    Ok([x.shape[0], x.shape[1], frames])
}

fn launch(framing: Framing, x: &Spec, bands: usize, maxima: bool, operands: Vec<Operand>) -> Vec<Launch> {
    let (rows, samples) = (x.shape[0] * x.shape[1], x.shape[2]);
    let frames = framing.frames(samples).unwrap_or(0);
    let m = framing.n_fft / 2;
    vec![Launch {
        shader: &SPECTRUM,
        constants: vec![
            ("N_FFT", framing.n_fft as f64),
            ("M", m as f64),
            ("LOG2_M", f64::from(m.ilog2())),
            ("HOP", framing.hop as f64),
            ("PAD", framing.pad() as f64),
            ("SAMPLES", samples as f64),
            ("FRAMES", frames as f64),
            ("ROWS", rows as f64),
            ("BANDS", bands as f64),
            ("MAXIMA", f64::from(u8::from(maxima))),
        ],
        operands,
        workgroups: grid(rows * frames),
    }]
}

/// Operations of the transforms of all frames: 2.5 n log2 n each for a real transform, and the window and the powers.
fn transform_flops(framing: Framing, frames: usize) -> f64 {
    let n = framing.n_fft as f64;
    frames as f64 * (2.5 * n * n.log2() + 3.0 * n)
}

impl Op for PowerSpectrum {
    fn name(&self) -> &'static str {
        "power_spectrum"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [items, channels, frames] = shape_rule(self.name(), &inputs[0], self.framing)?;
        Ok(vec![Spec::real([items, channels, frames, self.framing.bins()])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        // The kernel does not look at the tables of a bank of no bands; something must be bound there.
        let tables = [1, 1, 1].map(Operand::Input);
        let results = [Operand::Output(0), Operand::Scratch(0)];
        let operands = [0, 1, 2].map(Operand::Input).into_iter().chain(tables).chain(results).collect();
        launch(self.framing, &inputs[0], 0, false, operands)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let y = outputs[0].shape;
        Cost::streaming(transform_flops(self.framing, y[0] * y[1] * y[2]), inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false, false])
    }

    // Bound where maxima would go.
    fn scratch(&self, _: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        if target == Target::Gpu { vec![1] } else { Vec::new() }
    }

    fn private_scratch(&self, inputs: &[Spec], outputs: &[Spec]) -> usize {
        let frames = Frames::new(self.framing, inputs[0].shape[2], outputs[0].shape[2]);
        Fourier::<f64>::room_len(self.framing.n_fft) + self.framing.bins() * SIDE + frames.room_len()
    }
}

impl PowerSpectrum {
    fn cpu<T: Transform>(&self, kernel: &mut Kernel<'_, T>) {
        let (samples, shape) = (kernel.input_spec(0).shape[2], kernel.output_spec(0).shape);
        let (rows, bins) = (shape[0] * shape[1], shape[3]);
        let (x, tables) = (kernel.input(0), [1, 2].map(|i| kernel.input(i)));
        let fourier = T::of(&self.transforms, self.framing.n_fft);
        let frames = Frames::new(self.framing, samples, shape[2]);
        let total = rows * shape[2];
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        parallel.for_pieces_with(Stretches::new(kernel.output(), SIDE * bins), private, |task, y, scratch| {
            let group = task * SIDE..((task + 1) * SIDE).min(total);
            let (powers, rest) = scratch.split_at_mut(bins * SIDE);
            let (room, rest) = rest.split_at_mut(Fourier::<T>::room_len(self.framing.n_fft));
            fourier.powers(
                frames.lines(group.clone(), Signals::Whole(x), rest),
                tables,
                room,
                powers,
                &Prefetch::none(),
            );
            for (i, line) in y.chunks_exact_mut(bins).enumerate() {
                line.iter_mut().zip(powers.chunks_exact(SIDE)).for_each(|(to, powers)| *to = powers[i]);
            }
        });
    }
}

impl Op for BandSpectrum {
    fn name(&self) -> &'static str {
        "band_spectrum"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [items, channels, frames] = shape_rule(self.name(), &self.signals(inputs)?, self.framing)?;
        let maxima = self.maxima.then(|| Spec::real([items, channels * frames]));
        Ok(std::iter::once(Spec::real([items, channels, inputs[3].shape[0], frames])).chain(maxima).collect())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        if self.excerpts.is_some() {
            return no_gpu_kernel();
        }
        let maxima = if self.maxima { Operand::Output(1) } else { Operand::Scratch(0) };
        let operands = (0..6).map(Operand::Input).chain([Operand::Output(0), maxima]).collect();
        launch(self.framing, &inputs[0], outputs[0].shape[2], self.maxima, operands)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let y = outputs[0].shape;
        let frames = y[0] * y[1] * y[3];
        let bank = (2 * inputs[5].shape.elements() * frames) as f64;
        // However long the recordings are, a window's worth of them is read.
        let signals = self.signals(inputs).unwrap_or(inputs[0]);
        let read = std::iter::once(signals).chain(inputs[1..].iter().copied()).collect::<Vec<_>>();
        Cost::streaming(transform_flops(self.framing, frames) + bank, &read, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        let by_rows = |i: usize| if self.excerpts.is_some() { i == 6 } else { i == 0 };
        Division::Rows { inputs: (0..inputs.len()).map(by_rows).collect() }
    }

    // Bound where maxima would go.
    fn scratch(&self, _: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        if target == Target::Gpu { vec![1] } else { Vec::new() }
    }

    fn private_scratch(&self, inputs: &[Spec], outputs: &[Spec]) -> usize {
        let samples = self.signals(inputs).map_or(0, |signals| signals.shape[2]);
        let frames = Frames::new(self.framing, samples, outputs[0].shape[3]);
        let rows = self.framing.bins() + outputs[0].shape[2];
        Fourier::<f64>::room_len(self.framing.n_fft) + rows * SIDE + frames.room_len()
    }
}

/// The sums of all bands for [`SIDE`] frames side by side: `summed[band][frame]` from `powers[bin][frame]`.
#[inline(always)]
fn sum_bands<T: Real>(first_bin: &[u32], offset: &[u32], weights: &[T], powers: &[T], summed: &mut [T]) {
    let rows = powers.as_chunks::<SIDE>().0;
    for (band, to) in summed.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        let weights = &weights[offset[band] as usize..offset[band + 1] as usize];
        let mut sums = [T::ZERO; SIDE];
        for (&weight, row) in weights.iter().zip(&rows[first_bin[band] as usize..]) {
            for (sum, &power) in sums.iter_mut().zip(row) {
                *sum += weight * power;
            }
        }
        *to = sums;
    }
}

impl BandSpectrum {
    fn cpu<T: Transform>(&self, kernel: &mut Kernel<'_, T>) {
        let signals = self.signals(kernel.input_specs());
        let signals = signals.unwrap_or_else(|_| unreachable!("shapes were checked when the graph was built"));
        let shape = kernel.output_spec(0).shape;
        let (rows, bands, count) = (shape[0] * shape[1], shape[2], shape[3]);
        let (x, tables) = (kernel.input(0), [1, 2].map(|i| kernel.input(i)));
        let (first_bin, offset, weights) = (kernel.indices(3), kernel.indices(4), kernel.input(5));
        let signals_of = match self.excerpts {
            None => Signals::Whole(x),
            Some(excerpts) => Signals::Excerpts { excerpts, recordings: x, places: kernel.indices(6) },
        };
        let fourier = T::of(&self.transforms, self.framing.n_fft);
        let frames = Frames::new(self.framing, signals.shape[2], count);
        let (total, bins) = (rows * count, self.framing.bins());
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let y = SharedMut::new(kernel.output());
        parallel.for_pieces_with(Tasks(total.div_ceil(SIDE)), private, |task, (), scratch| {
            let group = task * SIDE..((task + 1) * SIDE).min(total);
            let (powers, rest) = scratch.split_at_mut(bins * SIDE);
            let (summed, rest) = rest.split_at_mut(bands * SIDE);
            let (room, rest) = rest.split_at_mut(Fourier::<T>::room_len(self.framing.n_fft));
            let next = parallel.after(task).saturating_mul(SIDE).min(total);
            let prefetch = frames.prefetch(next..(next + SIDE).min(total), signals_of, fourier.steps());
            fourier.powers(frames.lines(group.clone(), signals_of, rest), tables, room, powers, &prefetch);
            lanes::dispatch(
                #[inline(always)]
                || sum_bands(first_bin, offset, weights, powers, summed),
            );
            let mut lane = 0;
            for run in frames.runs(group) {
                for (band, summed) in summed.chunks_exact(SIDE).enumerate() {
                    let at = (run.row * bands + band) * count + run.frames.start;
                    // SAFETY: each frame belongs to one task.
                    let y = unsafe { y.slice(at..at + run.frames.len()) };
                    match <&mut [T; SIDE]>::try_from(&mut *y) {
                        // Most often; other lengths are moved by a call.
                        Ok(y) => y.copy_from_slice(summed),
                        Err(_) => y.copy_from_slice(&summed[lane..][..y.len()]),
                    }
                }
                lane += run.frames.len();
            }
        });
        if self.maxima {
            let [y, maxima] = kernel.outputs();
            for (row, maxima) in y.chunks_exact(bands * count).zip(maxima.chunks_exact_mut(count)) {
                maxima.fill(T::NEG_INFINITY);
                for band in row.chunks_exact(count) {
                    maxima.iter_mut().zip(band).for_each(|(most, x)| *most = greatest(&[*most, *x]));
                }
            }
        }
    }
}
