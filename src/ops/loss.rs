//! Losses of class scores in all their forms, composed of other operations: class weights, an ignored class, sum or mean or each item's loss,
//! targets that are distributions. The plain mean over one axis of classes has kernels of its own: [`Graph::cross_entropy`].
//!
//! With `lp` the log-probabilities, c an item's class, C classes, weights w and smoothing s, its loss is
//! `-(1 - s) w[c] lp[c] - s / C sum(w lp)`; the mean divides the sum by that of the weights `w[c]` of all items that count, as
//! PyTorch's `CrossEntropyLoss` and `NLLLoss` do.

use super::gather::Gather;
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::tensor::{DType, Shape};

/// How the items' losses are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossReduction {
    /// Their mean, `[1]`, weighted with the weights of the items' classes.
    #[default]
    Mean,
    /// Their sum, `[1]`.
    Sum,
    /// No reduction: the losses in the shape of the classes.
    None,
}

/// Options of a loss of class scores.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossOptions {
    /// The weights of the classes, `[C]`; the default is 1 for all. It has no gradient.
    pub weights: Option<Value>,
    /// The class whose items are ignored. It may be C, one more than the last class, for items without a class.
    pub ignore: Option<usize>,
    /// Label smoothing: the share of the target that is spread evenly over all classes.
    pub smoothing: f64,
    /// How the items' losses are reduced.
    pub reduction: LossReduction,
}

impl Graph {
    /// The cross-entropy of scores `[N, C, ..]` with classes `[N, ..]`, or with distributions over the classes: real targets of the
    /// scores' shape. The mean over distributions is over all items, whatever the weights.
    ///
    /// # Errors
    /// If shapes do not fit, the ignored class is greater than C or the targets are distributions, or the smoothing is not in `[0, 1]`.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// # use humdinger::ops::LossOptions;
    /// let scores = graph.constant([2, 2], vec![3.0, 3.0, 5.0, -5.0])?;
    /// let classes = graph.index_constant([2], vec![0, 1])?;
    /// let options = LossOptions { ignore: Some(1), ..LossOptions::default() };
    /// let loss = graph.cross_entropy_with(scores, classes, options)?;
    /// assert!((graph.evaluate(loss, &[])?.data()[0] - 2f64.ln()).abs() < 1e-12, "the second item does not count");
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn cross_entropy_with(&mut self, scores: Value, targets: Value, options: LossOptions) -> Result<Value> {
        let name = "cross_entropy";
        if self.spec(targets).dtype == DType::Index {
            check(self, name, scores, targets, options)?;
            let log_probabilities = self.log_softmax_over(scores, 1)?;
            return self.negative_log_likelihood(name, log_probabilities, targets, options);
        }
        let (shape, goal) = (self.shape(scores), self.shape(targets));
        if shape != goal || shape.rank() < 2 || options.ignore.is_some() {
            let detail = format!(
                "targets that are distributions have shape {goal}, scores {shape}; both must be one [N, C, ..], and no class can \
                 be ignored"
            );
            return Err(Error::op(name, detail));
        }
        check_numbers(self, name, shape, options)?;
        let log_probabilities = self.log_softmax_over(scores, 1)?;
        let mut targets = targets;
        if options.smoothing > 0.0 {
            let spread = self.constant([1], vec![options.smoothing / shape[1] as f64])?;
            targets = self.scale(targets, 1.0 - options.smoothing)?;
            targets = self.add(targets, spread)?;
        }
        let weighted = self.weigh_classes(log_probabilities, options)?;
        let products = self.multiply(weighted, targets)?;
        let sums = self.sum(products, &[1], false)?;
        let losses = self.scale(sums, -1.0)?;
        self.reduce_losses(losses, None, options)
    }

    /// The loss of log-probabilities `[N, C, ..]` with classes `[N, ..]`: [`Graph::cross_entropy_with`] without the softmax.
    ///
    /// # Errors
    /// As there.
    pub fn nll_loss(&mut self, log_probabilities: Value, classes: Value, options: LossOptions) -> Result<Value> {
        self.negative_log_likelihood("nll_loss", log_probabilities, classes, options)
    }

