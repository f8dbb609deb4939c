//! The sums of all chunks where several ranks made them: each rank adds up a stretch of the elements, in the order in which one
//! process alone would ([`Sums::collect`](super::outer::Sums::collect)), and tells the others.

use super::collect::Places;
use crate::graph::Share;
use crate::kernels::lanes;
use crate::tensor::Real;
use std::ops::Range;

/// Puts the total of the sums of all chunks in the first chunk's place. `of` says which chunks are which rank's, of
/// `elements` sums each; `places` where this rank's lie.
pub(crate) fn exchange<T: Real>(
    share: Share<'_>,
    sums: &mut [T],
    elements: usize,
    of: impl Fn(usize) -> Range<usize>,
    places: &Places,
) {
    let (ranks, me) = (share.ranks(), share.rank());
    let chunks: Vec<Range<usize>> = (0..ranks).map(of).collect();
    // Pairs of which a rank has at least one chunk.
    let pairs = |rank: usize| match chunks[rank].clone() {
        none if none.is_empty() => 0..0,
        some => some.start / 2..some.end.div_ceil(2),
    };
    let stretch = |rank: usize| rank * elements / ranks..(rank + 1) * elements / ranks;

    let mut send = Vec::with_capacity(pairs(me).len() * elements);
    let mut held = Vec::new();
    for pair in pairs(me) {
        let mut own = [2 * pair, 2 * pair + 1].into_iter().filter(|chunk| chunks[me].contains(chunk));
        let alone = own.clone().count() == 1;
        let kept = own.find(|&chunk| places.holds(chunk)).unwrap_or(2 * pair);
        if !alone && kept == 2 * pair && places.holds(kept + 1) {
            let (first, second) = sums[kept * elements..][..2 * elements].split_at_mut(elements);
            add(first, second);
        }
        held.push(kept);
    }
    let mut to = Vec::new();
    for rank in 0..ranks {
        let start = send.len();
        held.iter().for_each(|&chunk| send.extend_from_slice(&sums[chunk * elements..][..elements][stretch(rank)]));
        to.push(start..send.len());
    }
    let own = stretch(me);
    let mut from = Vec::new();
    let mut end = 0;
    for rank in 0..ranks {
        let start = end;
        end += pairs(rank).len() * own.len();
        from.push(start..end);
    }
    let mut receive = vec![T::ZERO; end];
    share.exchange(&send, &to, &mut receive, &from);

    let total = &mut sums[own.clone()];
    total.fill(T::ZERO);
    let mut room = vec![T::ZERO; own.len()];
    let all = (0..ranks).map(|rank| pairs(rank).end).max().unwrap_or(0);
    for pair in 0..all {
        // Of a pair that two ranks share, the lower rank has the first chunk.
        let mut parts = (0..ranks).filter(|&rank| pairs(rank).contains(&pair)).map(|rank| {
            let start = from[rank].start + (pair - pairs(rank).start) * own.len();
            &receive[start..start + own.len()]
        });
        match (parts.next(), parts.next()) {
            (Some(one), None) => add(total, one),
            (Some(first), Some(second)) => {
                room.copy_from_slice(first);
                add(&mut room, second);
                add(total, &room);
            }
            _ => {}
        }
    }
    share.gather_parts(&mut sums[..elements], stretch);
}

fn add<T: Real>(to: &mut [T], x: &[T]) {
    lanes::dispatch(
        #[inline(always)]
        || to.iter_mut().zip(x).for_each(|(to, &x)| *to += x),
    );
}
