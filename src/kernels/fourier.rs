//! Fourier transforms of real signals, sixteen side by side: number t of signal i is number i of row t, so that a vector holds the same
//! number of many signals, and nothing within a transform needs to change lanes.
//!
//! A signal of n samples is taken for m = n / 2 complex numbers. These are transformed in place by decimation in frequency: a pass of radix r
//! over a block of m numbers makes r blocks of m / r, block k of which has the transform's numbers k, k + r, k + 2 r ... That leaves
//! them in another order, which [`Fourier::powers`] undoes where it finds the spectrum of the real signals.

use super::butterfly::{Pair, add, butterfly, sub, times};
use super::prefetch::Prefetch;
use super::simd::SimdReal;
use super::transpose::{LINES, Transpose, Transposing, dispatch as dispatch_transposing};
use pulp::{Simd, WithSimd};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Signals side by side.
pub(crate) const SIDE: usize = 16;

/// Rows of samples of each block that are transposed at a time.
const ROWS: usize = 16;
/// The same of all blocks: 8 kB.
const BLOCK_ROWS: usize = 8 * ROWS;

/// Transforms of one length.
pub(crate) struct Fourier<T> {
    passes: Vec<Pass<T>>,
    /// Where number k of the transform of a block of the first pass lies in that block in the end.
    places: Vec<u32>,
}

/// A pass over a block of `radix * stride` complex numbers.
struct Pass<T> {
    radix: usize,
    stride: usize,
    /// For each j below the stride and k from 1 to the radix what number k of butterfly j is multiplied by. None in the last pass, where
    /// it would be 1.
    twiddles: Vec<[T; 2]>,
}

/// [`Fourier`] in both types, made when first needed.
#[derive(Clone, Default)]
pub(crate) struct Transforms {
    single: OnceLock<Arc<Fourier<f32>>>,
    double: OnceLock<Arc<Fourier<f64>>>,
}

impl fmt::Debug for Transforms {
    // Operations are printed; their tables are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transforms")
    }
}

/// A real type that there are Fourier transforms for.
pub(crate) trait Transform: SimdReal {
    /// Transforms of signals of `n` samples, a power of two.
    fn of(transforms: &Transforms, n: usize) -> &Fourier<Self>;
}

impl Transform for f32 {
    fn of(transforms: &Transforms, n: usize) -> &Fourier<f32> {
        transforms.single.get_or_init(|| Arc::new(Fourier::new(n)))
    }
}

impl Transform for f64 {
    fn of(transforms: &Transforms, n: usize) -> &Fourier<f64> {
        transforms.double.get_or_init(|| Arc::new(Fourier::new(n)))
    }
}

/// `exp(-2 pi i k / n)`
fn root<T: SimdReal>(k: usize, n: usize) -> [T; 2] {
    let angle = std::f64::consts::TAU * k as f64 / n as f64;
    [T::from_f64(angle.cos()), T::from_f64(-angle.sin())]
}

impl<T: SimdReal> Fourier<T> {
    /// For signals of `n` samples, a power of two from 8 on.
    fn new(n: usize) -> Self {
        let mut passes = Vec::new();
        let mut len = n / 2;
        while len > 1 {
            let radix = len.min(8);
            let stride = len / radix;
            let of = |j: usize| (1..radix).map(move |k| root(j * k, len));
            let twiddles = if stride > 1 { (0..stride).flat_map(of).collect() } else { Vec::new() };
            passes.push(Pass { radix, stride, twiddles });
            len = stride;
        }
        let place = |mut k: usize| {
            let mut place = 0;
            for pass in &passes[1..] {
                // Number k of a block is number k / radix of its block k % radix.
                place += k % pass.radix * pass.stride;
                k /= pass.radix;
            }
            place as u32
        };
        let places = (0..passes[0].stride).map(place).collect();
        Self { passes, places }
    }

    /// Samples of a signal.
    fn samples(&self) -> usize {
        2 * self.passes[0].radix * self.passes[0].stride
    }

    /// Elements of memory that [`Fourier::powers`] needs for itself.
    pub fn room_len(n: usize) -> usize {
        // A vector's worth to begin at a whole vector.
        (n + 2 * BLOCK_ROWS) * SIDE + SIDE
    }

    /// How often [`Fourier::powers`] prefetches some more.
    pub fn steps(&self) -> usize {
        let first = &self.passes[0];
        first.stride.div_ceil(ROWS / 2) + first.radix
    }

