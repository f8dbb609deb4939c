//! From a graph to steps over buffers: order, lifetimes, and which values share memory.

use super::plan::{Buffer, BufferKind, Place, Step, Work};
use super::{Graph, Node, Source, Target, Value};
use crate::tensor::{DType, Spec};
use std::collections::HashMap;

/// The end of a run, as a position.
const END: usize = usize::MAX;

/// A graph of which every value has a place.
pub(super) struct Planned {
    pub graph: Graph,
    pub buffers: Vec<Buffer>,
    pub steps: Vec<Step>,
    pub places: HashMap<Value, Place>,
}

/// Plans a graph that [`check`](super::check) has passed.
pub(super) fn run(graph: Graph, target: Target) -> Planned {
    let mut planner = Planner::new(graph, target);
    planner.run();
    let Planner { graph, buffers, steps, places, .. } = planner;
    Planned { graph, buffers, steps, places }
}

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
            let updated =
                node.op.updates().iter().find(|&&(out, i)| out == j && i < node.inputs.len()).map(|&(_, i)| i);
            let may_update = |&i: &usize| self.may_update(i, output, node, number, nodes);
            let in_place = updated.filter(may_update).map(|i| node.inputs[i]);
            let updated = updated.map(|i| node.inputs[i]);
            let last = self.last_use.get(&output).copied().unwrap_or(number);
            let place = if let Some(state) = in_place {
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

    /// Whether node `number` may write `output` straight over its input `updated`: that is a state whose content `output` is to
    /// become, and no node reads the old one later, nor this node through another input.
    fn may_update(&self, updated: usize, output: Value, node: &Node, number: usize, nodes: &[(usize, Node)]) -> bool {
        let state = node.inputs[updated];
        let (base, start) = self.graph.base(state);
        let Source::State(group) = *self.graph.source(base) else { return false };
        let range = start..start + self.elements(state);
        let touches = |value: Value| {
            let (base, start) = self.graph.base(value);
            let same = matches!(self.graph.source(base), Source::State(other) if *other == group);
            same && start < range.end && range.start < start + self.elements(value)
        };
        let read_later = nodes.iter().any(|(n, node)| *n > number && node.inputs.iter().any(|&input| touches(input)));
        let read_now = node.inputs.iter().enumerate().any(|(i, &input)| i != updated && touches(input));
        let packed = self.graph.values.iter().any(
            |definition| matches!(&definition.source, Source::Pack(parts) if parts.iter().any(|&(part, _)| touches(part))),
        );
        let shown = self.graph.outputs.iter().any(|&(_, value)| self.graph.base(value).0 == output);
        self.graph.assignments.contains(&(state, output)) && !read_later && !read_now && !packed && !shown
    }
}
