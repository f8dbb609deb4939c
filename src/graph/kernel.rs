//! The part of a plan that a CPU kernel sees.

use super::pieces::Stretches;
use super::ranks::Share;
use crate::tensor::{DType, Real, Spec};
use std::marker::PhantomData;
use std::ops::Range;

/// Runs numbered tasks on some number of threads.
///
/// # Safety
/// The guarantees of [`Parallel::run`] and [`Parallel::workers`] must hold: kernels divide memory according to them.
pub unsafe trait Parallel: Sync {
    /// Calls `task(i, worker)` once for every i below `tasks`, possibly at the same time, and returns when all are done.
    /// `worker` is below [`Parallel::workers`], and no two tasks with the same worker overlap in time.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync));
    /// The number of threads.
    fn workers(&self) -> usize;
    /// Whether each thread runs its tasks of the following jobs from the last to the first. This does not change results.
    fn set_backwards(&self, backwards: bool);
    /// The task that probably follows this one on its thread. It may be beyond the job's tasks.
    fn after(&self, task: usize) -> usize;
}

/// A stretch of memory that a kernel reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub(crate) pointer: *mut u8,
    pub(crate) len: usize,
    pub(crate) dtype: DType,
}

// SAFETY: a region is an address. Whoever turns it into a slice answers for who else holds one; `Kernel` does.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// The operands of one CPU kernel call, and the threads to run it on.
///
/// How work is divided into tasks must not depend on the number of threads, so that results are the same bits
/// on any machine.
pub struct Kernel<'a, T> {
    inputs: &'a [Option<Region>],
    outputs: &'a [Region],
    scratch: &'a [Region],
    input_specs: &'a [Spec],
    output_specs: &'a [Spec],
    parallel: &'a dyn Parallel,
    private: Option<Private<'a, T>>,
    share: Share<'a>,
}

/// Temporary memory of which every thread has its own part.
pub struct Private<'a, T> {
    pointer: *mut T,
    each: usize,
    workers: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a thread gets at its own part only, by the promise of `Private::of`.
unsafe impl<T: Send> Send for Private<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Private<'_, T> {}

impl<'a, T> Private<'a, T> {
    /// # Safety
    /// `region` must be valid for `T`, zero-filled or otherwise initialised, and not be accessed through anything else during `'a`.
    pub(crate) unsafe fn new(region: Region, workers: usize) -> Self {
        Self { pointer: region.pointer.cast(), each: region.len / workers, workers, life: PhantomData }
    }

    /// The part of this worker: what [`Op::private_scratch`](super::Op::private_scratch) asked for, or more. Its content
    /// is arbitrary.
    ///
    /// # Safety
    /// Only from within a task that was started with this worker's number, and once per task.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn of(&self, worker: usize) -> &mut [T] {
        assert!(worker < self.workers);
        // SAFETY: parts of different workers are disjoint, and tasks of one worker do not overlap in time.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(worker * self.each), self.each) }
    }
}

impl<'a, T: Real> Kernel<'a, T> {
    /// # Safety
    /// Every region must be valid for its length, aligned for its element type, initialised, and alive for `'a`; the
    /// outputs and scratch regions overlap nothing else, and nothing else accesses them during `'a`. Real regions hold `T`. An
    /// input that an output replaces in place is `None`.
    pub(crate) unsafe fn new(
        inputs: &'a [Option<Region>],
        outputs: &'a [Region],
        scratch: &'a [Region],
        input_specs: &'a [Spec],
        output_specs: &'a [Spec],
        parallel: &'a dyn Parallel,
        private: Private<'a, T>,
    ) -> Self {
        let (private, share) = (Some(private), Share::ALONE);
        Self { inputs, outputs, scratch, input_specs, output_specs, parallel, private, share }
    }

    /// Shape and type of input `i`.
    pub fn input_spec(&self, i: usize) -> Spec {
        self.input_specs[i]
    }