    /// `powers[k][i] = |sum_t window[t] lines[i][t] exp(-2 pi i k t / n)|^2` for k from 0 to n / 2. The twiddles are
    /// `exp(-2 pi i k / n)`, real and imaginary part, for k below n / 2.
    ///
    /// # Panics
    /// Where a slice is too short.
    pub fn powers(
        &self,
        lines: [&[T]; SIDE],
        [window, twiddles]: [&[T]; 2],
        room: &mut [T],
        powers: &mut [T],
        prefetch: &Prefetch,
    ) {
        let n = self.samples();
        let twiddles = twiddles.as_chunks::<2>().0;
        assert!(
            window.len() >= n && twiddles.len() >= n / 2 && powers.len() >= (n / 2 + 1) * SIDE,
            "room for {n} samples"
        );
        let skip = room.as_ptr().align_offset(SIDE * size_of::<T>()).min(SIDE);
        let (z, transposed) = room[skip..].split_at_mut(n * SIDE);
        let transposed = &mut transposed[..2 * BLOCK_ROWS * SIDE];
        let lines = lines.map(|line| &line[..n]);
        super::simd::dispatch(Powers { fourier: self, lines, window, twiddles, z, transposed, powers, prefetch });
    }
}

/// [`Fourier::powers`] with the machine's widest vectors.
struct Powers<'a, T> {
    fourier: &'a Fourier<T>,
    lines: [&'a [T]; SIDE],
    window: &'a [T],
    twiddles: &'a [[T; 2]],
    /// The numbers in hand: real and imaginary part of each are two rows.
    z: &'a mut [T],
    /// Samples of all blocks of the first pass, transposed to rows: some, and those that come next.
    transposed: &'a mut [T],
    powers: &'a mut [T],
    /// What is prefetched meanwhile.
    prefetch: &'a Prefetch,
}

impl<T: SimdReal> WithSimd for Powers<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { fourier, lines, window, twiddles, z, transposed, powers, prefetch } = self;
        let (first, others) = fourier.passes.split_first().expect("four numbers or more");
        // SAFETY: `z` has two rows for each number, `transposed` twice ROWS for each of eight blocks, `lines` and `window` two
        // numbers for each number of `z`, `twiddles` one, and `powers` a row for each bin, as `Fourier::powers` has seen to.
        unsafe {
            match first.radix {
                8 => first.begin::<S, 8>(simd, &lines, window, z, transposed, prefetch),
                _ => first.begin::<S, 4>(simd, &lines, window, z, transposed, prefetch),
            }
            // A block and its mirror image, from the next pass to powers, while they are in the first-level cache.
            for block in 0..=first.radix / 2 {
                let mirrored = (first.radix - block) % first.radix;
                for block in [block].into_iter().chain((mirrored != block).then_some(mirrored)) {
                    prefetch.step();
                    let len = 2 * first.stride * SIDE;
                    let block = &mut z[block * len..][..len];
                    for pass in others {
                        for part in block.chunks_exact_mut(2 * pass.radix * pass.stride * SIDE) {
                            match pass.radix {
                                8 => pass.run::<S, 8>(simd, part),
                                4 => pass.run::<S, 4>(simd, part),
                                _ => pass.run::<S, 2>(simd, part),
                            }
                        }
                    }
                }
                fourier.untangle(simd, z, twiddles, powers, [block, mirrored]);
            }
        }
    }
}

impl<T: SimdReal> Pass<T> {
    /// The first pass, from samples times window.
    ///
    /// # Safety
    /// See where it is called.
    #[inline(always)]
    unsafe fn begin<S: Simd, const R: usize>(
        &self,
        simd: S,
        lines: &[&[T]; SIDE],
        window: &[T],
        z: &mut [T],
        transposed: &mut [T],
        prefetch: &Prefetch,
    ) {
        let numbers = self.stride.min(ROWS / 2);
        let mut halves = transposed.split_at_mut(BLOCK_ROWS * SIDE);
        for from in (0..self.stride + numbers).step_by(numbers) {
            if from < self.stride {
                let (block, pitch) = (&mut *halves.0, 2 * self.stride);
                let mut transposed = Transposed { lines, block, first: 2 * from, rows: 2 * numbers, pitch, blocks: R };
                dispatch_transposing::<T, _>(&mut transposed);
            }
            // What was transposed before: the machine would have to wait for what was written last.
            halves = (halves.1, halves.0);
            let Some(from) = from.checked_sub(numbers) else { continue };
            prefetch.step();
            for j in 0..numbers {
                for lane in (0..SIDE).step_by(T::lanes::<S>()) {
                    let mut x = [Pair { re: T::splat(simd, T::ZERO), im: T::splat(simd, T::ZERO) }; R];
                    // SAFETY: the caller's promise.
                    unsafe {
                        for (k, x) in x.iter_mut().enumerate() {
                            let Pair { re, im } = read(halves.0, k * numbers + j, lane);
                            let window = window.as_ptr().add(2 * (k * self.stride + from + j));
                            *x = Pair {
                                re: T::mul_v(simd, re, T::splat(simd, *window)),
                                im: T::mul_v(simd, im, T::splat(simd, *window.add(1))),
                            };
                        }
                        self.finish(simd, x, z, from + j, lane);
                    }
                }
            }
        }
    }

