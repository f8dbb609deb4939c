//! The sums of all chunks where several ranks made them: each rank adds up a stretch of the elements, in the order in which one
//! process alone would ([`Sums::collect`]), and tells the others.
//!
//! The gradients of weights and biases are not needed before the optimiser runs, so they are exchanged during the rest of the backward pass.

use super::collect::Places;
use super::layout::Lanes;
use super::outer::Sums;
use crate::graph::{Parallel, Parcels, Rest, Share, bytes};
use crate::kernels::lanes;
use crate::kernels::simd::SimdReal;
use crate::tensor::Real;
use std::ops::Range;

/// The exchange of one layer's sums.
pub(crate) struct Exchange<T> {
    shape: Sums,
    lanes: Lanes,
    /// Sums of a chunk.
    elements: usize,
    rank: usize,
    /// Each rank's chunks.
    chunks: Vec<Range<usize>>,
    progress: Progress<T>,
}

enum Progress<T> {
    /// On its way: all ranks' sums of this rank's stretch, and of the bias, a few for each output channel.
    Sums { channels: usize },
    /// On its way: the totals of all stretches. The bias's gradient is known.
    Totals { bias: Vec<T> },
    /// All is there.
    Done { bias: Vec<T>, totals: Vec<T> },
}

/// The elements of which a rank adds up the sums.
fn stretch(rank: usize, ranks: usize, elements: usize) -> Range<usize> {
    rank * elements / ranks..(rank + 1) * elements / ranks
}

/// Pairs of chunks of which a rank has at least one.
fn pairs(chunks: &Range<usize>) -> Range<usize> {
    if chunks.is_empty() { 0..0 } else { chunks.start / 2..chunks.end.div_ceil(2) }
}

impl<T: SimdReal> Exchange<T> {
    /// Sends the sums of this rank's chunks. `of` says which chunks are which rank's; `places` where this rank's lie in `sums`; `bias`
    /// has as many sums of each chunk as there are `channels`.
    pub fn begin(
        share: Share<'_>,
        (shape, lanes): (Sums, Lanes),
        channels: usize,
        of: impl Fn(usize) -> Range<usize>,
        places: &Places,
        sums: &mut [T],
        bias: &[T],
    ) {
        let (ranks, rank) = (share.ranks(), share.rank());
        let elements = shape.elements(&lanes);
        let chunks: Vec<Range<usize>> = (0..ranks).map(of).collect();
        let mut held = Vec::new();
        for pair in pairs(&chunks[rank]) {
            let mut own = [2 * pair, 2 * pair + 1].into_iter().filter(|chunk| chunks[rank].contains(chunk));
            let alone = own.clone().count() == 1;
            let kept = own.find(|&chunk| places.holds(chunk)).unwrap_or(2 * pair);
            if !alone && kept == 2 * pair && places.holds(kept + 1) {
                let (first, second) = sums[kept * elements..][..2 * elements].split_at_mut(elements);
                add(first, second);
            }
            held.push(kept);
        }
        let own_bias = &bias[chunks[rank].start * channels..chunks[rank].end * channels];
        let mut send = Vec::with_capacity((held.len() * elements + ranks * own_bias.len()) * size_of::<T>());
        let mut to = Vec::new();
        for other in 0..ranks {
            let start = send.len();
            for &chunk in &held {
                let of_other = &sums[chunk * elements..][..elements][stretch(other, ranks, elements)];
                send.extend_from_slice(bytemuck::cast_slice(of_other));
            }
            send.extend_from_slice(bytemuck::cast_slice(own_bias));
            to.push(start..send.len());
        }
        let exchange = Self { shape, lanes, elements, rank, chunks, progress: Progress::Sums { channels } };
        let from = exchange.from(channels).into_iter().map(bytes::<T>).collect();
        share.leave(Box::new(exchange), Parcels { send, to, from });
    }

    /// Where each rank's sums lie in what is received.
    fn from(&self, channels: usize) -> Vec<Range<usize>> {
        let own = stretch(self.rank, self.chunks.len(), self.elements).len();
        let mut end = 0;
        let each = self.chunks.iter().map(|chunks| {
            let start = end;
            end += pairs(chunks).len() * own + chunks.len() * channels;
            start..end
        });
        each.collect()
    }

    /// Adds up the sums of all ranks: the totals of this rank's stretch, and the bias's gradient.
    fn add_up(&self, came: &[T], channels: usize) -> [Vec<T>; 2] {
        let own = stretch(self.rank, self.chunks.len(), self.elements).len();
        let from = self.from(channels);
        let mut total = vec![T::ZERO; own];
        let mut room = vec![T::ZERO; own];
        let all = self.chunks.iter().map(|chunks| pairs(chunks).end).max().unwrap_or(0);
        for pair in 0..all {
            // Of a pair that two ranks share, the lower rank has the first chunk.
            let each = self.chunks.iter().map(pairs).zip(&from).filter(|(pairs, _)| pairs.contains(&pair));
            let mut parts = each.map(|(pairs, from)| &came[from.start + (pair - pairs.start) * own..][..own]);
            match (parts.next(), parts.next()) {
                (Some(one), None) => add(&mut total, one),
                (Some(first), Some(second)) => {
                    room.copy_from_slice(first);
                    add(&mut room, second);
                    add(&mut total, &room);
                }
                _ => {}
            }
        }
        let of_chunks = self.chunks.iter().zip(&from);
        let of_chunks = of_chunks.map(|(chunks, from)| &came[from.end - chunks.len() * channels..from.end]);
        let mut bias = vec![T::ZERO; channels];
        add_up_chunks(&mut bias, &of_chunks.collect::<Vec<_>>().concat());
        [total, bias]
    }
}

impl<T: SimdReal> Rest for Exchange<T> {
    fn take(&mut self, came: &[u8]) -> Option<Parcels> {
        // Bytes may lie anywhere.
        let mut values = vec![T::ZERO; came.len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(came);
        let ranks = self.chunks.len();
        match &mut self.progress {
            &mut Progress::Sums { channels } => {
                let [total, bias] = self.add_up(&values, channels);
                self.progress = Progress::Totals { bias };
                let send = bytemuck::cast_slice(&total).to_vec();
                let from = (0..ranks).map(|rank| bytes::<T>(stretch(rank, ranks, self.elements))).collect();
                Some(Parcels { to: vec![0..send.len(); ranks], send, from })
            }
            Progress::Totals { bias } => {
                self.progress = Progress::Done { bias: std::mem::take(bias), totals: values };
                None
            }
            Progress::Done { .. } => None,
        }
    }

    fn write(&self, parallel: &dyn Parallel, outputs: &mut [&mut [u8]]) {
        let (Progress::Done { bias, totals }, [dw, db]) = (&self.progress, outputs) else { return };
        self.shape.collect(parallel, &self.lanes, totals, 1, &Places::default(), bytemuck::cast_slice_mut(dw));
        bytemuck::cast_slice_mut::<u8, T>(db).copy_from_slice(bias);
    }
}

/// The bias's gradient: the sums of all chunks, of which each has one for every output channel.
pub(crate) fn add_up_chunks<T: Real>(to: &mut [T], chunks: &[T]) {
    let channels = to.len();
    for (c, to) in to.iter_mut().enumerate() {
        *to = chunks.chunks_exact(channels).map(|chunk| chunk[c]).sum();
    }
}

fn add<T: Real>(to: &mut [T], x: &[T]) {
    lanes::dispatch(
        #[inline(always)]
        || to.iter_mut().zip(x).for_each(|(to, &x)| *to += x),
    );
}
