//! The powers of single frames of a signal: window, Fourier transform of a real frame as a complex one of half the length, squared
//! magnitudes.

use super::spectrum::Framing;
use super::turn::reverse;
use crate::tensor::Real;
use pulp::{Simd, WithSimd};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftNum, FftPlanner, FftPlannerScalar};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The transforms of one length in both types, made when first needed.
#[derive(Clone, Default)]
pub(super) struct Transforms {
    single: OnceLock<Arc<dyn Fft<f32>>>,
    double: OnceLock<Arc<dyn Fft<f64>>>,
}

impl fmt::Debug for Transforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transforms")
    }
}

/// A real type that there is a Fourier transform for.
pub(super) trait Transform: Real + FftNum {
    fn of(transforms: &Transforms, length: usize) -> &Arc<dyn Fft<Self>>;
}

impl Transform for f32 {
    fn of(transforms: &Transforms, length: usize) -> &Arc<dyn Fft<Self>> {
        transforms.single.get_or_init(|| FftPlanner::new().plan_fft_forward(length))
    }
}

impl Transform for f64 {
    fn of(transforms: &Transforms, length: usize) -> &Arc<dyn Fft<Self>> {
        // In f64 kernels are checked. Vectors would be compiled for nothing else, and take long.
        transforms.double.get_or_init(|| FftPlannerScalar::new().plan_fft_forward(length))
    }
}

/// Room for one frame, in a thread's own memory.
pub(super) struct Frame<'a, T> {
    packed: &'a mut [Complex<T>],
    scratch: &'a mut [Complex<T>],
    /// Real and imaginary parts by themselves, forwards and backwards.
    parts: &'a mut [T],
}

/// Elements of a [`Frame`].
pub(super) fn room_len(framing: Framing, transforms: &Transforms) -> usize {
    let m = framing.n_fft / 2;
    let single = f32::of(transforms, m).get_inplace_scratch_len();
    let double = f64::of(transforms, m).get_inplace_scratch_len();
    2 * m + 2 * single.max(double) + 4 * m
}

/// A part of a signal, which begins with its sample `from`, and how long the whole is.
#[derive(Clone, Copy)]
pub(super) struct Signal<'a, T> {
    pub part: &'a [T],
    pub from: usize,
    pub samples: usize,
}

impl<'a, T> Signal<'a, T> {
    /// All of it.
    pub fn whole(part: &'a [T]) -> Self {
        Self { part, from: 0, samples: part.len() }
    }
}

/// Computes spectra of frames of one signal.
pub(super) struct Spectra<'a, T: FftNum> {
    pub framing: Framing,
    pub window: &'a [T],
    pub twiddles: &'a [T],
    pub transform: &'a dyn Fft<T>,
}

impl<T: Transform> Spectra<'_, T> {
    /// Cuts the room for a frame off a thread's memory.
    pub fn room<'m>(&self, memory: &'m mut [T]) -> (Frame<'m, T>, &'m mut [T]) {
        let m = self.framing.n_fft / 2;
        let (packed, rest) = memory.split_at_mut(2 * m);
        let (scratch, rest) = rest.split_at_mut(2 * self.transform.get_inplace_scratch_len());
        let (parts, rest) = rest.split_at_mut(4 * m);
        (Frame { packed: complex(packed), scratch: complex(scratch), parts }, rest)
    }

    /// The powers of frame `frame` of a signal.
    pub fn frame(&self, signal: Signal<'_, T>, frame: usize, room: &mut Frame<'_, T>, power: &mut [T]) {
        let Framing { n_fft, hop, .. } = self.framing;
        let Signal { part, from, samples } = signal;
        let start = (frame * hop) as isize - self.framing.pad() as isize;
        let inside = usize::try_from(start - from as isize).ok().and_then(|start| part.get(start..start + n_fft));
        let arch = pulp::Arch::new();
        match inside {
            Some(samples) => arch.dispatch(Windowed { samples, window: self.window, packed: &mut *room.packed }),
            None => {
                let last = samples as isize - 1;
                let at = |t: isize| {
                    let t = t.abs();
                    part[(if t > last { 2 * last - t } else { t }) as usize - from]
                };
                for (j, z) in room.packed.iter_mut().enumerate() {
                    let t = start + 2 * j as isize;
                    *z = Complex::new(at(t) * self.window[2 * j], at(t + 1) * self.window[2 * j + 1]);
                }
            }
        }
        self.transform.process_with_scratch(room.packed, room.scratch);
        arch.dispatch(Untangle { z: &*room.packed, parts: &mut *room.parts, twiddles: self.twiddles, power });
    }
}

