//! Modules: parts of a network with their own parameters, combined by name.

use super::classifier::{Mode, PARAMETERS, STATISTICS};
use crate::error::Result;
use crate::graph::{Graph, States, Value};
use crate::tensor::{Shape, Tensor};
use rand::rngs::ChaCha8Rng;

/// A part of a network: a layer, or a combination of modules.
///
/// ```
/// use humdinger::graph::Value;
/// use humdinger::nn::{Declare, Linear, Module, Net};
///
/// /// `x + relu(linear(x))`
/// struct Residual(Linear);
///
/// impl Module for Residual {
///     fn declare(&self, to: &mut Declare<'_>) -> humdinger::Result<()> {
///         to.module("linear", &self.0)
///     }
///
///     fn forward(&self, net: &mut Net<'_>, x: Value) -> humdinger::Result<Value> {
///         let y = net.module("linear", &self.0, x)?;
///         let y = net.graph.relu(y)?;
///         net.graph.add(x, y)
///     }
/// }
/// ```
pub trait Module {
    /// Declares the module's parameters and running statistics, with their initial values. The default declares none. If
    /// [`Module::forward`] uses one that is not declared, building the graph is an error.
    ///
    /// # Errors
    /// If a name is taken.
    fn declare(&self, _to: &mut Declare<'_>) -> Result<()> {
        Ok(())
    }

    /// Adds the module to a graph: its output from its input.
    ///
    /// # Errors
    /// If the input's shape does not fit, or a parameter was not declared.
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value>;
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        (**self).declare(to)
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        (**self).forward(net, x)
    }
}

/// The path of a name inside a module: `block1.conv` and `weight` give `block1.conv.weight`.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// The place where a module declares its parameters.
pub struct Declare<'a> {
    states: &'a mut States,
    rng: &'a mut ChaCha8Rng,
    path: String,
}

impl<'a> Declare<'a> {
    /// Declarations go to `states`; initial values are drawn from `rng`.
    pub fn new(states: &'a mut States, rng: &'a mut ChaCha8Rng) -> Self {
        Self { states, rng, path: String::new() }
    }

    /// The random generator of initial values.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        self.rng
    }

    /// A parameter, which the optimiser changes, under the module's path.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn parameter(&mut self, name: &str, initial: Tensor<f32>) -> Result<()> {
        self.states.add(PARAMETERS, &join(&self.path, name), initial)
    }

    /// A running statistic, which [`Net::update`] changes in training.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn statistic(&mut self, name: &str, initial: Tensor<f32>) -> Result<()> {
        self.states.add(STATISTICS, &join(&self.path, name), initial)
    }

    /// The declarations of a module inside this one, under its name.
    ///
    /// # Errors
    /// As that module's [`Module::declare`].
    pub fn module(&mut self, name: &str, module: &impl Module) -> Result<()> {
        let path = join(&self.path, name);
        module.declare(&mut Declare { states: &mut *self.states, rng: &mut *self.rng, path })
    }
}

/// Zeros and ones that the host draws before each run in training: an input of the graph.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// The input's name.
    pub input: String,
    /// Its number of elements.
    pub len: usize,
    /// The probability of a zero.
    pub zeros: f64,
}

/// The place where a module adds itself to a graph.
pub struct Net<'a> {
    /// The graph, whose methods are the operations.
    pub graph: &'a mut Graph,
    mode: Mode,
    path: String,
    drawn: &'a mut Vec<Drawn>,
}

impl<'a> Net<'a> {
    pub(super) fn new(graph: &'a mut Graph, mode: Mode, drawn: &'a mut Vec<Drawn>) -> Self {
        Self { graph, mode, path: String::new(), drawn }
    }

    /// Whether the graph trains or evaluates.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A parameter or running statistic of this module, by the name that it was declared with.
    ///
    /// # Errors
    /// If none of this name was declared.
    pub fn state(&mut self, name: &str) -> Result<Value> {
        self.graph.state(&join(&self.path, name))
    }

    /// Sets the value that a running statistic has after the run.
    ///
    /// # Errors
    /// If `state` is not a running statistic, has another shape, or already has a new value.
    pub fn update(&mut self, state: Value, value: Value) -> Result<()> {
        self.graph.assign(state, value)
    }

    /// A module inside this one, under its name.
    ///
    /// # Errors
    /// As that module's [`Module::forward`].
    pub fn module(&mut self, name: &str, module: &impl Module, x: Value) -> Result<Value> {
        let path = join(&self.path, name);
        module.forward(&mut Net { graph: &mut *self.graph, mode: self.mode, path, drawn: &mut *self.drawn }, x)
    }

    /// The mask of dropout: zeros with this probability, and ones, drawn for each run.
    ///
    /// # Errors
    /// If an input of the drawn name exists already.
    pub fn draw(&mut self, shape: Shape, zeros: f64) -> Result<Value> {
        let input = format!("drawn.{}", self.drawn.len());
        let value = self.graph.input(&input, shape)?;
        self.drawn.push(Drawn { input, len: shape.elements(), zeros });
        Ok(value)
    }
}

/// Modules in sequence, named by their position (`0`, `1`, ..) as in PyTorch's `Sequential`, or by a given name.
#[derive(Default)]
pub struct Sequential {
    parts: Vec<(String, Box<dyn Module>)>,
}

impl Sequential {
    /// No modules: the output is the input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a module, named by its position.
    #[must_use]
    pub fn then(self, module: impl Module + 'static) -> Self {
        let name = self.parts.len().to_string();
        self.named(&name, module)
    }

    /// Appends a module.
    #[must_use]
    pub fn named(mut self, name: &str, module: impl Module + 'static) -> Self {
        self.parts.push((name.into(), Box::new(module)));
        self
    }
}

impl Module for Sequential {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        self.parts.iter().try_for_each(|(name, module)| to.module(name, module))
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        self.parts.iter().try_fold(x, |x, (name, module)| net.module(name, module, x))
    }
}