    /// Any other pass, over one block.
    ///
    /// # Safety
    /// See where it is called.
    #[inline(always)]
    unsafe fn run<S: Simd, const R: usize>(&self, simd: S, z: &mut [T]) {
        for j in 0..self.stride {
            for lane in (0..SIDE).step_by(T::lanes::<S>()) {
                let mut x = [Pair { re: T::splat(simd, T::ZERO), im: T::splat(simd, T::ZERO) }; R];
                // SAFETY: the caller's promise.
                unsafe {
                    for (k, x) in x.iter_mut().enumerate() {
                        *x = read(z, k * self.stride + j, lane);
                    }
                    self.finish(simd, x, z, j, lane);
                }
            }
        }
    }

    /// Transforms the numbers of butterfly j, and multiplies and writes them.
    ///
    /// # Safety
    /// See where it is called.
    #[inline(always)]
    unsafe fn finish<S: Simd, const R: usize>(
        &self,
        simd: S,
        mut x: [Pair<T::Vector<S>>; R],
        z: &mut [T],
        j: usize,
        lane: usize,
    ) {
        butterfly::<T, S>(simd, &mut x);
        let rotated = !self.twiddles.is_empty();
        for (k, mut x) in x.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                if rotated && k > 0 {
                    x = times::<T, S>(simd, x, *self.twiddles.get_unchecked(j * (R - 1) + k - 1));
                }
                let at = z.as_mut_ptr().add(2 * (k * self.stride + j) * SIDE + lane);
                at.cast::<T::Vector<S>>().write_unaligned(x.re);
                at.add(SIDE).cast::<T::Vector<S>>().write_unaligned(x.im);
            }
        }
    }
}

impl<T: SimdReal> Fourier<T> {
    /// From the transform z of signals packed two samples to a complex number to their powers. With `a = z[k]` and `b` the conjugate of
    /// `z[m - k]`: the even samples have the spectrum `(a + b) / 2`, the odd ones `-i (a - b) / 2`, and the signal the sum of the first and
    /// the second times `exp(-2 pi i k / n)`. Does all k of block `block` of the first pass, and all `m - k`, which are those of `mirrored`.
    ///
    /// # Safety
    /// See where it is called.
    #[inline(always)]
    unsafe fn untangle<S: Simd>(
        &self,
        simd: S,
        z: &[T],
        twiddles: &[[T; 2]],
        powers: &mut [T],
        [block, mirrored]: [usize; 2],
    ) {
        let (radix, stride) = (self.passes[0].radix, self.passes[0].stride);
        let m = radix * stride;
        let power = |x: Pair<T::Vector<S>>| T::mul_add_v(simd, x.re, x.re, T::mul_v(simd, x.im, x.im));
        let quarter = T::splat(simd, T::from_f64(0.25));
        for lane in (0..SIDE).step_by(T::lanes::<S>()) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut write = |k: usize, x: T::Vector<S>| {
                    powers.as_mut_ptr().add(k * SIDE + lane).cast::<T::Vector<S>>().write_unaligned(x);
                };
                // Number `k = radix k' + block`.
                let at = |block: usize, k: usize| {
                    read::<T, S>(z, block * stride + *self.places.get_unchecked(k) as usize, lane)
                };
                if block == 0 {
                    let Pair { re, im } = at(0, 0);
                    let (sum, difference) = (T::add_v(simd, re, im), T::sub_v(simd, re, im));
                    write(0, T::mul_v(simd, sum, sum));
                    write(m, T::mul_v(simd, difference, difference));
                    let middle = if stride == 1 { at(radix / 2, 0) } else { at(0, stride / 2) };
                    write(m / 2, power(middle));
                }
                // Number k' of a block has its mirror image as far from the end of the other; in block 0, which begins with
                // number 0 of all, one further. A block that is its own mirror image is done when half of it is.
                let first = usize::from(block == 0);
                let end = if block == mirrored { stride / 2 } else { stride };
                for k in first..end {
                    let (a, b) = (at(block, k), at(mirrored, stride - 1 + first - k));
                    let k = radix * k + block;
                    let even = Pair { re: T::add_v(simd, a.re, b.re), im: T::sub_v(simd, a.im, b.im) };
                    let odd = Pair { re: T::add_v(simd, a.im, b.im), im: T::sub_v(simd, b.re, a.re) };
                    let odd = times::<T, S>(simd, odd, *twiddles.get_unchecked(k));
                    write(k, T::mul_v(simd, quarter, power(add::<T, S>(simd, even, odd))));
                    write(m - k, T::mul_v(simd, quarter, power(sub::<T, S>(simd, even, odd))));
                }
            }
        }
    }
}