    /// Shapes and types of all inputs.
    pub fn input_specs(&self) -> &'a [Spec] {
        self.input_specs
    }

    /// Shape and type of output `i`.
    pub fn output_spec(&self, i: usize) -> Spec {
        self.output_specs[i]
    }

    /// The elements of real input `i`.
    ///
    /// # Panics
    /// If it holds indices, or an output [replaces](super::Op::updates) it.
    pub fn input(&self, i: usize) -> &'a [T] {
        self.read(i, DType::Real, "indices")
    }

    /// The elements of index input `i`.
    ///
    /// # Panics
    /// If it holds real numbers, or an output [replaces](super::Op::updates) it.
    pub fn indices(&self, i: usize) -> &'a [u32] {
        self.read(i, DType::Index, "real numbers")
    }

    /// The elements of input `i`, which are of type `E` where it is a `dtype`.
    fn read<E: bytemuck::Pod>(&self, i: usize, dtype: DType, other: &str) -> &'a [E] {
        let region = self.inputs[i].unwrap_or_else(|| {
            panic!("input {i} is replaced by an output, which holds its values when the kernel starts")
        });
        assert_eq!(region.dtype, dtype, "input {i} holds {other}");
        // SAFETY: promised by the caller of `new`.
        unsafe { std::slice::from_raw_parts(region.pointer.cast(), region.len) }
    }

    /// The elements of the one output.
    ///
    /// # Panics
    /// As [`Kernel::outputs`].
    pub fn output(&mut self) -> &mut [T] {
        let [output] = self.outputs();
        output
    }

    /// The elements of the first `N` outputs.
    ///
    /// # Panics
    /// If there are fewer, or one holds indices.
    pub fn outputs<const N: usize>(&mut self) -> [&mut [T]; N] {
        assert!(N <= self.outputs.len(), "there are {} outputs, not {N}", self.outputs.len());
        self.outputs_and_scratch::<N, 0>().0
    }

    /// The elements of the first `N` outputs and of the first `M` scratch buffers. An output that the operation does not
    /// have in this form is empty.
    ///
    /// # Panics
    /// If an output holds indices, or there are fewer scratch buffers.
    #[allow(clippy::type_complexity)]
    pub fn outputs_and_scratch<const N: usize, const M: usize>(&mut self) -> ([&mut [T]; N], [&mut [T]; M]) {
        // A region of indices is not as long in bytes as one of as many real numbers.
        let elements = |region: Region, what: &str, i: usize| {
            assert_eq!(region.dtype, DType::Real, "{what} {i} holds indices");
            // SAFETY: outputs and scratch are disjoint and ours alone (promised by the caller of `new`), each is taken once here,
            // and `&mut self` keeps anyone from taking a second set while this one lives.
            unsafe { std::slice::from_raw_parts_mut(region.pointer.cast(), region.len) }
        };
        let scratch = std::array::from_fn(|i| elements(self.scratch[i], "scratch", i));
        let outputs = std::array::from_fn(|i| match self.outputs.get(i) {
            Some(&output) => elements(output, "output", i),
            None => &mut [],
        });
        (outputs, scratch)
    }

    /// Each thread's own temporary memory. It can be taken only once, so that its owner is the only one.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn private(&mut self) -> Private<'a, T> {
        self.private.take().unwrap_or_else(|| panic!("each thread's temporary memory is handed out once"))
    }

    /// The same among ranks.
    pub(crate) fn among(self, share: Share<'a>) -> Self {
        Self { share, ..self }
    }

    /// This process's part of the work, if an operation [says](super::Op::division) that it is divided; otherwise all of
    /// it.
    pub fn share(&self) -> Share<'a> {
        self.share
    }

    /// The threads to run on.
    pub fn parallel(&self) -> &'a dyn Parallel {
        self.parallel
    }
}

/// Divides `data` into pieces of `piece` elements (the last may be shorter) and calls `f(i, piece)` for each, in parallel.
pub fn for_each_piece<T: Send>(
    parallel: &dyn Parallel,
    data: &mut [T],
    piece: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    parallel.for_pieces(Stretches::new(data, piece), f);
}

/// A slice that several tasks write to at the same time, each to its own elements.
pub struct SharedMut<'a, T> {
    pointer: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: handing out parts is unsafe, and whoever does it promises that they are disjoint.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Borrows `data` for as long as this lives.
    pub fn new(data: &'a mut [T]) -> Self {
        Self { pointer: data.as_mut_ptr(), len: data.len(), life: PhantomData }
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the first element. The caller must make sure that accesses do not conflict.
    pub fn pointer(&self) -> *mut T {
        self.pointer
    }

    /// The same once more.
    pub(super) fn again(&self) -> Self {
        Self { ..*self }
    }

    /// As [`SharedMut::slice`], for as long as the elements are borrowed.
    ///
    /// # Safety
    /// No two slices that are alive at the same time may overlap.
    #[inline(always)]
    pub(super) unsafe fn lent(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside, and disjoint from all others by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(range.start), range.end - range.start) }
    }

    /// The elements of a range.
    ///
    /// # Safety
    /// No two slices that are alive at the same time may overlap.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { self.lent(range) }
    }
}
