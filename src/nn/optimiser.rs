//! Adam, and gradient descent with momentum, over a group of states.

use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::graph::{Graph, GroupId, PlanId, Session, States, Value};
use crate::ops::{AdamStep, Part, SgdStep};

/// Name of the graph input that carries the step's numbers: [`AdamStep::LEN`] of them.
pub const STEP: &str = "adam.step";

/// Name of the graph input that carries the numbers of a step of [`Sgd`]: [`SgdStep::LEN`] of them.
pub const SGD_STEP: &str = "sgd.step";

/// Adam with optional weight decay and clipping by norm; see [`ops::AdamUpdate`](crate::ops::AdamUpdate) for the formula.
///
/// The moments are states beside the parameters. The number of steps is kept here, and a checkpoint must
/// store it.
#[derive(Clone, Debug)]
pub struct Adam {
    /// Decay of the mean of squares.
    pub beta2: f64,
    /// Keeps the divisor away from zero.
    pub epsilon: f64,
    /// Weight decay; 0 for none.
    pub weight_decay: f64,
    /// Whether weight decay is part of the gradient, after clipping, as in PyTorch's `Adam`, instead of decoupled from it, as in
    /// `AdamW`.
    pub coupled: bool,
    /// Gradients with a larger norm are clipped to this norm, if given.
    pub max_norm: Option<f64>,
    /// Steps taken.
    pub steps: u64,
    parameters: GroupId,
    moments: [GroupId; 2],
}

impl Adam {
    /// Adam with PyTorch's defaults for all states of the group `parameters`; adds its moments to `states`.
    ///
    /// # Errors
    /// If the moments exist already.
    pub fn new(states: &mut States, parameters: GroupId) -> Result<Self> {
        let moments = [states.add_like(parameters, "adam.mean")?, states.add_like(parameters, "adam.square")?];
        Ok(Self {
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            coupled: false,
            max_norm: None,
            steps: 0,
            parameters,
            moments,
        })
    }

    /// Adds to a graph the gradients of `loss` with respect to all parameters, and the step that changes them.
    ///
    /// # Errors
    /// If the loss does not depend on a parameter, or through an operation without gradient.
    pub fn minimise(&self, graph: &mut Graph, loss: Value) -> Result<()> {
        self.minimise_with(graph, loss, None)
    }

    /// The same where `loss` is a rank's part of the batch's: see [`Part`].
    ///
    /// # Errors
    /// As [`Adam::minimise`].
    pub fn minimise_part(&self, graph: &mut Graph, loss: Value, part: Part) -> Result<()> {
        self.minimise_with(graph, loss, Some(part))
    }

    fn minimise_with(&self, graph: &mut Graph, loss: Value, part: Option<Part>) -> Result<()> {
        let mut gradient = packed_gradient(graph, loss, self.parameters, self.max_norm, part)?;
        if self.coupled && self.weight_decay != 0.0 {
            let parameters = graph.state_group(self.parameters);
            let decay = graph.scale(parameters, self.weight_decay)?;
            gradient = graph.add(gradient, decay)?;
        }
        let step = graph.input(STEP, [AdamStep::LEN])?;
        let state = [self.parameters, self.moments[0], self.moments[1]].map(|group| graph.state_group(group));
        let new = graph.adam([state[0], state[1], state[2], gradient], step)?;
        for (state, new) in state.into_iter().zip(new) {
            graph.assign(state, new)?;
        }
        Ok(())
    }

    /// The numbers of step `t`, counted from 1.
    pub fn numbers(&self, t: u64, rate: f64, beta1: f64) -> AdamStep {
        let t = t.min(i32::MAX as u64) as i32;
        let correction = (1.0 - self.beta2.powi(t)).sqrt();
        AdamStep {
            step_size: rate * correction / (1.0 - beta1.powi(t)),
            one_minus_beta1: 1.0 - beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            epsilon: self.epsilon * correction,
            decay: if self.coupled { 1.0 } else { 1.0 - rate * self.weight_decay },
        }
    }

    /// Counts the next step, and returns the numbers that a plan made with [`Adam::minimise`] reads from its input [`STEP`].
    ///
    /// # Errors
    /// If the learning rate or beta1 is not valid.
    pub fn next(&mut self, rate: f64, beta1: f64) -> Result<[f32; AdamStep::LEN]> {
        Ok(self.next_step(rate, beta1)?.to_array())
    }

    /// The same with the learning rate and beta1 of a schedule, and that rate.
    ///
    /// # Errors
    /// As [`Adam::next`].
    pub fn next_scheduled(&mut self, schedule: &Schedule) -> Result<([f32; AdamStep::LEN], f64)> {
        let (rate, beta1) = schedule.at(usize::try_from(self.steps).unwrap_or(usize::MAX));
        Ok((self.next(rate, beta1)?, rate))
    }

