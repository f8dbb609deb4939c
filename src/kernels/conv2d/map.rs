//! Maps with channels innermost and a zero border: what convolutions read from.
//!
//! A *unit* is a stretch of output rows of one item; a *chunk* is a stretch of units whose weight gradients are summed
//! together. Both follow from sizes alone, never from the number of threads.

use super::ConvSizes;
use crate::kernels::simd::MAX_LANES;
use crate::kernels::transpose::{LINES, Transpose, Transposing, dispatch as dispatch_transposing, transpose};
use crate::tensor::Real;
use std::ops::Range;

/// How many units a small batch is cut into, so that several threads have work.
const WANTED_UNITS: usize = 8;
/// About the most elements of x that a unit reads: its maps and results then stay in the second-level cache.
const UNIT_INPUT: usize = 1 << 16;
/// The most chunks, and what their sums may take up together, in elements.
pub(crate) const MAX_CHUNKS: usize = 16;
const MAX_SUMS: usize = 1 << 20;
/// The fewest pixels of a chunk, where that leaves [`MIN_CHUNKS`]: for fewer, writing the sums and adding them up again takes longer
/// than the products.
const MIN_PIXELS: usize = 48;
const MIN_CHUNKS: usize = 4;

/// A stretch of one item's rows, `[rows, columns, channels]`, border included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
    /// The item's row and column that the map's first element is: below zero where it is border.
    pub top: isize,
    pub left: isize,
}

impl Map {
    /// Elements of a row.
    pub fn pitch(&self) -> usize {
        self.columns * self.channels
    }

    /// Elements that the map takes up: whole vectors, so that what lies behind it starts at a vector's boundary, too.
    pub fn len(&self) -> usize {
        (self.rows * self.pitch()).next_multiple_of(MAX_LANES)
    }

    /// Where the item's row and column (which must be inside) start.
    pub fn at(&self, row: usize, column: usize) -> usize {
        let inside = |position: usize, first: isize| (position as isize - first) as usize;
        inside(row, self.top) * self.pitch() + inside(column, self.left) * self.channels
    }

    /// Rows of an item of this size that the map has.
    pub fn inside(&self, size: [usize; 2]) -> Range<usize> {
        let row = |r: isize| r.clamp(0, size[0] as isize) as usize;
        row(self.top)..row(self.top + self.rows as isize)
    }

    /// Fills the border with zeros, of which all is border that does not belong to the item.
    #[inline(always)]
    pub fn fill_border<T: Real>(&self, to: &mut [T], size: [usize; 2]) {
        let inside = self.inside(size);
        let above = if inside.is_empty() { self.rows } else { (inside.start as isize - self.top) as usize };
        let (top, rest) = to[..self.rows * self.pitch()].split_at_mut(above * self.pitch());
        let (middle, bottom) = rest.split_at_mut(inside.len() * self.pitch());
        bottom.fill(T::ZERO);
        // What is right of one row and left of the next lies together.
        let (left, inner) = ((-self.left) as usize * self.channels, size[1] * self.channels);
        let between = self.pitch() - inner;
        top.fill(T::ZERO);
        if middle.is_empty() || between == 0 {
            return;
        }
        middle[..left].fill(T::ZERO);
        let (lines, last) = middle[left..].split_at_mut((inside.len() - 1) * self.pitch());
        for line in lines.chunks_exact_mut(self.pitch()) {
            clear(&mut line[inner..]);
        }
        last[inner..].fill(T::ZERO);
    }

    /// Fills the map from `[channels, height, width]`.
    #[inline(always)]
    pub fn fill_from_planes<T: Real>(&self, to: &mut [T], planes: &[T], size: [usize; 2]) {
        self.fill_border(to, size);
        let plane = size[0] * size[1];
        for row in self.inside(size) {
            let inside = &mut to[self.at(row, 0)..][..size[1] * self.channels];
            interleave(inside, &planes[row * size[1]..], plane, self.channels, size[1]);
        }
    }
}

