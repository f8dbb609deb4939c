//! Steps of a plan bound to memory.

use super::memory::Memory;
use crate::graph::{Constant, CpuReal, Op, Place, Region, Share, Step, Work};
use crate::tensor::{DType, Spec};
use std::sync::Arc;

/// A plan's step with its operands as addresses.
pub(super) struct Bound {
    pub op: Option<Arc<dyn Op>>,
    pub name: &'static str,
    /// None for an input that an output replaces.
    pub inputs: Vec<Option<Region>>,
    pub outputs: Vec<Region>,
    pub scratch: Vec<Region>,
    pub input_specs: Vec<Spec>,
    pub output_specs: Vec<Spec>,
    /// What ranks must have whole before.
    pub gather: Vec<Region>,
    /// Without operation: whether the input is copied to the output.
    pub copy: bool,
    /// Whether the operation is told the rank's part.
    pub shared: bool,
    /// Outputs that it may then leave unfinished.
    pub late: &'static [usize],
    /// Whether what earlier steps left must be finished before.
    pub finish: bool,
}

/// What a step reads and writes, at these places, as addresses.
pub(super) fn operands(
    step: &Step,
    inputs: &[Place],
    outputs: &[Place],
    region: impl Fn(&Place) -> Region,
) -> (Vec<Option<Region>>, Vec<Region>) {
    let read = inputs.iter().enumerate().map(|(i, at)| (!step.withheld(i)).then(|| region(at)));
    (read.collect(), outputs.iter().map(&region).collect())
}

/// A step with its places as addresses.
pub(super) fn bind(step: &Step, region: impl Fn(&Place) -> Region) -> Bound {
    let (op, copy) = match &step.work {
        Work::Run(op) => (Some(op.clone()), false),
        Work::Copy => (None, true),
    };
    let (inputs, outputs) = operands(step, &step.inputs, &step.outputs, &region);
    Bound {
        op,
        copy,
        name: step.name(),
        inputs,
        outputs,
        scratch: step.scratch.iter().map(&region).collect(),
        input_specs: step.input_specs.clone(),
        output_specs: step.output_specs.clone(),
        gather: Vec::new(),
        shared: false,
        late: &[],
        finish: false,
    }
}

/// Gathers what each rank has of a value by items.
///
/// # Safety
/// The region must be valid for its elements, and nobody else's.
pub(super) unsafe fn gather<T: CpuReal>(share: Share<'_>, region: &Region) {
    // SAFETY: the caller's promise.
    unsafe {
        match region.dtype {
            DType::Real => share.gather(std::slice::from_raw_parts_mut(region.pointer.cast::<T>(), region.len)),
            DType::Index => share.gather(std::slice::from_raw_parts_mut(region.pointer.cast::<u32>(), region.len)),
        }
    }
}

/// Writes the elements of a constant to the buffer that was made for them.
pub(super) fn fill<T: CpuReal>(memory: &mut Memory, data: &Constant) {
    // SAFETY: the buffer was made for exactly these elements.
    unsafe {
        match data {
            Constant::Real(values) => {
                let to = std::slice::from_raw_parts_mut(memory.pointer().cast::<T>(), values.len());
                to.iter_mut().zip(values.iter()).for_each(|(to, &from)| *to = T::from_f64(from));
            }
            Constant::Index(values) => {
                std::slice::from_raw_parts_mut(memory.pointer().cast::<u32>(), values.len()).copy_from_slice(values);
            }
        }
    }
}