    /// Counts the next step, and gives its numbers in f64.
    fn next_step(&mut self, rate: f64, beta1: f64) -> Result<AdamStep> {
        if !(rate.is_finite() && rate >= 0.0 && (0.0..1.0).contains(&beta1)) {
            return Err(Error::value("learning rate", format!("rate {rate} or beta1 {beta1} makes no sense")));
        }
        self.steps += 1;
        Ok(self.numbers(self.steps, rate, beta1))
    }

    /// To be called before each run of a plan made with [`Adam::minimise`]: counts the step and writes its learning rate and beta1.
    ///
    /// # Errors
    /// If the plan was not made with [`Adam::minimise`], or a number is not valid.
    pub fn before_step(&mut self, session: &mut dyn Session, plan: PlanId, rate: f64, beta1: f64) -> Result<()> {
        let numbers = self.next_step(rate, beta1)?;
        session.write_exact(plan, STEP, &numbers.exact())
    }
}

/// The gradients of `loss` with respect to all states of a group, side by side as they are, clipped to a norm.
fn packed_gradient(
    graph: &mut Graph,
    loss: Value,
    group: GroupId,
    max_norm: Option<f64>,
    part: Option<Part>,
) -> Result<Value> {
    let names: Vec<String> = graph.states().of_group(group).map(|state| state.name.clone()).collect();
    let parameters: Vec<Value> = names.iter().map(|name| graph.state(name)).collect::<Result<_>>()?;
    let gradients = graph.gradients(loss, &parameters)?;
    let mut gradient = graph.pack(group, &gradients)?;
    if let Some(part) = part {
        gradient = graph.across(gradient, part.counts)?;
    }
    let Some(max_norm) = max_norm else { return Ok(gradient) };
    let [factor, _] = graph.clip_factor(gradient, max_norm)?;
    graph.multiply(gradient, factor)
}

/// Stochastic gradient descent with momentum (optionally Nesterov's), weight decay and clipping by norm; see
/// [`ops::SgdUpdate`](crate::ops::SgdUpdate) for the formula. The velocity is a state beside the parameters.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// The part of the velocity that is kept at each step; 0 for plain gradient descent.
    pub momentum: f64,
    /// Whether momentum is Nesterov's.
    pub nesterov: bool,
    /// Weight decay, as part of the gradient after clipping; 0 for none.
    pub weight_decay: f64,
    /// Gradients with a larger norm are clipped to this norm, if given.
    pub max_norm: Option<f64>,
    parameters: GroupId,
    velocity: GroupId,
}

impl Sgd {
    /// Gradient descent without momentum for all states of the group `parameters`; adds its velocity to `states`.
    ///
    /// # Errors
    /// If the velocity exists already.
    pub fn new(states: &mut States, parameters: GroupId) -> Result<Self> {
        let velocity = states.add_like(parameters, "sgd.velocity")?;
        Ok(Self { momentum: 0.0, nesterov: false, weight_decay: 0.0, max_norm: None, parameters, velocity })
    }

    /// Adds to a graph the gradients of `loss` with respect to all parameters, and the step that changes them.
    ///
    /// # Errors
    /// If the loss does not depend on a parameter, or through an operation without gradient.
    pub fn minimise(&self, graph: &mut Graph, loss: Value) -> Result<()> {
        let gradient = packed_gradient(graph, loss, self.parameters, self.max_norm, None)?;
        let step = graph.input(SGD_STEP, [SgdStep::LEN])?;
        let state = [self.parameters, self.velocity].map(|group| graph.state_group(group));
        let new = graph.sgd([state[0], state[1], gradient], step, self.nesterov)?;
        for (state, new) in state.into_iter().zip(new) {
            graph.assign(state, new)?;
        }
        Ok(())
    }

    /// To be called before each run of a plan made with [`Sgd::minimise`]: writes its learning rate, momentum and weight decay.
    ///
    /// # Errors
    /// If the plan was not made with [`Sgd::minimise`], or a number is not valid.
    pub fn before_step(&self, session: &mut dyn Session, plan: PlanId, rate: f64) -> Result<()> {
        let (momentum, decay) = (self.momentum, self.weight_decay);
        if !(rate.is_finite() && rate >= 0.0 && (0.0..1.0).contains(&momentum) && decay.is_finite()) {
            let detail = format!("rate {rate}, momentum {momentum} or weight decay {decay} makes no sense");
            return Err(Error::value("learning rate", detail));
        }
        session.write_exact(plan, SGD_STEP, &SgdStep { rate, momentum, decay }.exact())
    }
}
