//! The interface of operations. The graph declares it and does not know which operations exist.

use super::kernel::Kernel;
use super::ranks::Division;
use super::{Graph, Value};
use crate::error::{Error, Result};
use crate::tensor::{Real, Spec};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// One kind of operation with its parameters (a stride, an axis); its inputs and outputs are values of a graph.
///
/// Every operation states its shape rule, its gradient rule, its CPU kernel, its GPU kernel and its cost. None has a
/// default, so an operation with a missing gradient does not compile. An operation without a gradient says so with
/// [`no_gradient`], and requesting that gradient is an error when the graph is built.
pub trait Op: Any + Debug + Send + Sync {
    /// The operation's name in messages, listings and benchmarks.
    fn name(&self) -> &'static str;

    /// The shape rule: shapes and types of the outputs for these inputs.
    ///
    /// # Errors
    /// [`Error::Op`] with the operation's name, the wrong shapes, and what would fit.
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>>;

    /// The gradient rule, which adds nodes to the graph. It returns the gradient of the loss with respect to every input,
    /// or `None` for an input without a gradient (class indices, running statistics).
    ///
    /// # Errors
    /// If there is no gradient, or none through the outputs that the loss uses.
    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>>;

    /// The CPU kernel in f32.
    fn cpu_f32(&self, kernel: &mut Kernel<'_, f32>);

    /// The CPU kernel in f64: the same generic code, see [`cpu_kernels!`](crate::cpu_kernels).
    fn cpu_f64(&self, kernel: &mut Kernel<'_, f64>);

    /// The GPU launches, in order.
    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch>;

    /// Arithmetic and memory traffic of one run.
    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost;

    /// Lengths, in elements, of temporary buffers for the duration of the operation.
    fn scratch(&self, _inputs: &[Spec], _outputs: &[Spec], _target: Target) -> Vec<usize> {
        Vec::new()
    }

    /// Length in elements of the temporary memory that each CPU thread needs for itself; see [`Private`](super::Private).
    fn private_scratch(&self, _inputs: &[Spec], _outputs: &[Spec]) -> usize {
        0
    }

    /// Pairs (output, input) of one shape where the output replaces the input in place, as Adam's new moments replace the old.
    /// The kernel cannot read such an input (it panics): the output's memory holds its values when the
    /// kernel starts.
    fn updates(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// How several processes may divide its work on a batch of `items`. By default each of them does all of the work,
    /// which is correct for every operation.
    fn division(&self, _inputs: &[Spec], _items: usize) -> Division {
        Division::Whole
    }

    /// Outputs that may be finished after the kernel, before something reads them, if it [divides](Op::division) its work among ranks:
    /// the ranks exchange data for them while the plan continues. Only operations of this crate can do that.
    fn late(&self) -> &'static [usize] {
        &[]
    }

    /// For an operation that is divided by rows and stores their number: the same operation for `own` of the batch's `items`.
    fn of_rows(&self, _items: usize, _own: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// For an operation whose output is the sum of its input over all ranks, which the session computes: whether this rank's
    /// own input counts. It has no GPU kernel.
    fn sum_over_ranks(&self) -> Option<bool> {
        None
    }

    /// For an input of indices: they must be below this bound. It is checked whenever the input is written.
    fn index_bound(&self, _input: usize, _inputs: &[Spec]) -> Option<usize> {
        None
    }
}

/// The arguments of a gradient rule: the node's values and the gradients of its outputs.
pub struct Gradient<'a> {
    /// The node's inputs.
    pub inputs: &'a [Value],
    /// The node's outputs.
    pub outputs: &'a [Value],
    /// The gradient of the loss with respect to each output; `None` if the loss does not depend on it.
    pub arriving: &'a [Option<Value>],
    /// For each input, whether its gradient is needed. A rule may leave out expensive gradients that are not.
    pub wanted: &'a [bool],
}

/// The result of the gradient rule of an operation without a gradient.
///
/// # Errors
/// Always.
pub fn no_gradient<T>(op: &'static str) -> Result<T> {
    Err(Error::op(op, "has no gradient; no parameter may lie upstream of it"))
}

/// An operation without a GPU kernel. It has all methods of [`Op`] except that for the GPU, and every `CpuOp` is an `Op`. A plan with it for a
/// GPU is an error.
pub trait CpuOp: Any + Debug + Send + Sync {
    /// As [`Op::name`].
    fn name(&self) -> &'static str;

    /// As [`Op::outputs`].
    ///
    /// # Errors
    /// [`Error::Op`] with the operation's name, the wrong shapes, and what would fit.
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>>;

    /// As [`Op::gradient`].
    ///
    /// # Errors
    /// If there is no gradient, or none through the outputs that the loss uses.
    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>>;

    /// As [`Op::cpu_f32`].
    fn cpu_f32(&self, kernel: &mut Kernel<'_, f32>);

    /// As [`Op::cpu_f64`].
    fn cpu_f64(&self, kernel: &mut Kernel<'_, f64>);

    /// As [`Op::cost`].
    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost;

    /// As [`Op::scratch`].
    fn scratch(&self, _inputs: &[Spec], _outputs: &[Spec]) -> Vec<usize> {
        Vec::new()
    }

    /// As [`Op::private_scratch`].
    fn private_scratch(&self, _inputs: &[Spec], _outputs: &[Spec]) -> usize {
        0
    }

    /// As [`Op::updates`].
    fn updates(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// As [`Op::division`].
    fn division(&self, _inputs: &[Spec], _items: usize) -> Division {
        Division::Whole
    }

    /// As [`Op::late`].
    fn late(&self) -> &'static [usize] {
        &[]
    }

    /// As [`Op::of_rows`].
    fn of_rows(&self, _items: usize, _own: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// As [`Op::index_bound`].
    fn index_bound(&self, _input: usize, _inputs: &[Spec]) -> Option<usize> {
        None
    }
}

impl<T: CpuOp> Op for T {
    fn name(&self) -> &'static str {
        CpuOp::name(self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        CpuOp::outputs(self, inputs)
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        CpuOp::gradient(self, graph, node)
    }

    fn cpu_f32(&self, kernel: &mut Kernel<'_, f32>) {
        CpuOp::cpu_f32(self, kernel);
    }

    fn cpu_f64(&self, kernel: &mut Kernel<'_, f64>) {
        CpuOp::cpu_f64(self, kernel);
    }

    fn gpu(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        no_gpu_kernel()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        CpuOp::cost(self, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], _: Target) -> Vec<usize> {
        CpuOp::scratch(self, inputs, outputs)
    }

    fn private_scratch(&self, inputs: &[Spec], outputs: &[Spec]) -> usize {
        CpuOp::private_scratch(self, inputs, outputs)
    }

    fn updates(&self) -> &'static [(usize, usize)] {
        CpuOp::updates(self)
    }

    fn division(&self, inputs: &[Spec], items: usize) -> Division {
        CpuOp::division(self, inputs, items)
    }

    fn late(&self) -> &'static [usize] {
        CpuOp::late(self)
    }

    fn of_rows(&self, items: usize, own: usize) -> Option<Arc<dyn Op>> {
        CpuOp::of_rows(self, items, own)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        CpuOp::index_bound(self, input, inputs)
    }
}

/// The result of [`Op::gpu`] if an operation has no GPU kernel for these parameters; one that never has is a [`CpuOp`]. A plan
/// with it for a GPU is an error.
pub fn no_gpu_kernel() -> Vec<Launch> {
    Vec::new()
}

/// Writes [`Op::cpu_f32`] and [`Op::cpu_f64`] in terms of a generic method `cpu<T: Real>(&self, &mut Kernel<T>)`.
#[macro_export]
macro_rules! cpu_kernels {
    () => {
        fn cpu_f32(&self, kernel: &mut $crate::graph::Kernel<'_, f32>) {
            self.cpu(kernel);
        }
        fn cpu_f64(&self, kernel: &mut $crate::graph::Kernel<'_, f64>) {
            self.cpu(kernel);
        }
    };
}

/// A real type that selects the operation's kernel for it.
pub trait CpuReal: Real {
    /// Runs the operation's kernel for this type.
    fn run(op: &dyn Op, kernel: &mut Kernel<'_, Self>);
}

impl CpuReal for f32 {
    fn run(op: &dyn Op, kernel: &mut Kernel<'_, f32>) {
        op.cpu_f32(kernel);
    }
}

impl CpuReal for f64 {
    fn run(op: &dyn Op, kernel: &mut Kernel<'_, f64>) {
        op.cpu_f64(kernel);
    }
}

/// The kind of device that a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Threads of this machine.
    Cpu,
    /// WGSL kernels.
    Gpu,
}

/// Arithmetic operations and bytes moved (in f32) by one run of an operation, each input read and each output written once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations; a fused multiply-add counts as two.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Cost {
    /// The cost of an operation that reads its inputs once, writes its outputs once, and does `flops` operations.
    pub fn streaming(flops: f64, inputs: &[Spec], outputs: &[Spec]) -> Self {
        let elements: usize = inputs.iter().chain(outputs).map(|spec| spec.shape.elements()).sum();
        Self { flops, bytes: 4.0 * elements as f64 }
    }
}

/// One WGSL file: its name and its source. The entry point is always `main`.
///
/// Shaders of this crate are compiled without some of the checks that WebGPU requires: their loops end, and they write workgroup
/// memory before they read it. Others are compiled with all checks, so that they cannot access foreign memory.
#[derive(Debug)]
pub struct Shader {
    name: &'static str,
    source: &'static str,
    own: bool,
}

impl Shader {
    /// A kernel of another crate: its name in messages, and its source.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, own: false }
    }

    /// A file of this crate.
    pub(crate) const fn of_crate(name: &'static str, source: &'static str) -> Self {
        Self { name, source, own: true }
    }

    /// The file's name without its ending.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The source.
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// Whether it is one of this crate's, which are compiled with fewer checks.
    pub const fn is_own(&self) -> bool {
        self.own
    }
}

/// Declares the [`Shader`] of a file in `shaders/`, preceded by the contents of the files of `shaders/shared/` that are named after it.
macro_rules! shader {
    ($name:literal $(, $shared:literal)*) => {
        $crate::graph::Shader::of_crate(
            $name,
            concat!(
                $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/", $shared, ".wgsl")),)*
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl"))
            ),
        )
    };
}
pub(crate) use shader;

/// What a kernel launch binds to one of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The operation's input of this number, read.
    Input(usize),
    /// The operation's output of this number, read and written.
    Output(usize),
    /// The operation's output of this number, only read (written by an earlier launch of the same operation).
    ReadOutput(usize),
    /// The operation's scratch buffer of this number, read and written.
    Scratch(usize),
    /// The operation's scratch buffer of this number, only read.
    ReadScratch(usize),
}

