//! A module with its parameters on a device: training, prediction, saving and loading.

use super::classifier::{Mode, PARAMETERS};
use super::data::{Batch, Values};
use super::fit::Loss;
use super::module::{Declare, Drawn, Module, Net};
use super::optimiser::{Adam, Sgd};
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::fusion::{Fusions, fuse};
use crate::graph::{Graph, Plan, PlanId, Session, States};
use crate::tensor::{DType, Spec, Tensor};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::Arc;

/// The choice of optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// Adam (Kingma and Ba, 2015), with decoupled weight decay (Loshchilov and Hutter, 2019) if that is not 0.
    Adam {
        /// Weight decay.
        weight_decay: f64,
    },
    /// Gradient descent.
    Sgd {
        /// The part of the velocity that is kept at each step.
        momentum: f64,
        /// Whether momentum is Nesterov's.
        nesterov: bool,
        /// Weight decay, part of the gradient.
        weight_decay: f64,
    },
}

/// Options of a [`Model`].
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// The device.
    pub device: DeviceChoice,
    /// The seed of initial values and dropout.
    pub seed: u64,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// Gradients with a larger norm are clipped to this norm, if given.
    pub max_norm: Option<f64>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        let optimiser = Optimiser::Adam { weight_decay: 0.0 };
        Self { device: DeviceChoice::Auto, seed: 0, optimiser, max_norm: None }
    }
}

enum Steps {
    Adam(Adam),
    Sgd(Sgd),
}

/// What one plan of a model is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    mode: Mode,
    x: Spec,
    targets: Option<Spec>,
}

#[derive(Clone)]
struct Compiled {
    plan: PlanId,
    output: Spec,
    drawn: Vec<Drawn>,
}

/// A network with its parameters on a device.
///
/// Plans are compiled when they are first needed, one for each batch shape. All share the parameters.
pub struct Model<M = super::Sequential> {
    module: M,
    session: Box<dyn Session>,
    states: Arc<States>,
    device: Device,
    steps: Steps,
    rng: ChaCha8Rng,
    plans: HashMap<Kind, Compiled>,
    loss: Option<Loss>,
}

impl<M: Module> Model<M> {
    /// Initialises the parameters of a network with random values and puts them on a device.
    ///
    /// # Errors
    /// If two parameters have the same path, or the device is not available.
    pub fn new(module: M, options: ModelOptions) -> Result<Self> {
        let mut states = States::new();
        let parameters = states.group(PARAMETERS);
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        module.declare(&mut Declare::new(&mut states, &mut rng))?;
        let steps = match options.optimiser {
            Optimiser::Adam { weight_decay } => {
                let mut adam = Adam::new(&mut states, parameters)?;
                (adam.weight_decay, adam.max_norm) = (weight_decay, options.max_norm);
                Steps::Adam(adam)
            }
            Optimiser::Sgd { momentum, nesterov, weight_decay } => {
                let mut sgd = Sgd::new(&mut states, parameters)?;
                (sgd.momentum, sgd.nesterov, sgd.weight_decay) = (momentum, nesterov, weight_decay);
                sgd.max_norm = options.max_norm;
                Steps::Sgd(sgd)
            }
        };
        let (states, device) = (Arc::new(states), Device::choose(options.device)?);
        let session = device.session(states.clone())?;
        Ok(Self { module, session, states, device, steps, rng, plans: HashMap::new(), loss: None })
    }

    /// The module.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// A description of the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All parameters and running statistics, with their shapes and paths, without the states of the optimiser.
    pub fn paths(&self) -> Vec<String> {
        self.kept().map(|(name, _)| name.clone()).collect()
    }

    /// The number of trainable parameters (scalars).
    pub fn parameter_count(&self) -> usize {
        let group = self.states.groups().iter().position(|group| group.name == PARAMETERS);
        let of = |state: &&crate::graph::State| Some(state.group.index()) == group;
        self.states.iter().filter(of).map(|state| state.shape.elements()).sum()
    }

