//! Memory that is fetched into the cache before it is used: by the next task, or a few elements on.
//!
//! Where an operation's operands do not fit into the caches, a task that begins by copying its input waits for memory, and then
//! leaves memory idle while it computes. Prefetched a few cache lines at a time between tiles, the next task's input is in
//! the second-level cache when that task begins.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_ET0 as TO_WRITE, _MM_HINT_T0 as SOON, _MM_HINT_T1 as LATER};
use std::cell::Cell;

#[cfg(not(target_arch = "x86_64"))]
mod hints {
    pub const SOON: i32 = 0;
    pub const LATER: i32 = 1;
    pub const TO_WRITE: i32 = 2;
}
#[cfg(not(target_arch = "x86_64"))]
use hints::{LATER, SOON, TO_WRITE};

/// Stretches at most; of others nothing is prefetched.
const MOST: usize = 4;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Elements of all operands from which on it pays: with fewer, asking takes more than it saves.
const LARGE: usize = 1 << 22;

/// Stretches of memory, to be prefetched step by step.
pub(crate) struct Prefetch {
    /// Addresses: from, to.
    stretches: [Cell<(usize, usize)>; MOST],
    /// The stretch in hand.
    current: Cell<usize>,
    lines_per_step: usize,
}

impl Prefetch {
    /// Nothing.
    pub const fn none() -> Self {
        Self { stretches: [const { Cell::new((0, 0)) }; MOST], current: Cell::new(MOST), lines_per_step: 0 }
    }

    /// Whether an operation whose operands have so many elements should look ahead.
    pub fn pays(elements: usize) -> bool {
        cfg!(target_arch = "x86_64") && elements >= LARGE
    }

    /// These units of each of some stretches, which are given by their addresses and the elements of a unit, in so many steps.
    pub fn new<T, const N: usize>(units: &std::ops::Range<usize>, of: [(*const T, usize); N], steps: usize) -> Self {
        let of = of.into_iter().map(|(start, unit)| {
            let at = |unit_number: usize| start.wrapping_add(unit_number * unit) as usize;
            (at(units.start), at(units.end))
        });
        Self::between(of, steps)
    }

    /// Some slices, in so many steps.
    pub fn slices<'a, T: 'a>(slices: impl Iterator<Item = &'a [T]>, steps: usize) -> Self {
        let addresses = |slice: &[T]| (slice.as_ptr_range().start as usize, slice.as_ptr_range().end as usize);
        Self::between(slices.map(addresses), steps)
    }

    fn between(stretches: impl Iterator<Item = (usize, usize)>, steps: usize) -> Self {
        let prefetch = Self { current: Cell::new(0), ..Self::none() };
        let mut lines = 0;
        for (stretch, (from, to)) in prefetch.stretches.iter().zip(stretches) {
            stretch.set((from, to));
            lines += (to - from).div_ceil(LINE);
        }
        Self { lines_per_step: lines.div_ceil(steps.max(1)), ..prefetch }
    }

    /// Prefetches some more.
    #[inline(always)]
    pub fn step(&self) {
        let mut left = self.lines_per_step;
        while left > 0 {
            let Some(stretch) = self.stretches.get(self.current.get()) else { return };
            let (mut from, to) = stretch.get();
            while from < to && left > 0 {
                ask::<LATER>(from);
                from += LINE;
                left -= 1;
            }
            stretch.set((from, to));
            if from >= to {
                self.current.set(self.current.get() + 1);
            }
        }
    }
}

/// Prefetches some elements that will be read soon; they need not be there.
#[inline(always)]
pub(crate) fn read<T>(from: *const T, elements: usize) {
    for line in 0..(elements * size_of::<T>()).div_ceil(LINE) {
        ask::<SOON>(from.addr().wrapping_add(line * LINE));
    }
}

/// Prefetches some elements that will be written soon; they need not be there.
#[inline(always)]
pub(crate) fn write<T>(from: *mut T, elements: usize) {
    for line in 0..(elements * size_of::<T>()).div_ceil(LINE) {
        ask::<TO_WRITE>(from.addr().wrapping_add(line * LINE));
    }
}

/// Prefetches the cache line of an address.
#[inline(always)]
fn ask<const HINT: i32>(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint, which may be given any address: nothing is read.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<HINT>(std::ptr::without_provenance(address));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_for_in_so_many_steps() {
        let data = [0f32; 1000];
        let prefetch = Prefetch::new(&(2..4), [(data.as_ptr(), 100), (data.as_ptr(), 30)], 5);
        // 800 and 240 bytes: 13 and 4 lines.
        assert_eq!(prefetch.lines_per_step, 4);
        let left = |prefetch: &Prefetch| -> usize {
            prefetch.stretches.iter().map(Cell::get).map(|(from, to)| to.saturating_sub(from)).sum()
        };
        assert_eq!(left(&prefetch), 1040);
        prefetch.step();
        assert_eq!(left(&prefetch), 1040 - 4 * LINE);
        (0..4).for_each(|_| prefetch.step());
        assert_eq!(left(&prefetch), 0);
        prefetch.step();
        Prefetch::none().step();
    }
}