/// One kernel launch: plain data, so that a plan can be printed and checked without a device.
///
/// All loops of an invocation together may have at most 65 535 iterations: Mesa's llvmpipe silently ends every loop after
/// that.
///
/// Only the crate that a kernel belongs to decides its constants: this crate's kernels are launched by its own
/// operations alone.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) shader: &'static Shader,
    pub(crate) constants: Vec<(&'static str, f64)>,
    /// What `@group(0) @binding(0)`, `1`, ... are.
    pub operands: Vec<Operand>,
    /// Workgroups along each dimension; see [`grid`].
    pub workgroups: [u32; 3],
}

impl Launch {
    /// A launch of `shader` with these values of its `override` constants, these operands, and this number of workgroups along
    /// each dimension; see [`grid`].
    pub fn new(
        shader: &'static Shader,
        constants: Vec<(&'static str, f64)>,
        operands: Vec<Operand>,
        workgroups: [u32; 3],
    ) -> Self {
        Self { shader, constants, operands, workgroups }
    }

    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.shader.name
    }

    /// The kernel's source.
    pub fn source(&self) -> &'static str {
        self.shader.source
    }

    /// Values of the kernel's `override` constants.
    pub fn constants(&self) -> &[(&'static str, f64)] {
        &self.constants
    }
}

/// The largest number of workgroups along one dimension that baseline WebGPU allows.
pub const MAX_WORKGROUPS: usize = 65_535;

/// Spreads `count` workgroups over two dimensions if one is not enough. In the kernel, the number of a workgroup is
/// `workgroup_id.y * num_workgroups.x + workgroup_id.x`; workgroups with a number of `count` or more must do nothing.
pub fn grid(count: usize) -> [u32; 3] {
    let rows = count.div_ceil(MAX_WORKGROUPS).max(1);
    [count.div_ceil(rows) as u32, rows as u32, 1]
}