    fn negative_log_likelihood(
        &mut self,
        name: &'static str,
        x: Value,
        classes: Value,
        options: LossOptions,
    ) -> Result<Value> {
        check(self, name, x, classes, options)?;
        let shape = self.shape(x);
        let items = self.shape(classes);
        let column = Shape::new(&[&[shape[0], 1], &shape.dims()[2..]].concat());
        let column_of_classes = self.reshape(classes, column)?;
        let picked = self.apply_one(Gather { axis: 1, each: true, skip: options.ignore }, &[x, column_of_classes])?;
        let losses = self.scale(picked, options.smoothing - 1.0)?;
        let mut losses = self.reshape(losses, items)?;
        let of_class = Gather { axis: 0, each: false, skip: options.ignore };
        let counted = if options.ignore.is_some() {
            let ones = self.constant([shape[1]], vec![1.0; shape[1]])?;
            Some(self.apply_one(of_class, &[ones, classes])?)
        } else {
            None
        };
        let mut weights = counted;
        if let Some(of_classes) = options.weights {
            let of_items = self.apply_one(of_class, &[of_classes, classes])?;
            losses = self.multiply(losses, of_items)?;
            weights = Some(of_items);
        }
        if options.smoothing > 0.0 {
            let weighted = self.weigh_classes(x, options)?;
            let mut spread = self.sum(weighted, &[1], false)?;
            if let Some(counted) = counted {
                spread = self.keep(spread, counted)?;
            }
            let spread = self.scale(spread, -options.smoothing / shape[1] as f64)?;
            losses = self.add(losses, spread)?;
        }
        self.reduce_losses(losses, weights, options)
    }

    /// x `[N, C, ..]` times the weights of the classes.
    fn weigh_classes(&mut self, x: Value, options: LossOptions) -> Result<Value> {
        let Some(weights) = options.weights else { return Ok(x) };
        let shape = self.shape(x);
        let mut dims = vec![1; shape.rank() - 1];
        dims[0] = shape[1];
        let weights = self.reshape(weights, &dims[..])?;
        self.multiply(x, weights)
    }

    /// `weights` are those of the items in their mean.
    fn reduce_losses(&mut self, losses: Value, weights: Option<Value>, options: LossOptions) -> Result<Value> {
        if options.reduction == LossReduction::None {
            return Ok(losses);
        }
        let count = self.shape(losses).elements();
        let mut loss = self.sum_all(losses)?;
        if options.reduction == LossReduction::Mean {
            loss = match weights {
                Some(weights) => {
                    let sum = self.sum_all(weights)?;
                    self.divide(loss, sum)?
                }
                None => self.scale(loss, 1.0 / count as f64)?,
            };
        }
        self.reshape(loss, [1])
    }
}

fn check(graph: &Graph, name: &'static str, x: Value, classes: Value, options: LossOptions) -> Result<()> {
    let (scores, items) = (graph.spec(x), graph.spec(classes));
    let dims = scores.shape.dims();
    let fits = dims.len() >= 2 && scores.dtype == DType::Real && items.dtype == DType::Index;
    if !fits || items.shape.dims() != [&dims[..1], &dims[2..]].concat() {
        let detail = format!(
            "the scores have shape {} and the classes {}; they must be real numbers [N, C, ..] and indices [N, ..]",
            scores.shape, items.shape
        );
        return Err(Error::op(name, detail));
    }
    check_numbers(graph, name, scores.shape, options)
}

fn check_numbers(graph: &Graph, name: &'static str, scores: Shape, options: LossOptions) -> Result<()> {
    if !(0.0..=1.0).contains(&options.smoothing) {
        return Err(Error::op(name, format!("the label smoothing must be between 0 and 1, not {}", options.smoothing)));
    }
    if let Some(weights) = options.weights.filter(|&weights| graph.shape(weights).dims() != [scores[1]]) {
        let detail = format!(
            "for scores of shape {scores} the weights must have shape [{}], not {}",
            scores[1],
            graph.shape(weights)
        );
        return Err(Error::op(name, detail));
    }
    if let Some(ignore) = options.ignore.filter(|&ignore| ignore > scores[1]) {
        let detail = format!(
            "scores of shape {scores} have no class {ignore} to be ignored; items without a class have the number {}",
            scores[1]
        );
        return Err(Error::op(name, detail));
    }
    Ok(())
}