/// Fills a short slice with zeros, without a call where its length is a usual one.
#[inline(always)]
fn clear<T: Real>(to: &mut [T]) {
    #[inline(always)]
    fn whole<T: Real, const N: usize>(to: &mut [T]) -> bool {
        <&mut [T; N]>::try_from(to).map(|to| *to = [T::ZERO; N]).is_ok()
    }
    if !(whole::<T, 8>(to) || whole::<T, 16>(to) || whole::<T, 32>(to) || whole::<T, 64>(to)) {
        to.fill(T::ZERO);
    }
}

/// `to[j * channels + c] = from[c * plane + j]` for `count` numbers of each channel.
#[inline(always)]
pub(crate) fn interleave<T: Real>(to: &mut [T], from: &[T], plane: usize, channels: usize, count: usize) {
    if channels == 1 {
        to.copy_from_slice(&from[..count]);
        return;
    }
    if channels == 2 {
        let (a, b) = (&from[..count], &from[plane..plane + count]);
        for ((to, &a), &b) in to.as_chunks_mut::<2>().0.iter_mut().zip(a).zip(b) {
            to[0] = a;
            to[1] = b;
        }
        return;
    }
    let mut first = 0;
    while first + LINES <= channels {
        let lines: [&[T]; LINES] = std::array::from_fn(|c| &from[(first + c) * plane..][..count]);
        for j in transpose(&mut to[first..], channels, lines, count)..count {
            let pixel = &mut to[j * channels + first..][..LINES];
            for c in 0..LINES {
                pixel[c] = lines[c][j];
            }
        }
        first += LINES;
    }
    for c in first..channels {
        let line = &from[c * plane..][..count];
        to[c..].iter_mut().step_by(channels).zip(line).for_each(|(to, &x)| *to = x);
    }
}

/// The other way: `to(c)[j] = from[j * pitch + c]`, for `count` numbers of each channel.
#[inline(always)]
pub(crate) fn separate<'a, T: Real>(
    to: impl Iterator<Item = &'a mut [T]>,
    from: &[T],
    pitch: usize,
    channels: usize,
    count: usize,
) {
    dispatch_transposing::<T, _>(&mut Separate { to, from, pitch, channels, count });
}

/// [`separate`], eight channels at a time.
struct Separate<'f, T, I> {
    to: I,
    from: &'f [T],
    pitch: usize,
    channels: usize,
    count: usize,
}

impl<'a, T: Real, I: Iterator<Item = &'a mut [T]>> Transposing for Separate<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn run(&mut self, how: impl Transpose) {
        let Self { from, pitch, channels, count, .. } = *self;
        // The last whole block may overlap the one before it.
        let blocks = if count < LINES { 0 } else { count.div_ceil(LINES) };
        let mut first = 0;
        while first + LINES <= channels {
            let mut lines: [&mut [T]; LINES] = std::array::from_fn(|_| self.to.next().unwrap_or_default());
            for block in 0..blocks {
                let j = (block * LINES).min(count - LINES);
                let mut block = [[T::ZERO; LINES]; LINES];
                for (i, block) in block.iter_mut().enumerate() {
                    block.copy_from_slice(&from[(j + i) * pitch + first..][..LINES]);
                }
                let block = how.transposed(block);
                for (line, block) in lines.iter_mut().zip(block) {
                    line[j..j + LINES].copy_from_slice(&block);
                }
            }
            for j in blocks * LINES..count {
                for (c, line) in lines.iter_mut().enumerate() {
                    line[j] = from[j * pitch + first + c];
                }
            }
            first += LINES;
        }
        for (c, line) in (first..channels).zip(&mut self.to) {
            let values = from[c..].iter().step_by(pitch);
            line[..count].iter_mut().zip(values).for_each(|(to, &x)| *to = x);
        }
    }
}

/// How the items of a convolution are cut into units and chunks. An item here is one group of one item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Output rows of an item, and of a unit.
    rows: usize,
    block_rows: usize,
    blocks: usize,
    pub units: usize,
    per_chunk: usize,
    pub chunks: usize,
}