    /// Parameters and running statistics.
    fn kept(&self) -> impl Iterator<Item = (&String, crate::tensor::Shape)> {
        let kept = |group: usize| [PARAMETERS, super::STATISTICS].contains(&self.states.groups()[group].name.as_str());
        self.states.iter().filter(move |state| kept(state.group.index())).map(|state| (&state.name, state.shape))
    }

    /// A parameter or running statistic, by its path.
    ///
    /// # Errors
    /// If there is none, or the device fails.
    pub fn read(&mut self, path: &str) -> Result<Tensor<f32>> {
        let mut value = Tensor::full(self.states.get(path)?.shape, 0.0);
        self.session.read_state(path, value.data_mut())?;
        Ok(value)
    }

    /// Sets a parameter or running statistic, by its path.
    ///
    /// # Errors
    /// If there is none, it has another shape, or the device fails.
    pub fn write(&mut self, path: &str, value: &Tensor<f32>) -> Result<()> {
        let shape = self.states.get(path)?.shape;
        if shape != value.shape() {
            return Err(Error::value(path, format!("has shape {shape}, not {}", value.shape())));
        }
        self.session.write_state(path, value.data())
    }

    #[cfg(feature = "weights")]
    pub(super) fn states(&self) -> Arc<States> {
        self.states.clone()
    }

    #[cfg(feature = "weights")]
    pub(super) fn session(&mut self) -> &mut dyn Session {
        &mut *self.session
    }

    /// What training changes beside the session's states: the steps that the optimiser counts, and what dropout draws from.
    #[cfg(feature = "weights")]
    pub(super) fn counted(&self) -> (u64, super::checkpoint::Draws) {
        let steps = match &self.steps {
            Steps::Adam(adam) => adam.steps,
            Steps::Sgd(_) => 0,
        };
        (steps, self.rng.serialize_state())
    }

    #[cfg(feature = "weights")]
    pub(super) fn set_counted(&mut self, steps: u64, draws: &super::checkpoint::Draws) {
        if let Steps::Adam(adam) = &mut self.steps {
            adam.steps = steps;
        }
        self.rng = ChaCha8Rng::deserialize_state(draws);
    }

    /// Compiles the network for batches of x of this shape and type in advance, so that the first [`Model::predict`] does not have to.
    ///
    /// # Errors
    /// If the shape does not fit the network, or the device has too little memory.
    pub fn compile(&mut self, x: Spec) -> Result<PlanId> {
        Ok(self.plan(Kind { mode: Mode::Evaluate, x, targets: None })?.plan)
    }

    /// The network's output for a batch.
    ///
    /// # Errors
    /// If the shape does not fit the network, or the device fails.
    pub fn predict(&mut self, x: impl Into<Values>) -> Result<Tensor<f32>> {
        let x = x.into();
        let compiled = self.plan(Kind { mode: Mode::Evaluate, x: x.spec(), targets: None })?;
        write(&mut *self.session, compiled.plan, "x", &x)?;
        self.session.run(compiled.plan)?;
        self.output(&compiled)
    }

    /// The output of a plan's last run.
    fn output(&mut self, compiled: &Compiled) -> Result<Tensor<f32>> {
        let mut output = Tensor::full(compiled.output.shape, 0.0);
        self.session.read(compiled.plan, "output", output.data_mut())?;
        Ok(output)
    }

