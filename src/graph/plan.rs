//! A plan: a graph as a list of steps over buffers.

use super::planner::{self, Planned};
use super::{Constant, Cost, Graph, GroupId, Launch, Op, Source, Target, Value, check};
use crate::error::{Error, Result};
use crate::tensor::{DType, Spec};
use std::fmt;
use std::sync::Arc;

/// What a buffer is for.
#[derive(Clone, Debug)]
pub enum BufferKind {
    /// Holds values between steps; reused when they are no longer needed.
    Temporary,
    /// Holds one value from its computation to the end of the run. It starts as zeros.
    Kept,
    /// Written by the host.
    Input,
    /// Filled once.
    Constant(Constant),
    /// The buffer of a group of states, shared by all plans of a session.
    State(GroupId),
}

/// A buffer in device memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Length in elements.
    pub len: usize,
    /// Element type.
    pub dtype: DType,
    /// Its purpose.
    pub kind: BufferKind,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which buffer of [`Plan::buffers`].
    pub buffer: usize,
    /// Start, in elements.
    pub offset: usize,
    /// Length, in elements.
    pub len: usize,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Runs an operation.
    Run(Arc<dyn Op>),
    /// Copies the one input to the one output.
    Copy,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub work: Work,
    /// Where the inputs lie.
    pub inputs: Vec<Place>,
    /// Where the outputs lie.
    pub outputs: Vec<Place>,
    /// Where the temporary buffers lie.
    pub scratch: Vec<Place>,
    /// Shapes and types of the inputs.
    pub input_specs: Vec<Spec>,
    /// Shapes and types of the outputs.
    pub output_specs: Vec<Spec>,
}

impl Step {
    /// The operation's name.
    pub fn name(&self) -> &'static str {
        match &self.work {
            Work::Run(op) => op.name(),
            Work::Copy => "copy",
        }
    }

    /// Whether the kernel cannot read input `i`, because an output replaces it.
    pub(crate) fn withheld(&self, i: usize) -> bool {
        let replaced = |op: &Arc<dyn Op>| op.updates().iter().any(|&(_, input)| input == i);
        matches!(&self.work, Work::Run(op) if replaced(op) || self.outputs.contains(&self.inputs[i]))
    }

    /// Its operation's [late outputs](Op::late).
    pub(crate) fn late(&self) -> &'static [usize] {
        match &self.work {
            Work::Run(op) => op.late(),
            Work::Copy => &[],
        }
    }

    /// Arithmetic and memory traffic.
    pub fn cost(&self) -> Cost {
        match &self.work {
            Work::Run(op) => op.cost(&self.input_specs, &self.output_specs),
            Work::Copy => Cost::streaming(0.0, &self.input_specs, &self.output_specs),
        }
    }

    /// Whether it is a sum over ranks; if so, whether this rank's own part counts.
    pub fn sum_over_ranks(&self) -> Option<bool> {
        match &self.work {
            Work::Run(op) => op.sum_over_ranks(),
            Work::Copy => None,
        }
    }

    /// The kernel launches on a GPU; none for a copy or a sum over ranks, which are transfer commands.
    pub fn launches(&self) -> Vec<Launch> {
        match &self.work {
            Work::Run(op) => op.gpu(&self.input_specs, &self.output_specs),
            Work::Copy => Vec::new(),
        }
    }
}

/// A named value that the host writes or reads.
#[derive(Clone, Debug)]
pub struct Port {
    /// The name.
    pub name: String,
    /// Where it lies.
    pub place: Place,
    /// Shape and type.
    pub spec: Spec,
    /// For indices: the bound that they must be below, and the operation that sets it.
    pub bound: Option<(usize, &'static str)>,
    /// Whether its first axis counts a batch's items: see [`Graph::by_item`].
    pub by_item: bool,
}

/// A graph prepared to run: plain data, the same for every device of its target.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its target.
    pub target: Target,
    /// The graph, after its passes.
    pub graph: Graph,
    /// All memory.
    pub buffers: Vec<Buffer>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What the host writes.
    pub inputs: Vec<Port>,
    /// What the host can read.
    pub outputs: Vec<Port>,
}

