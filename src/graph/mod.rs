//! The computation graph: values and the nodes that compute them, with shapes checked as the graph is built.
//!
//! A graph is static and in single-assignment form. A [`Value`] is an input, a constant, a state, a view of another value,
//! or an output of a [`Node`]. Every value is created after the ones it depends on, so they can be computed in the order
//! of their numbers. The operations themselves live in [`ops`](crate::ops), which adds the builder methods
//! (`graph.conv2d(..)`, `graph.relu(..)`); this module knows them only through the trait [`Op`].

mod backward;
mod check;
mod commands;
mod export;
mod host_memory;
mod kernel;
mod late;
mod op;
mod pieces;
mod plan;
mod planner;
mod ranks;
mod rewrite;
mod session;
mod state;

pub(crate) use check::memory as check_memory;
pub use commands::{Binding, Command, Dispatch};
pub use export::PLAN_FORMAT;
pub use host_memory::HostMemory;
pub use kernel::{Kernel, Parallel, Private, Region, SharedMut, for_each_piece};
pub use late::Underway;
pub(crate) use late::{Late, Parcels, Rest};
pub(crate) use op::shader;
pub use op::{
    Cost, CpuOp, CpuReal, Gradient, Launch, MAX_WORKGROUPS, Op, Operand, Shader, Target, grid, no_gpu_kernel,
    no_gradient,
};
pub use pieces::{Block, Blocks, Pieces, Stretches, Tasks};
pub use plan::{Buffer, BufferKind, Place, Plan, Port, Step, Work};
pub(crate) use ranks::bytes;
pub use ranks::{Communicator, Division, Share, sum_over};
pub use session::{
    PlanId, Series, Session, Timing, check_indices, check_port, check_series, locate_data, locate_part, locate_state,
};
pub use state::{ALIGNMENT, Group, GroupId, State, States};

use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, Spec};
use std::collections::HashMap;
use std::sync::Arc;

/// A value of a graph; only meaningful with the graph that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

