//! The commands of one run of a plan on a GPU, as plain data. A GPU session is built from this list, and it can be exported.

use super::{Launch, MAX_WORKGROUPS, Operand, Place, Plan, Shader, Step, Target, Work};
use crate::error::{Error, Result};

/// The largest number of storage buffers that a kernel of baseline WebGPU may have.
const MAX_BINDINGS: usize = 8;

/// The memory that is bound to one slot of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Where the elements lie.
    pub place: Place,
    /// Whether the kernel only reads them. In one dispatch, a buffer is either only read or may be written.
    pub read_only: bool,
}

/// One kernel launch with the memory that it works on.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The number of its step in [`Plan::steps`].
    pub step: usize,
    /// The operation's name.
    pub op: &'static str,
    pub(crate) shader: &'static Shader,
    pub(crate) constants: Vec<(&'static str, f64)>,
    /// What `@group(0) @binding(0)`, `1`, ... are.
    pub bindings: Vec<Binding>,
    /// Workgroups along each dimension.
    pub workgroups: [u32; 3],
}

impl Dispatch {
    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.shader.name()
    }

    /// The kernel's source.
    pub fn source(&self) -> &'static str {
        self.shader.source()
    }

    /// Values of the kernel's `override` constants.
    pub fn constants(&self) -> &[(&'static str, f64)] {
        &self.constants
    }
}

/// One command of a run on a GPU.
#[derive(Clone, Debug)]
pub enum Command {
    /// Launches a kernel.
    Dispatch(Dispatch),
    /// Copies elements. If both places lie in the same buffer, WebGPU needs another buffer between them.
    Copy {
        /// The number of its step in [`Plan::steps`].
        step: usize,
        /// The source.
        from: Place,
        /// The destination, of the same length.
        to: Place,
    },
}

impl Plan {
    /// The commands of one run on a GPU, in order. [`GpuSession`](crate::gpu::GpuSession) runs exactly these.
    ///
    /// # Errors
    /// If the plan was made for the CPU, or if a launch breaks a rule of WebGPU: too many workgroups or bindings, an
    /// operand that does not exist, a buffer that is read and written at once.
    pub fn commands(&self) -> Result<Vec<Command>> {
        if self.target != Target::Gpu {
            return Err(Error::Device("only a plan made for a GPU has commands; this one was made for the CPU".into()));
        }
        let mut commands = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            if matches!(step.work, Work::Copy) || step.sum_over_ranks().is_some() {
                commands.push(Command::Copy { step: number, from: step.inputs[0], to: step.outputs[0] });
            }
            for launch in step.launches() {
                commands.push(Command::Dispatch(dispatch(number, step, launch)?));
            }
        }
        Ok(commands)
    }
}

/// Finds the memory of a launch, and checks what a device would refuse later and with less to say.
fn dispatch(number: usize, step: &Step, launch: Launch) -> Result<Dispatch> {
    let (op, shader) = (step.name(), launch.name());
    let refuse = |detail: String| Err(Error::op(op, format!("shaders/{shader}.wgsl {detail}")));
    if let Some(&count) = launch.workgroups.iter().find(|&&count| count as usize > MAX_WORKGROUPS) {
        return refuse(format!("is launched with {count} workgroups in a row, {MAX_WORKGROUPS} is most"));
    }
    if launch.operands.len() > MAX_BINDINGS {
        return refuse(format!("binds {} buffers, {MAX_BINDINGS} is most", launch.operands.len()));
    }
    let mut bindings: Vec<Binding> = Vec::new();
    for (i, operand) in launch.operands.iter().enumerate() {
        let (place, read_only) = match *operand {
            Operand::Input(i) => (step.inputs.get(i), true),
            Operand::Output(i) => (step.outputs.get(i), false),
            Operand::ReadOutput(i) => (step.outputs.get(i), true),
            Operand::Scratch(i) => (step.scratch.get(i), false),
            Operand::ReadScratch(i) => (step.scratch.get(i), true),
        };
        let Some(&place) = place else { return refuse(format!("is given {operand:?}, which does not exist")) };
        let shared = bindings.iter().position(|b| b.place.buffer == place.buffer && b.read_only != read_only);
        if let Some(other) = shared.map(|other| launch.operands[other]) {
            let (read, written) = if read_only { (*operand, other) } else { (other, launch.operands[i]) };
            return refuse(format!("reads {read:?} and writes {written:?} in one buffer of the plan"));
        }
        bindings.push(Binding { place, read_only });
    }
    let Launch { shader, constants, workgroups, .. } = launch;
    Ok(Dispatch { step: number, op, shader, constants, bindings, workgroups })
}