impl Plan {
    /// Plans a graph: removes unused nodes, orders the others, and gives every value a place.
    ///
    /// # Errors
    /// If a state is assigned twice, if a pass broke the order of nodes, or if an operation has no kernel for the
    /// target.
    pub fn new(mut graph: Graph, target: Target) -> Result<Self> {
        graph.remove_dead();
        check::graph(&graph)?;
        let Planned { graph, buffers, steps, places } = planner::run(graph, target);
        check::kernels(&steps, target)?;
        let mut plan = Self { target, graph, buffers, steps, inputs: Vec::new(), outputs: Vec::new() };
        for index in 0..plan.graph.values.len() {
            let value = Value(index as u32);
            if let (Source::Input(name), Some(&place)) = (plan.graph.source(value), places.get(&value)) {
                let (name, spec, bound) = (name.clone(), plan.graph.spec(value), plan.index_bound(value));
                let by_item = plan.graph.by_item.contains(&value);
                let port = Port { name, place, spec, bound, by_item };
                plan.inputs.push(port);
            }
        }
        for (name, value) in plan.graph.outputs.clone() {
            let spec = plan.graph.spec(value);
            plan.outputs.push(Port { name, place: places[&value], spec, bound: None, by_item: false });
        }
        Ok(plan)
    }

    fn index_bound(&self, input: Value) -> Option<(usize, &'static str)> {
        let mut bound: Option<(usize, &'static str)> = None;
        for (_, node) in self.graph.nodes() {
            let specs: Vec<Spec> = node.inputs.iter().map(|&v| self.graph.spec(v)).collect();
            for (i, &value) in node.inputs.iter().enumerate() {
                if self.graph.base(value).0 != input {
                    continue;
                }
                if let Some(limit) = node.op.index_bound(i, &specs).filter(|limit| bound.is_none_or(|b| *limit < b.0)) {
                    bound = Some((limit, node.op.name()));
                }
            }
        }
        bound
    }

    /// The input of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn input(&self, name: &str) -> Result<&Port> {
        find(&self.inputs, name, "input")
    }

    /// The output of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn output(&self, name: &str) -> Result<&Port> {
        find(&self.outputs, name, "output")
    }

    /// Bytes of memory on a device that stores reals in `real_size` bytes, states included.
    pub fn bytes(&self, real_size: usize) -> usize {
        let size = |buffer: &Buffer| match buffer.dtype {
            DType::Real => buffer.len * real_size,
            DType::Index => buffer.len * 4,
        };
        self.buffers.iter().map(size).sum()
    }

    /// The number of kernel launches of one run on a GPU.
    pub fn launch_count(&self) -> usize {
        self.steps.iter().map(|step| step.launches().len()).sum()
    }
}

fn find<'a>(ports: &'a [Port], name: &str, what: &str) -> Result<&'a Port> {
    ports.iter().find(|port| port.name == name).ok_or_else(|| {
        let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        Error::value(name, format!("the plan has no {what} of this name; it has {}", known.join(", ")))
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let shapes = |specs: &[Spec]| specs.iter().map(|s| s.shape.to_string()).collect::<Vec<_>>().join(" ");
            let cost = step.cost();
            writeln!(
                f,
                "{i:3}  {:24} {} -> {}  {:.3} MFLOP  {:.1} kB",
                step.name(),
                shapes(&step.input_specs),
                shapes(&step.output_specs),
                cost.flops / 1e6,
                cost.bytes / 1e3
            )?;
        }
        let kinds = |wanted: fn(&BufferKind) -> bool| self.buffers.iter().filter(|b| wanted(&b.kind)).count();
        write!(
            f,
            "{} steps, {} launches on a GPU, {} buffers ({} reused between steps), {:.2} MB in f32",
            self.steps.len(),
            self.launch_count(),
            self.buffers.len(),
            kinds(|kind| matches!(kind, BufferKind::Temporary)),
            self.bytes(4) as f64 / 1e6
        )
    }
}
