//! From a graph to a list of steps over buffers: order, lifetimes, and which values share memory.

use super::{Constant, Cost, Graph, GroupId, Launch, Node, Op, Source, Target, Value};
use crate::error::{Error, Result};
use crate::tensor::{DType, Spec};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a buffer is for.
#[derive(Clone, Debug)]
pub enum BufferKind {
    /// Holds values between steps; reused when they are no longer needed.
    Temporary,
    /// Holds one value from its making to the end of the run. Starts as zeros.
    Kept,
    /// Written by the host.
    Input,
    /// Filled once.
    Constant(Constant),
    /// The buffer of a group of states, shared by all plans of a session.
    State(GroupId),
}

/// A stretch of device memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Length in elements.
    pub len: usize,
    /// Element type.
    pub dtype: DType,
    /// What it is for.
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

    /// Arithmetic and memory traffic.
    pub fn cost(&self) -> Cost {
        match &self.work {
            Work::Run(op) => op.cost(&self.input_specs, &self.output_specs),
            Work::Copy => Cost::streaming(0.0, &self.input_specs, &self.output_specs),
        }
    }

    /// The kernel launches on a GPU; none for a copy, which is a transfer command.
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
    /// For indices: what they must stay below, and the operation that says so.
    pub bound: Option<(usize, &'static str)>,
}

/// A graph made ready to run: plain data, the same for every device of its target.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was made for.
    pub target: Target,
    /// The graph, after its passes.
    pub graph: Graph,
    /// All memory.
    pub buffers: Vec<Buffer>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What the host writes.
    pub inputs: Vec<Port>,
    /// What the host can read.
    pub outputs: Vec<Port>,
}

