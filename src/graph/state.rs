//! State that survives runs: parameters, running statistics, an optimiser's moments.

use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// States start at multiples of this many elements: 256 bytes of f32, the offset alignment of baseline WebGPU.
pub const ALIGNMENT: usize = 64;

/// One named state: a part of its group's flat buffer.
#[derive(Clone, Debug)]
pub struct State {
    /// The name; for parameters PyTorch's, such as `conv1.weight`.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// The group it belongs to.
    pub group: GroupId,
    /// Where it starts in the group's buffer, in elements.
    pub offset: usize,
}

/// Identifies a group of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub(crate) usize);

impl GroupId {
    /// Its number in [`States::groups`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// States of one kind, kept in one flat buffer so that one kernel can work on all of them.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name, for example `parameters`.
    pub name: String,
    /// Length of the buffer in elements, gaps for alignment included. Gaps hold zeros.
    pub len: usize,
    /// Whether it holds data of the host, such as recordings, which no run changes.
    pub data: bool,
}

/// The layout of all state that graphs refer to, and its initial values. Graphs for different batch sizes share one.
#[derive(Clone, Debug, Default)]
pub struct States {
    groups: Vec<Group>,
    initial: Vec<Vec<f32>>,
    states: Vec<State>,
}

impl States {
    /// No states.
    pub fn new() -> Self {
        Self::default()
    }

    /// The group of this name; it is created if it does not exist.
    pub fn group(&mut self, name: &str) -> GroupId {
        if let Some(i) = self.groups.iter().position(|group| group.name == name) {
            return GroupId(i);
        }
        self.groups.push(Group { name: name.into(), len: 0, data: false });
        self.initial.push(Vec::new());
        GroupId(self.groups.len() - 1)
    }

    /// Adds a state to a group, with its initial values.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn add(&mut self, group: &str, name: &str, initial: Tensor<f32>) -> Result<()> {
        if self.states.iter().any(|state| state.name == name) {
            return Err(Error::value(name, "a state of this name exists already"));
        }
        let id = self.group(group);
        let offset = self.groups[id.0].len;
        let shape = initial.shape();
        let data = &mut self.initial[id.0];
        data.extend_from_slice(initial.data());
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0.0);
        self.groups[id.0].len = data.len();
        self.states.push(State { name: name.into(), shape, group: id, offset });
        Ok(())
    }

    /// A group laid out exactly like another, filled with zeros: an optimiser's moments beside the parameters. Its states
    /// are named `<name>.<state>`.
    ///
    /// # Errors
    /// If the group exists.
    pub fn add_like(&mut self, group: GroupId, name: &str) -> Result<GroupId> {
        if self.groups.iter().any(|other| other.name == name) {
            return Err(Error::value(name, "a group of this name exists already"));
        }
        let members: Vec<State> = self.states.iter().filter(|state| state.group == group).cloned().collect();
        for state in members {
            self.add(name, &format!("{name}.{}", state.name), Tensor::full(state.shape, 0.0))?;
        }
        Ok(self.group(name))
    }

    /// A group with one state of the same name, of `len` elements. They are zeros until the host writes them. Graphs read it, and it is
    /// not part of checkpoints.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn add_data(&mut self, name: &str, len: usize) -> Result<()> {
        let taken = self.groups.iter().any(|group| group.name == name) || self.get(name).is_ok();
        if taken {
            return Err(Error::value(name, "a state or group of this name exists already"));
        }
        let group = self.group(name);
        self.groups[group.0] = Group { name: name.into(), len, data: true };
        self.states.push(State { name: name.into(), shape: Shape::new(&[len]), group, offset: 0 });
        Ok(())
    }

    /// All groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The initial contents of a group's buffer; missing elements at its end are zeros.
    pub fn initial(&self, group: GroupId) -> &[f32] {
        &self.initial[group.0]
    }

    /// All states in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &State> {
        self.states.iter()
    }

    /// All states except those of groups that hold [data](Group::data).
    pub fn kept(&self) -> impl Iterator<Item = &State> {
        self.states.iter().filter(|state| !self.groups[state.group.0].data)
    }

    /// The states of one group.
    pub fn of_group(&self, group: GroupId) -> impl Iterator<Item = &State> {
        self.states.iter().filter(move |state| state.group == group)
    }

    /// The state of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<&State> {
        self.states.iter().find(|state| state.name == name).ok_or_else(|| Error::value(name, "there is no such state"))
    }
}