/// Number `number` of all signals from `lane` on.
///
/// # Safety
/// It must be there.
#[inline(always)]
unsafe fn read<T: SimdReal, S: Simd>(z: &[T], number: usize, lane: usize) -> Pair<T::Vector<S>> {
    // SAFETY: the caller's promise.
    unsafe {
        let at = z.as_ptr().add(2 * number * SIDE + lane);
        Pair {
            re: at.cast::<T::Vector<S>>().read_unaligned(),
            im: at.add(SIDE).cast::<T::Vector<S>>().read_unaligned(),
        }
    }
}

/// Samples of sixteen signals as rows: `rows` from sample `first` on of each of some blocks, which lie `pitch` samples from each
/// other.
struct Transposed<'a, T> {
    lines: &'a [&'a [T]; SIDE],
    block: &'a mut [T],
    first: usize,
    rows: usize,
    pitch: usize,
    blocks: usize,
}

impl<T: SimdReal> Transposing for Transposed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(&mut self, how: impl Transpose) {
        let (rows, wide) = (self.block.as_chunks_mut::<SIDE>().0, self.rows.is_multiple_of(LINES));
        for k in 0..self.blocks {
            let from = k * self.pitch + self.first;
            let rows = &mut rows[k * self.rows..][..self.rows];
            assert!(self.lines.iter().all(|line| line.len() >= from + self.rows), "samples that are there");
            for (half, lines) in self.lines.as_chunks::<LINES>().0.iter().enumerate() {
                if !wide {
                    for (t, row) in rows.iter_mut().enumerate() {
                        (0..LINES).for_each(|i| row[half * LINES + i] = lines[i][from + t]);
                    }
                    continue;
                }
                for (t, rows) in rows.as_chunks_mut::<LINES>().0.iter_mut().enumerate() {
                    let mut block = [[T::ZERO; LINES]; LINES];
                    for (block, line) in block.iter_mut().zip(lines) {
                        // SAFETY: as was asserted. Checked line by line, it takes as many instructions as the transposing.
                        *block = unsafe { line.as_ptr().add(from + t * LINES).cast::<[T; LINES]>().read() };
                    }
                    let block = how.transposed(block);
                    for (row, transposed) in rows.iter_mut().zip(block) {
                        row[half * LINES..][..LINES].copy_from_slice(&transposed);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustfft::FftPlanner;
    use rustfft::num_complex::Complex;

    fn holds<T: Transform>(tolerance: f64) {
        // Under Miri, which takes minutes for more, one of each kind of pass.
        for n in (3..=if cfg!(miri) { 6 } else { 12 }).map(|log2: u32| 1_usize << log2) {
            let line = |i: usize| (0..n).map(move |t| ((t * t * (i + 3) + 7 * t) % 101) as f64 / 101.0 - 0.4);
            let lines: Vec<Vec<T>> = (0..SIDE).map(|i| line(i).map(T::from_f64).collect()).collect();
            let window: Vec<f64> = (0..n).map(|t| 0.1 + (t % 13) as f64).collect();
            let in_t: Vec<T> = window.iter().copied().map(T::from_f64).collect();
            let (mut room, mut powers) = (vec![T::ZERO; Fourier::<T>::room_len(n)], vec![T::ZERO; (n / 2 + 1) * SIDE]);
            let transforms = Transforms::default();
            let lines = std::array::from_fn(|i| &lines[i][..]);
            let twiddles: Vec<T> = (0..n / 2).flat_map(|k| root(k, n)).collect();
            T::of(&transforms, n).powers(lines, [&in_t, &twiddles], &mut room, &mut powers, &Prefetch::none());
            let transform = FftPlanner::<f64>::new().plan_fft_forward(n);
            for i in 0..SIDE {
                let mut z: Vec<_> = line(i).zip(&window).map(|(x, w)| Complex::new(x * w, 0.0)).collect();
                transform.process(&mut z);
                let greatest = z.iter().map(Complex::norm_sqr).fold(0.0, f64::max);
                for (k, z) in z[..=n / 2].iter().enumerate() {
                    let (found, expected) = (powers[k * SIDE + i].to_f64(), z.norm_sqr());
                    let error = (found - expected).abs() / greatest;
                    assert!(error < tolerance, "bin {k} of {n}, signal {i}: {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn powers_are_those_of_another_transform() {
        holds::<f32>(1e-6);
        holds::<f64>(1e-13);
    }
}
