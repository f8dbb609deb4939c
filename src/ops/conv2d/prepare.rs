//! The copy of an input plane that convolutions gather from: with its zero border, columns dealt out by their remainder modulo
//! the stride.

use crate::ops::lanes;
use crate::ops::simd::{MAX_LANES, SimdReal};

/// The prepared copy of one item's channels: zero border, columns dealt out by remainder. All in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub channels: usize,
    /// Rows, border included.
    pub rows: usize,
    /// Remainders that columns are dealt out by.
    pub phases: usize,
    /// Columns of one remainder, border and slack included.
    pub pitch: usize,
}

impl Layout {
    pub fn row(&self) -> usize {
        self.phases * self.pitch
    }

    pub fn len(&self) -> usize {
        self.channels * self.rows * self.row() + MAX_LANES
    }
}

/// Copies rows of one channel plane into its prepared layout: row `r` of the copy is row `first_row + r` of the plane, and
/// element i of remainder f of the copy is the plane's column `i * phases + f - left`; zero where there is none.
pub(super) fn prepare_plane<T: SimdReal>(
    to: &mut [T],
    layout: &Layout,
    plane: &[T],
    size: [usize; 2],
    first_row: isize,
    left: usize,
) {
    for (r, row) in to.chunks_exact_mut(layout.row()).enumerate() {
        let source_row = first_row + r as isize;
        if source_row < 0 || source_row >= size[0] as isize {
            row.fill(T::ZERO);
            continue;
        }
        let from = &plane[source_row as usize * size[1]..][..size[1]];
        if layout.phases == 2 {
            deal_two(row, layout.pitch, from, left);
            continue;
        }
        for (f, part) in row.chunks_exact_mut(layout.pitch).enumerate() {
            // The first i with i * phases + f >= left.
            let skip = left.saturating_sub(f).div_ceil(layout.phases).min(part.len());
            part[..skip].fill(T::ZERO);
            let start = (skip * layout.phases + f).saturating_sub(left);
            let there = size[1].saturating_sub(start).div_ceil(layout.phases).min(part.len() - skip);
            if layout.phases == 1 {
                part[skip..skip + there].copy_from_slice(&from[start..start + there]);
            } else if there > 0 {
                let values = from[start..].iter().step_by(layout.phases);
                part[skip..skip + there].iter_mut().zip(values).for_each(|(to, &x)| *to = x);
            }
            part[skip + there..].fill(T::ZERO);
        }
    }
}

/// [`prepare_plane`] for one row and stride two, the common case: pairs of columns are dealt out in vectors.
fn deal_two<T: SimdReal>(row: &mut [T], pitch: usize, from: &[T], left: usize) {
    let (even, odd) = row.split_at_mut(pitch);
    // Column 0 goes to place `left`: it starts a pair where `left` is even, and ends one where it is odd.
    let at = left / 2;
    let (first, second, from) = if left.is_multiple_of(2) {
        (&mut even[at..], &mut odd[at..], from)
    } else {
        even[..=at.min(pitch - 1)].fill(T::ZERO);
        odd[at] = from[0];
        (&mut even[at + 1..], &mut odd[at + 1..], &from[1..])
    };
    let pairs = from.as_chunks::<2>();
    let count = pairs.0.len().min(first.len()).min(second.len());
    lanes::dispatch(
        #[inline(always)]
        || {
            for ((first, second), pair) in first[..count].iter_mut().zip(&mut second[..count]).zip(pairs.0) {
                *first = pair[0];
                *second = pair[1];
            }
        },
    );
    first[count..].fill(T::ZERO);
    second[count..].fill(T::ZERO);
    if let ([last], Some(to)) = (pairs.1, first.get_mut(count)) {
        *to = *last;
    }
    even[..at].fill(T::ZERO);
    odd[..at].fill(T::ZERO);
}
