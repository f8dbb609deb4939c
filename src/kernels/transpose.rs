//! Eight lines side by side. Plain loops over these are compiled to single moves, several times slower than what a machine with
//! AVX2 has instructions for.

use crate::tensor::Real;

/// Numbers that are transposed at a time.
pub(crate) const LINES: usize = 8;

/// Exchanges rows and columns of a block.
pub trait Transpose: Copy {
    /// `transposed[i][j] = rows[j][i]`
    fn transposed<T: Real>(self, rows: [[T; LINES]; LINES]) -> [[T; LINES]; LINES];
}

/// Work of which transposing blocks is the greater part.
pub trait Transposing {
    type Output;

    /// Does it; must be `#[inline(always)]`, as must be all that it calls.
    fn run(&mut self, how: impl Transpose) -> Self::Output;
}

/// Runs such work compiled for this machine: f32 with AVX2's instructions where there are any. By reference, since a copy of what has
/// just been written, in pieces of other sizes, makes the machine wait until all that was written before is in the cache.
#[inline(always)]
pub(crate) fn dispatch<T: Real, W: Transposing>(work: &mut W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx2::available::<T>() {
        return simd.vectorize(avx2::Run { work, simd });
    }
    super::lanes::dispatch(
        #[inline(always)]
        || work.run(Moves),
    )
}

/// Turns number by number.
#[derive(Clone, Copy)]
struct Moves;

impl Transpose for Moves {
    #[inline(always)]
    fn transposed<T: Real>(self, rows: [[T; LINES]; LINES]) -> [[T; LINES]; LINES] {
        let mut transposed = [[T::ZERO; LINES]; LINES];
        for (j, row) in rows.iter().enumerate() {
            (0..LINES).for_each(|i| transposed[i][j] = row[i]);
        }
        transposed
    }
}

/// `to[j * pitch + c] = lines[c][j]` for the first numbers of eight lines, by whole blocks that fit into `to`; how many it returns.
#[inline]
pub(crate) fn transpose<T: Real>(to: &mut [T], pitch: usize, lines: [&[T]; LINES], count: usize) -> usize {
    dispatch::<T, _>(&mut Lines { to, pitch, lines: lines.map(|line| &line[..count]) })
}

struct Lines<'a, T> {
    to: &'a mut [T],
    pitch: usize,
    lines: [&'a [T]; LINES],
}

impl<T: Real> Transposing for Lines<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn run(&mut self, how: impl Transpose) -> usize {
        let pitch = self.pitch;
        let [a, b, c, d, e, f, g, h] = self.lines.map(|line| line.as_chunks::<LINES>().0);
        let count = h.len();
        let (a, b, c, d, e, f, g) =
            (&a[..count], &b[..count], &c[..count], &d[..count], &e[..count], &f[..count], &g[..count]);
        for (j, pixels) in self.to.chunks_mut(LINES * pitch).take(count).enumerate() {
            let transposed = how.transposed([a[j], b[j], c[j], d[j], e[j], f[j], g[j], h[j]]);
            let (last, pixels) = match pixels.len().checked_sub((LINES - 1) * pitch) {
                Some(_) => pixels.split_at_mut((LINES - 1) * pitch),
                None => return j * LINES,
            };
            for (i, pixel) in last.chunks_exact_mut(pitch).enumerate() {
                pixel[..LINES].copy_from_slice(&transposed[i]);
            }
            pixels[..LINES].copy_from_slice(&transposed[LINES - 1]);
        }
        count * LINES
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{LINES, Real, Transpose, Transposing};
    use pulp::NullaryFnOnce;
    use pulp::x86::{Arch, V3};
    use std::arch::x86_64::__m256;

    /// AVX2, where the machine has it and `T` is f32.
    #[inline(always)]
    pub fn available<T: Real>() -> Option<V3> {
        let is_f32 = std::any::TypeId::of::<T>() == std::any::TypeId::of::<f32>();
        if is_f32 && !matches!(crate::vectors::arch(), Arch::Scalar) { V3::try_new() } else { None }
    }

    pub(crate) struct Run<'a, W> {
        pub(crate) work: &'a mut W,
        pub simd: V3,
    }

    impl<W: Transposing> NullaryFnOnce for Run<'_, W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.work.run(Shuffles(self.simd))
        }
    }

    /// Turns blocks of f32 by shuffles.
    #[derive(Clone, Copy)]
    struct Shuffles(V3);

    impl Transpose for Shuffles {
        #[inline(always)]
        fn transposed<T: Real>(self, rows: [[T; LINES]; LINES]) -> [[T; LINES]; LINES] {
            // `available` says that T is f32.
            bytemuck::cast(block_transposed(self.0, bytemuck::cast(rows)))
        }
    }

    /// Rows and columns of a block exchanged: pairs of rows are interleaved, then pairs of pairs, then the halves.
    #[inline(always)]
    fn block_transposed(simd: V3, rows: [[f32; LINES]; LINES]) -> [[f32; LINES]; LINES] {
        let [a, b, c, d, e, f, g, h]: [__m256; LINES] = bytemuck::cast(rows);
        let avx = simd.avx;
        let (ab, ab_high) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b));
        let (cd, cd_high) = (avx._mm256_unpacklo_ps(c, d), avx._mm256_unpackhi_ps(c, d));
        let (ef, ef_high) = (avx._mm256_unpacklo_ps(e, f), avx._mm256_unpackhi_ps(e, f));
        let (gh, gh_high) = (avx._mm256_unpacklo_ps(g, h), avx._mm256_unpackhi_ps(g, h));
        let pairs = |x: __m256, y: __m256| (avx._mm256_shuffle_ps::<0x44>(x, y), avx._mm256_shuffle_ps::<0xee>(x, y));
        let ((a0, a1), (a2, a3)) = (pairs(ab, cd), pairs(ab_high, cd_high));
        let ((e0, e1), (e2, e3)) = (pairs(ef, gh), pairs(ef_high, gh_high));
        let low = |x: __m256, y: __m256| avx._mm256_permute2f128_ps::<0x20>(x, y);
        let high = |x: __m256, y: __m256| avx._mm256_permute2f128_ps::<0x31>(x, y);
        bytemuck::cast([
            low(a0, e0),
            low(a1, e1),
            low(a2, e2),
            low(a3, e3),
            high(a0, e0),
            high(a1, e1),
            high(a2, e2),
            high(a3, e3),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds<T: Real>() {
        let at = |i: usize| T::from_f64(i as f64 + 1.0);
        for (count, pitch) in [(0, 8), (7, 8), (8, 8), (21, 9), (40, 24)] {
            let lines: Vec<Vec<T>> = (0..LINES).map(|c| (0..count).map(|j| at(c * 100 + j)).collect()).collect();
            let lines: [&[T]; LINES] = std::array::from_fn(|c| &lines[c][..]);
            // As short as it may be.
            let mut to = vec![T::ZERO; (count * pitch).saturating_sub(pitch - LINES)];
            let done = transpose(&mut to, pitch, lines, count);
            assert!(done == count / LINES * LINES || done == 0);
            for (i, &x) in to.iter().enumerate() {
                let (j, c) = (i / pitch, i % pitch);
                assert_eq!(x, if j < done && c < LINES { lines[c][j] } else { T::ZERO }, "{j} {c} of {count}");
            }
        }
    }

    #[test]
    fn lines_become_columns() {
        holds::<f32>();
        holds::<f64>();
    }
}
