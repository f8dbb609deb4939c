//! Steps whose kernels left the [rest of their work](crate::graph::Op::late) to be done while the plan goes on.

use super::bound::Bound;
use crate::graph::{CpuReal, Late, Parallel, Share};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// What is left of the steps that were run.
pub(super) struct Unfinished<'a, T> {
    share: Share<'a>,
    /// Where kernels leave it.
    begun: &'a Mutex<Vec<Late>>,
    /// With the steps that it is of.
    left: Vec<(&'a Bound, Late)>,
    real: PhantomData<T>,
}

impl<'a, T: CpuReal> Unfinished<'a, T> {
    pub fn new(share: Share<'a>, begun: &'a Mutex<Vec<Late>>) -> Self {
        Self { share, begun, left: Vec::new(), real: PhantomData }
    }

    /// After a step.
    pub fn ran(&mut self, step: &'a Bound) {
        let new = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        if !new.is_empty() {
            // What was begun before has had a step's time to arrive. All ranks come here after the same steps.
            self.next();
        }
        self.left.extend(new.into_iter().map(|late| (step, late)));
        self.left.iter_mut().for_each(|(_, late)| late.advance());
    }

    /// Does the rest of everything.
    ///
    /// # Safety
    /// The late outputs of the steps that were run must be valid, and nobody else's at this time.
    pub unsafe fn finish(&mut self, parallel: &dyn Parallel) {
        while self.next() {}
        for (step, late) in self.left.drain(..) {
            if self.share.failed() {
                continue;
            }
            let outputs = step.late.iter().map(|&i| step.outputs[i]);
            // SAFETY: the caller's promise; outputs of one step are disjoint.
            let bytes =
                outputs.map(|to| unsafe { std::slice::from_raw_parts_mut(to.pointer, to.len * size_of::<T>()) });
            late.write(parallel, &mut bytes.collect::<Vec<_>>());
        }
    }

    /// The next exchange of each, in the same order on all ranks; whether any is underway.
    fn next(&mut self) -> bool {
        let mut more = false;
        for (_, late) in &mut self.left {
            self.share.with(|ranks| late.next(ranks).map(|underway| more |= underway));
        }
        more && !self.share.failed()
    }
}