    /// One training step on a batch. Returns the mean loss and the network's output before the step.
    ///
    /// # Errors
    /// If a shape does not fit, or the device fails.
    pub fn train_step(&mut self, batch: &Batch, loss: &Loss, rate: f64, beta1: f64) -> Result<(f64, Tensor<f32>)> {
        let compiled = self.loss_plan(Mode::Train, batch, loss)?;
        match &mut self.steps {
            Steps::Adam(adam) => adam.before_step(&mut *self.session, compiled.plan, rate, beta1)?,
            Steps::Sgd(sgd) => sgd.before_step(&mut *self.session, compiled.plan, rate)?,
        }
        for drawn in &compiled.drawn {
            let rng = &mut self.rng;
            let kept: Vec<f32> = (0..drawn.len).map(|_| f32::from(rng.random::<f64>() >= drawn.zeros)).collect();
            self.session.write(compiled.plan, &drawn.input, &kept)?;
        }
        self.run_with_loss(&compiled, batch)
    }

    /// The mean loss of a batch and the network's output; no state changes.
    ///
    /// # Errors
    /// If a shape does not fit, or the device fails.
    pub fn evaluate_step(&mut self, batch: &Batch, loss: &Loss) -> Result<(f64, Tensor<f32>)> {
        let compiled = self.loss_plan(Mode::Evaluate, batch, loss)?;
        self.run_with_loss(&compiled, batch)
    }

    fn run_with_loss(&mut self, compiled: &Compiled, batch: &Batch) -> Result<(f64, Tensor<f32>)> {
        write(&mut *self.session, compiled.plan, "x", &batch.x)?;
        write(&mut *self.session, compiled.plan, "targets", &batch.targets)?;
        self.session.run(compiled.plan)?;
        let mut loss = [0.0];
        self.session.read(compiled.plan, "loss", &mut loss)?;
        Ok((f64::from(loss[0]), self.output(compiled)?))
    }

    fn loss_plan(&mut self, mode: Mode, batch: &Batch, loss: &Loss) -> Result<Compiled> {
        if self.loss.as_ref() != Some(loss) {
            // Plans with another loss will not be used again.
            self.plans.retain(|kind, _| kind.targets.is_none());
            self.loss = Some(loss.clone());
        }
        self.plan(Kind { mode, x: batch.x.spec(), targets: Some(batch.targets.spec()) })
    }

    fn plan(&mut self, kind: Kind) -> Result<Compiled> {
        if let Some(compiled) = self.plans.get(&kind) {
            return Ok(compiled.clone());
        }
        let (mut graph, mut drawn) = (Graph::new(self.states.clone()), Vec::new());
        let x = input(&mut graph, "x", kind.x)?;
        let output = self.module.forward(&mut Net::new(&mut graph, kind.mode, &mut drawn), x)?;
        graph.output("output", output)?;
        if let (Some(targets), Some(loss)) = (kind.targets, &self.loss) {
            let targets = input(&mut graph, "targets", targets)?;
            let loss = loss.build(&mut graph, output, targets)?;
            if graph.shape(loss).elements() != 1 {
                return Err(Error::op("loss", format!("must be one number, has shape {}", graph.shape(loss))));
            }
            graph.output("loss", loss)?;
            if kind.mode == Mode::Train {
                match &self.steps {
                    Steps::Adam(adam) => adam.minimise(&mut graph, loss)?,
                    Steps::Sgd(sgd) => sgd.minimise(&mut graph, loss)?,
                }
            }
        }
        let (output, target) = (graph.spec(output), self.device.target());
        fuse(&mut graph, Fusions::for_target(target))?;
        let compiled = Compiled { plan: self.session.add(Plan::new(graph, target)?)?, output, drawn };
        self.plans.insert(kind, compiled.clone());
        Ok(compiled)
    }
}

fn input(graph: &mut Graph, name: &str, spec: Spec) -> Result<crate::graph::Value> {
    match spec.dtype {
        DType::Real => graph.input(name, spec.shape),
        DType::Index => graph.index_input(name, spec.shape),
    }
}

fn write(session: &mut dyn Session, plan: PlanId, input: &str, values: &Values) -> Result<()> {
    match values {
        Values::Real(values) => session.write(plan, input, values.data()),
        Values::Index(values) => session.write_indices(plan, input, values.data()),
    }
}