/// Pairs of numbers as complex numbers.
fn complex<T: Real>(numbers: &mut [T]) -> &mut [Complex<T>] {
    // SAFETY: a complex number is two numbers, one after the other (`repr(C)`).
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len() / 2) }
}

/// A frame inside the signal times the window, two samples to a complex number.
struct Windowed<'a, T> {
    samples: &'a [T],
    window: &'a [T],
    packed: &'a mut [Complex<T>],
}

impl<T: Real> WithSimd for Windowed<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let pairs = self.samples.as_chunks::<2>().0.iter().zip(self.window.as_chunks::<2>().0);
        for (z, (x, w)) in self.packed.iter_mut().zip(pairs) {
            *z = Complex { re: x[0] * w[0], im: x[1] * w[1] };
        }
    }
}

/// [`untangle`] with the machine's widest vectors.
struct Untangle<'a, T> {
    z: &'a [Complex<T>],
    parts: &'a mut [T],
    twiddles: &'a [T],
    power: &'a mut [T],
}

impl<T: Real> WithSimd for Untangle<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        untangle(self.z, self.parts, self.twiddles, self.power);
    }
}

/// From the transform z of a frame packed two samples to a complex number to the frame's powers. With `a = z[k]` and `b` the
/// conjugate of `z[m - k]`: the even samples have the spectrum `(a + b) / 2`, the odd ones `-i (a - b) / 2`, and the frame the sum of the
/// first and the second times `exp(-2 pi i k / n)`.
///
/// Written as short loops, each of which the compiler turns into vectors: together, with one half read backwards, it does not.
#[inline(always)]
fn untangle<T: Real>(z: &[Complex<T>], parts: &mut [T], twiddles: &[T], power: &mut [T]) {
    let m = z.len();
    let half = T::from_f64(0.5);
    power[0] = (z[0].re + z[0].im) * (z[0].re + z[0].im);
    power[m] = (z[0].re - z[0].im) * (z[0].re - z[0].im);
    power[m / 2] = z[m / 2].re * z[m / 2].re + z[m / 2].im * z[m / 2].im;
    let count = m / 2 - 1;
    let (re, rest) = parts.split_at_mut(m);
    let (im, rest) = rest.split_at_mut(m);
    let (back_re, rest) = rest.split_at_mut(m / 2);
    let (back_im, rest) = rest.split_at_mut(m / 2);
    let (high, low) = rest.split_at_mut(m / 2);
    for ((re, im), z) in re.iter_mut().zip(&mut *im).zip(z) {
        *re = z.re;
        *im = z.im;
    }
    let (back_re, back_im) = (&mut back_re[..count], &mut back_im[..count]);
    reverse(back_re, &re[m / 2 + 1..]);
    reverse(back_im, &im[m / 2 + 1..]);
    let (re, im, twiddles) = (&re[1..][..count], &im[1..][..count], &twiddles.as_chunks::<2>().0[1..][..count]);
    let (high, low) = (&mut high[..count], &mut low[..count]);
    for i in 0..count {
        let (w, a_re, a_im, b_re, b_im) = (twiddles[i], re[i], im[i], back_re[i], back_im[i]);
        let (even_re, even_im) = (half * (a_re + b_re), half * (a_im - b_im));
        let (odd_re, odd_im) = (half * (a_im + b_im), half * (b_re - a_re));
        let (turned_re, turned_im) = (odd_re * w[0] - odd_im * w[1], odd_re * w[1] + odd_im * w[0]);
        let (sum_re, sum_im) = (even_re + turned_re, even_im + turned_im);
        let (difference_re, difference_im) = (even_re - turned_re, even_im - turned_im);
        low[i] = sum_re * sum_re + sum_im * sum_im;
        high[i] = difference_re * difference_re + difference_im * difference_im;
    }
    power[1..][..count].copy_from_slice(low);
    reverse(&mut power[m / 2 + 1..m], high);
}