impl Plan {
    /// Plans a graph: removes what nobody needs, orders the rest, and gives every value a place.
    ///
    /// # Errors
    /// Where a state is assigned twice.
    pub fn new(mut graph: Graph, target: Target) -> Result<Self> {
        graph.remove_dead();
        for (i, (state, _)) in graph.assignments.iter().enumerate() {
            if graph.assignments[..i].iter().any(|(other, _)| other == state) {
                return Err(Error::op("assign", "a state is assigned twice"));
            }
        }
        check_order(&graph)?;
        let mut planner = Planner::new(graph, target);
        planner.run();
        let without = planner.steps.iter().find(|step| matches!(step.work, Work::Run(_)) && step.launches().is_empty());
        if let (Target::Gpu, Some(step)) = (target, without) {
            let detail = "has no GPU kernel: it is made by a pass for the CPU; fuse the graph for the target that it is planned for";
            return Err(Error::op(step.name(), detail));
        }
        let Planner { graph, buffers, steps, places, .. } = planner;
        let mut plan = Self { target, graph, buffers, steps, inputs: Vec::new(), outputs: Vec::new() };
        for index in 0..plan.graph.values.len() {
            let value = Value(index as u32);
            if let (Source::Input(name), Some(&place)) = (plan.graph.source(value), places.get(&value)) {
                let port =
                    Port { name: name.clone(), place, spec: plan.graph.spec(value), bound: plan.index_bound(value) };
                plan.inputs.push(port);
            }
        }
        for (name, value) in plan.graph.outputs.clone() {
            let spec = plan.graph.spec(value);
            plan.outputs.push(Port { name, place: places[&value], spec, bound: None });
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
    /// Where there is none.
    pub fn input(&self, name: &str) -> Result<&Port> {
        find(&self.inputs, name, "input")
    }

    /// The output of this name.
    ///
    /// # Errors
    /// Where there is none.
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

/// Passes put nodes in the places of others: each must still come after those whose results it reads.
fn check_order(graph: &Graph) -> Result<()> {
    for (number, node) in graph.nodes() {
        for &input in &node.inputs {
            if let Source::Node { node: maker, .. } = graph.source(graph.base(input).0)
                && *maker >= number
            {
                return Err(Error::op(node.op.name(), "a pass put it before an operation whose result it reads"));
            }
        }
    }
    Ok(())
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

impl Graph {
    /// The value whose memory `value` is (a part of), and where in it it starts: views are followed to what they show.
    pub fn base(&self, value: Value) -> (Value, usize) {
        match self.source(value) {
            Source::View { of, offset } => {
                let (base, start) = self.base(*of);
                (base, start + offset)
            }
            _ => (value, 0),
        }
    }
}

/// The end of a run, as a position.
const END: usize = usize::MAX;

struct Planner {
    graph: Graph,
    target: Target,
    buffers: Vec<Buffer>,
    free: Vec<usize>,
    steps: Vec<Step>,
    places: HashMap<Value, Place>,
    /// For each base value, the number of the last node that reads it.
    last_use: HashMap<Value, usize>,
    /// For a value that is computed inside a pack: the pack and the offset in it.
    packed: HashMap<Value, (Value, usize)>,
    copied_packs: Vec<Value>,
    in_place: Vec<(Value, Value)>,
}

impl Planner {
    fn new(graph: Graph, target: Target) -> Self {
        Self {
            graph,
            target,
            buffers: Vec::new(),
            free: Vec::new(),
            steps: Vec::new(),
            places: HashMap::new(),
            last_use: HashMap::new(),
            packed: HashMap::new(),
            copied_packs: Vec::new(),
            in_place: Vec::new(),
        }
    }

    fn run(&mut self) {
        let nodes: Vec<(usize, Node)> = self.graph.nodes().map(|(i, node)| (i, node.clone())).collect();
        self.find_last_uses(&nodes);
        self.find_packs(&nodes);
        for (number, node) in &nodes {
            self.step(*number, node, &nodes);
        }
        for (_, value) in self.graph.outputs.clone() {
            let place = self.place(value);
            self.places.insert(value, place);
        }
        for (state, value) in self.graph.assignments.clone() {
            if !self.in_place.contains(&(state, value)) {
                self.copy(value, self.graph.spec(state), None, Some(state));
            }
        }
    }

    fn find_last_uses(&mut self, nodes: &[(usize, Node)]) {
        for (number, node) in nodes {
            for &input in &node.inputs {
                self.read_at(input, *number);
            }
        }
        let mut ends: Vec<Value> = self.graph.outputs.iter().map(|&(_, value)| value).collect();
        ends.extend(self.graph.assignments.iter().map(|&(_, value)| value));
        ends.into_iter().for_each(|value| self.read_at(value, END));
    }

    fn read_at(&mut self, value: Value, number: usize) {
        let base = self.graph.base(value).0;
        let last = self.last_use.entry(base).or_insert(number);
        *last = number.max(*last);
        if let Source::Pack(parts) = self.graph.source(base).clone() {
            // The parts live at least until the pack is read, be they inside it or copied into it.
            parts.iter().for_each(|&(part, _)| self.read_at(part, number));
        }
    }

    /// Decides which values are computed right inside a pack: outputs of nodes that belong to one pack only, whose node
    /// reads nothing from that pack's buffer and does not write them over an input.
    fn find_packs(&mut self, nodes: &[(usize, Node)]) {
        let mut homes: HashMap<Value, Vec<(Value, usize)>> = HashMap::new();
        for index in 0..self.graph.values.len() {
            let pack = Value(index as u32);
            if let (Source::Pack(parts), true) = (self.graph.source(pack), self.last_use.contains_key(&pack)) {
                for &(part, offset) in parts {
                    let (base, start) = self.graph.base(part);
                    let whole = start == 0 && self.elements(base) == self.elements(part);
                    let node = matches!(self.graph.source(base), Source::Node { .. });
                    homes.entry(base).or_default().extend((whole && node).then_some((pack, offset)));
                }
            }
        }
        for (_, node) in nodes {
            for (j, output) in node.outputs.iter().enumerate() {
                let updates = node.op.updates().iter().any(|&(out, _)| out == j);
                if let (Some([home]), false) = (homes.get(output).map(Vec::as_slice), updates) {
                    let reads_pack = node.inputs.iter().any(|&input| {
                        let base = self.graph.base(input).0;
                        self.packed.get(&base).is_some_and(|(pack, _)| *pack == home.0)
                    });
                    if !reads_pack {
                        self.packed.insert(*output, *home);
                    }
                }
            }
        }
    }

    fn elements(&self, value: Value) -> usize {
        self.graph.spec(value).shape.elements()
    }

    fn new_buffer(&mut self, len: usize, dtype: DType, kind: BufferKind) -> usize {
        self.buffers.push(Buffer { len, dtype, kind });
        self.buffers.len() - 1
    }

    /// The place of a value that exists already, or exists from the start.
    fn place(&mut self, value: Value) -> Place {
        if let Some(&place) = self.places.get(&value) {
            return place;
        }
        let spec = self.graph.spec(value);
        let len = spec.shape.elements();
        let place = match self.graph.source(value).clone() {
            Source::View { of, offset } => {
                let whole = self.place(of);
                Place { buffer: whole.buffer, offset: whole.offset + offset, len }
            }
            source => {
                let kind = match source {
                    Source::Input(_) => BufferKind::Input,
                    Source::Constant(data) => BufferKind::Constant(data),
                    Source::State(group) => BufferKind::State(group),
                    _ => BufferKind::Kept,
                };
                Place { buffer: self.new_buffer(len, spec.dtype, kind), offset: 0, len }
            }
        };
        self.places.insert(value, place);
        place
    }

    /// A place for a node's output that is needed until `last`.
    fn allocate(&mut self, len: usize, dtype: DType, last: usize) -> Place {
        if last == END {
            return Place { buffer: self.new_buffer(len, dtype, BufferKind::Kept), offset: 0, len };
        }
        let fits = |&&i: &&usize| self.buffers[i].dtype == dtype;
        let best = self
            .free
            .iter()
            .filter(fits)
            .filter(|&&i| self.buffers[i].len >= len)
            .min_by_key(|&&i| self.buffers[i].len);
        let chosen = best.or_else(|| self.free.iter().filter(fits).max_by_key(|&&i| self.buffers[i].len)).copied();
        let buffer = match chosen {
            Some(buffer) => {
                self.free.retain(|&i| i != buffer);
                self.buffers[buffer].len = self.buffers[buffer].len.max(len);
                buffer
            }
            None => self.new_buffer(len, dtype, BufferKind::Temporary),
        };
        Place { buffer, offset: 0, len }
    }

    fn release(&mut self, place: Place) {
        let temporary = matches!(self.buffers[place.buffer].kind, BufferKind::Temporary);
        if temporary && !self.free.contains(&place.buffer) {
            self.free.push(place.buffer);
        }
    }

    fn step(&mut self, number: usize, node: &Node, nodes: &[(usize, Node)]) {
        for &input in &node.inputs {
            self.fill_pack(self.graph.base(input).0);
        }
        let inputs: Vec<Place> = node.inputs.iter().map(|&input| self.place(input)).collect();
        let input_specs: Vec<Spec> = node.inputs.iter().map(|&input| self.graph.spec(input)).collect();
        let output_specs: Vec<Spec> = node.outputs.iter().map(|&output| self.graph.spec(output)).collect();

        let mut outputs = Vec::new();
        for (j, &output) in node.outputs.iter().enumerate() {
            let updated = node.op.updates().iter().find(|&&(out, _)| out == j).map(|&(_, i)| node.inputs[i]);
            let last = self.last_use.get(&output).copied().unwrap_or(number);
            let place = if let Some(state) = updated.filter(|&state| self.may_update(state, output, number, nodes)) {
                self.in_place.push((state, output));
                self.place(state)
            } else if let Some(&(pack, offset)) = self.packed.get(&output) {
                let whole = self.place(pack);
                Place { buffer: whole.buffer, offset, len: self.elements(output) }
            } else {
                let spec = output_specs[j];
                self.allocate(spec.shape.elements(), spec.dtype, last)
            };
            self.places.insert(output, place);
            if let Some(input) = updated.filter(|&input| self.place(input) != place) {
                self.copy(input, output_specs[j], Some(place), None);
            }
            outputs.push(place);
        }
        let scratch: Vec<Place> = node
            .op
            .scratch(&input_specs, &output_specs, self.target)
            .into_iter()
            .map(|len| self.allocate(len, DType::Real, number))
            .collect();
        scratch.iter().for_each(|&place| self.release(place));
        let dead: Vec<Place> = (node.inputs.iter().chain(&node.outputs))
            .map(|&value| self.graph.base(value).0)
            .filter(|base| matches!(self.graph.source(*base), Source::Node { .. }))
            .filter(|base| self.last_use.get(base).copied().unwrap_or(number) <= number)
            .map(|base| self.places[&base])
            .collect();
        dead.into_iter().for_each(|place| self.release(place));
        let work = Work::Run(node.op.clone());
        self.steps.push(Step { work, inputs, outputs, scratch, input_specs, output_specs });
    }

    /// Before a pack is first read: copies into it the parts that were not computed inside it.
    fn fill_pack(&mut self, value: Value) {
        let Source::Pack(parts) = self.graph.source(value).clone() else { return };
        if self.copied_packs.contains(&value) {
            return;
        }
        self.copied_packs.push(value);
        let whole = self.place(value);
        for (part, offset) in parts {
            let base = self.graph.base(part).0;
            if self.packed.get(&base).is_none_or(|(pack, _)| *pack != value) {
                let to = Place { buffer: whole.buffer, offset, len: self.elements(part) };
                self.copy(part, self.graph.spec(part), Some(to), None);
            }
        }
    }

    fn copy(&mut self, from: Value, spec: Spec, to: Option<Place>, state: Option<Value>) {
        let from = self.place(from);
        let Some(to) = to.or_else(|| state.map(|state| self.place(state))) else { return };
        self.steps.push(Step {
            work: Work::Copy,
            inputs: vec![from],
            outputs: vec![to],
            scratch: Vec::new(),
            input_specs: vec![spec],
            output_specs: vec![spec],
        });
    }

    /// Whether node `number` may write `output` straight over `state`: it is to become the state's content, and nobody
    /// reads the old one later.
    fn may_update(&self, state: Value, output: Value, number: usize, nodes: &[(usize, Node)]) -> bool {
        let (base, start) = self.graph.base(state);
        let Source::State(group) = *self.graph.source(base) else { return false };
        let range = start..start + self.elements(state);
        let touches = |value: Value| {
            let (base, start) = self.graph.base(value);
            let same = matches!(self.graph.source(base), Source::State(other) if *other == group);
            same && start < range.end && range.start < start + self.elements(value)
        };
        let read_later = nodes.iter().any(|(n, node)| *n > number && node.inputs.iter().any(|&input| touches(input)));
        let packed = self.graph.values.iter().any(
            |definition| matches!(&definition.source, Source::Pack(parts) if parts.iter().any(|&(part, _)| touches(part))),
        );
        let shown = self.graph.outputs.iter().any(|&(_, value)| self.graph.base(value).0 == output);
        self.graph.assignments.contains(&(state, output)) && !read_later && !packed && !shown
    }
}