impl Cut {
    /// The cut for this many items.
    pub fn new(sizes: &ConvSizes, items: usize) -> Self {
        let rows = sizes.output[0];
        let input = sizes.input[0] * sizes.input[1] * sizes.in_channels;
        let wanted = WANTED_UNITS.div_ceil(items).max(input.div_ceil(UNIT_INPUT)).min(rows.div_ceil(4)).max(1);
        let block_rows = rows.div_ceil(wanted);
        let blocks = rows.div_ceil(block_rows);
        let units = items * blocks;
        let weights = sizes.w_spec().shape.elements() / sizes.groups;
        let pixels = items * sizes.pixels();
        let most = (MAX_SUMS / weights).min(pixels / MIN_PIXELS).clamp(MIN_CHUNKS, MAX_CHUNKS);
        let mut per_chunk = units.div_ceil(most);
        if blocks == 1 {
            // Of the sixteenths of a batch, one, two, four ..: then the chunks of all layers begin at the same items, and ranks
            // can have whole chunks of each.
            let sixteenth = items.div_ceil(MAX_CHUNKS);
            per_chunk = sixteenth * per_chunk.div_ceil(sixteenth).next_power_of_two();
        }
        Self { rows, block_rows, blocks, units, per_chunk, chunks: units.div_ceil(per_chunk) }
    }

    /// The item of a unit, and its output rows.
    pub fn unit(&self, unit: usize) -> (usize, Range<usize>) {
        let (item, block) = (unit / self.blocks, unit % self.blocks);
        (item, block * self.block_rows..((block + 1) * self.block_rows).min(self.rows))
    }

    /// How many output rows a unit has; without a division where units are items.
    #[inline(always)]
    pub fn rows_of(&self, unit: usize) -> usize {
        if self.whole() { self.rows } else { self.unit(unit).1.len() }
    }

    /// Whether a unit is a whole item.
    pub fn whole(&self) -> bool {
        self.blocks == 1
    }

    /// The units of a chunk.
    fn chunk(&self, chunk: usize) -> Range<usize> {
        chunk * self.per_chunk..((chunk + 1) * self.per_chunk).min(self.units)
    }

    /// The fewest items after which a chunk begins with an item.
    pub fn items_per_chunk(&self) -> usize {
        let mut units = self.per_chunk;
        while !units.is_multiple_of(self.blocks) {
            units += self.per_chunk;
        }
        units / self.blocks
    }

    /// The chunks that these units make up: whole ones, where the first item is a multiple of [`Cut::items_per_chunk`].
    pub fn chunks_of(&self, units: Range<usize>) -> Range<usize> {
        let start = units.start.div_ceil(self.per_chunk);
        start..units.end.div_ceil(self.per_chunk).max(start)
    }

    /// The units of a chunk that go into the sums together, at most so many (at least 1) at a time, and their rows. They have
    /// the same rows, and so maps of the same size: the last of an item, which may have fewer, goes alone.
    pub fn together(&self, chunk: usize, most: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (cut, mut left) = (*self, self.chunk(chunk));
        std::iter::from_fn(move || {
            let rows = cut.unit(left.clone().next()?).1;
            let count = left.clone().take(most).take_while(|&unit| cut.unit(unit).1 == rows).count();
            let units = left.start..left.start + count;
            left.start = units.end;
            Some((units, rows))
        })
    }

    /// As many units as these of a chunk, or fewer: those behind them, or the first of the chunk `after` it.
    pub fn following(&self, units: &Range<usize>, chunk: usize, after: usize) -> Range<usize> {
        let from = match self.chunk(chunk) {
            own if units.end < own.end => units.end..own.end,
            _ if after < self.chunks => self.chunk(after),
            _ => return 0..0,
        };
        from.start..from.end.min(from.start + units.len())
    }

    /// The most units in a chunk.
    pub fn per_chunk(&self) -> usize {
        self.per_chunk
    }

    /// The most output rows of a unit.
    pub fn block_rows(&self) -> usize {
        self.block_rows
    }
}