impl Value {
    /// Its number, from 0, in the order in which values were made.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The contents of a constant.
#[derive(Clone, Debug)]
pub enum Constant {
    /// Real numbers, rounded to the type that a session computes in.
    Real(Arc<[f64]>),
    /// Indices.
    Index(Arc<[u32]>),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Written by the host before a run.
    Input(String),
    /// The same in every run.
    Constant(Constant),
    /// The whole buffer of a group of states.
    State(GroupId),
    /// The same memory as another value, or a part of it, in another shape.
    View {
        /// The other value.
        of: Value,
        /// The start of the part, in elements.
        offset: usize,
    },
    /// Values side by side in one flat buffer, each at its offset, with zeros between them. Where possible the parts
    /// are computed in place, so that packing costs nothing.
    Pack(Vec<(Value, usize)>),
    /// An output of a node.
    Node {
        /// The node's number.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// An operation applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Its inputs.
    pub inputs: Vec<Value>,
    /// Its outputs.
    pub outputs: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Definition {
    spec: Spec,
    source: Source,
}

/// A computation: what it reads, what it computes, which values are read back and which states it changes.
#[derive(Clone, Debug)]
pub struct Graph {
    states: Arc<States>,
    values: Vec<Definition>,
    nodes: Vec<Option<Node>>,
    outputs: Vec<(String, Value)>,
    assignments: Vec<(Value, Value)>,
    groups: HashMap<GroupId, Value>,
    state_views: HashMap<String, Value>,
    /// Inputs whose first axis counts a batch's items.
    by_item: Vec<Value>,
}

impl Default for Graph {
    /// An empty graph without states.
    fn default() -> Self {
        Self::new(Arc::new(States::new()))
    }
}

impl Graph {
    /// An empty graph over these states.
    pub fn new(states: Arc<States>) -> Self {
        Self {
            states,
            values: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
            assignments: Vec::new(),
            groups: HashMap::new(),
            state_views: HashMap::new(),
            by_item: Vec::new(),
        }
    }

    /// The states that the graph refers to.
    pub fn states(&self) -> &Arc<States> {
        &self.states
    }

    fn define(&mut self, spec: Spec, source: Source) -> Value {
        self.values.push(Definition { spec, source });
        Value(self.values.len() as u32 - 1)
    }

    /// Real numbers that the host writes before a run.
    ///
    /// # Errors
    /// If the name is taken or an axis has length zero.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value> {
        self.any_input(name, Spec::real(shape))
    }

    /// Indices that the host writes before a run. The operations that use them set the bound they must stay below.
    ///
    /// # Errors
    /// If the name is taken or an axis has length zero.
    pub fn index_input(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value> {
        self.any_input(name, Spec::index(shape))
    }

    fn any_input(&mut self, name: &str, spec: Spec) -> Result<Value> {
        if self.values.iter().any(|value| matches!(&value.source, Source::Input(other) if other == name)) {
            return Err(Error::value(name, "an input of this name exists already"));
        }
        refuse_empty("input", &spec)?;
        Ok(self.define(spec, Source::Input(name.into())))
    }

    /// Real numbers that are the same in every run.
    ///
    /// # Errors
    /// If their number is not the shape's.
    pub fn constant(&mut self, shape: impl Into<Shape>, data: impl Into<Arc<[f64]>>) -> Result<Value> {
        let data = data.into();
        self.any_constant(Spec::real(shape), data.len(), Constant::Real(data))
    }

    /// Indices that are the same in every run. An operation refuses indices beyond its bound.
    ///
    /// # Errors
    /// If their number is not the shape's.
    pub fn index_constant(&mut self, shape: impl Into<Shape>, data: impl Into<Arc<[u32]>>) -> Result<Value> {
        let data = data.into();
        self.any_constant(Spec::index(shape), data.len(), Constant::Index(data))
    }

    fn any_constant(&mut self, spec: Spec, len: usize, data: Constant) -> Result<Value> {
        refuse_empty("constant", &spec)?;
        if spec.shape.elements() != len {
            let detail = format!("shape {} has {} elements, {len} were given", spec.shape, spec.shape.elements());
            return Err(Error::op("constant", detail));
        }
        Ok(self.define(spec, Source::Constant(data)))
    }

    /// A state, as a value: its content at the start of the run.
    ///
    /// # Errors
    /// If there is no state of this name.
    pub fn state(&mut self, name: &str) -> Result<Value> {
        if let Some(&value) = self.state_views.get(name) {
            return Ok(value);
        }
        let state = self.states.get(name)?.clone();
        let of = self.state_group(state.group);
        let value = self.define(Spec::real(state.shape), Source::View { of, offset: state.offset });
        self.state_views.insert(name.into(), value);
        Ok(value)
    }

    /// The flat buffer of a whole group of states, as a value.
    pub fn state_group(&mut self, group: GroupId) -> Value {
        if let Some(&value) = self.groups.get(&group) {
            return value;
        }
        let len = self.states.groups()[group.0].len;
        let value = self.define(Spec::real([len]), Source::State(group));
        self.groups.insert(group, value);
        value
    }

    /// Makes `value` the content of `state` (or of a whole group) from the end of each run on.
    ///
    /// # Errors
    /// If `state` is no state, the shapes differ, or `value` is not computed by a node.
    pub fn assign(&mut self, state: Value, value: Value) -> Result<()> {
        let Some(group) = self.group_of(state) else {
            return Err(Error::op("assign", "the target is not a state"));
        };
        let group = &self.states.groups()[group.0];
        if group.data {
            return Err(Error::op("assign", format!("`{}` is data of the host, which runs only read", group.name)));
        }
        if self.spec(state) != self.spec(value) {
            let detail = format!("a state of shape {} cannot hold {}", self.spec(state).shape, self.spec(value).shape);
            return Err(Error::op("assign", detail));
        }
        if !matches!(self.source(value), Source::Node { .. }) {
            return Err(Error::op("assign", "the new content must be the output of an operation"));
        }
        self.assignments.push((state, value));
        Ok(())
    }

    /// The group that a value is a part of, if it is a state.
    fn group_of(&self, value: Value) -> Option<GroupId> {
        match self.source(value) {
            Source::State(group) => Some(*group),
            Source::View { of, .. } => self.group_of(*of),
            _ => None,
        }
    }

    /// Makes a value an output, which can be read after each run by this name.
    ///
    /// # Errors
    /// If the name is taken, the value holds indices, or it is a state (a session reads those by name).
    pub fn output(&mut self, name: &str, value: Value) -> Result<()> {
        if self.outputs.iter().any(|(other, _)| other == name) {
            return Err(Error::value(name, "an output of this name exists already"));
        }
        if self.spec(value).dtype != DType::Real {
            return Err(Error::value(name, "only real numbers can be read back"));
        }
        if self.group_of(value).is_some() {
            return Err(Error::value(name, "is a state; read it from the session by the state's name"));
        }
        self.outputs.push((name.into(), value));
        Ok(())
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// If the number of elements differs.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let y = graph.reshape(x, [3, 2])?;
    /// assert_eq!(graph.evaluate(y, &[])?.shape().dims(), [3, 2]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn reshape(&mut self, x: Value, shape: impl Into<Shape>) -> Result<Value> {
        let (spec, shape) = (self.spec(x), shape.into());
        if spec.shape.elements() != shape.elements() {
            let detail = format!("{} has {} elements, {shape} {}", spec.shape, spec.shape.elements(), shape.elements());
            return Err(Error::op("reshape", detail));
        }
        Ok(self.define(Spec { shape, dtype: spec.dtype }, Source::View { of: x, offset: 0 }))
    }

    /// Flattens all axes from `first` on into one.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn flatten(&mut self, x: Value, first: usize) -> Result<Value> {
        let shape = self.spec(x).shape;
        if first >= shape.rank() {
            return Err(Error::op("flatten", format!("{shape} has no axis {first}")));
        }
        let mut dims = shape.dims()[..first].to_vec();
        dims.push(shape.dims()[first..].iter().product());
        self.reshape(x, Shape::new(&dims))
    }

    /// Values side by side in one flat buffer laid out like a group of states: `parts` are in the order of its states.
    ///
    /// # Errors
    /// If numbers or shapes differ from the group's.
    pub fn pack(&mut self, group: GroupId, parts: &[Value]) -> Result<Value> {
        let members: Vec<State> = self.states.of_group(group).cloned().collect();
        let len = self.states.groups()[group.0].len;
        if members.len() != parts.len() {
            return Err(Error::op("pack", format!("{} values for a group of {} states", parts.len(), members.len())));
        }
        for (state, &part) in members.iter().zip(parts) {
            if self.spec(part) != Spec::real(state.shape) {
                let detail = format!("`{}` has shape {}, not {}", state.name, state.shape, self.spec(part).shape);
                return Err(Error::op("pack", detail));
            }
        }
        let placed = parts.iter().zip(&members).map(|(&part, state)| (part, state.offset)).collect();
        Ok(self.define(Spec::real([len]), Source::Pack(placed)))
    }

    /// Applies an operation. The builder methods of [`ops`](crate::ops) call this.
    ///
    /// # Errors
    /// If the operation's shape rule refuses the inputs, an axis has size zero, or an operand has the wrong element type.
    pub fn apply(&mut self, op: impl Op, inputs: &[Value]) -> Result<Vec<Value>> {
        self.apply_shared(Arc::new(op), inputs)
    }

    /// [`Graph::apply`] for an operation that is shared already.
    ///
    /// # Errors
    /// As [`Graph::apply`].
    pub fn apply_shared(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Vec<Value>> {
        let specs: Vec<Spec> = inputs.iter().map(|&value| self.spec(value)).collect();
        for spec in &specs {
            refuse_empty(op.name(), spec)?;
        }
        let outputs = op.outputs(&specs)?;
        for spec in &outputs {
            refuse_empty(op.name(), spec)?;
        }
        check::updates(&*op, &specs, &outputs)?;
        check::constant_indices(self, &*op, inputs, &specs)?;
        let node = self.nodes.len();
        let outputs: Vec<Value> = outputs
            .into_iter()
            .enumerate()
            .map(|(output, spec)| self.define(spec, Source::Node { node, output }))
            .collect();
        self.nodes.push(Some(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone() }));
        Ok(outputs)
    }

    /// [`Graph::apply`] for an operation with one output, or of which only the first is wanted.
    ///
    /// # Errors
    /// As [`Graph::apply`].
    pub fn apply_one(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        Ok(self.apply(op, inputs)?[0])
    }

    /// Shape and element type of a value.
    pub fn spec(&self, value: Value) -> Spec {
        self.values[value.index()].spec
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.spec(value).shape
    }

    /// Where a value comes from.
    pub fn source(&self, value: Value) -> &Source {
        &self.values[value.index()].source
    }

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

    /// The nodes with their numbers, in an order in which they can be run.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| node.as_ref().map(|node| (i, node)))
    }

    /// The named outputs.
    pub fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }
}

fn refuse_empty(op: &'static str, spec: &Spec) -> Result<()> {
    if spec.shape.dims().contains(&0) {
        return Err(Error::op(op, format!("{} has an axis of length zero", spec.shape)));
    }
    Ok(())
}
