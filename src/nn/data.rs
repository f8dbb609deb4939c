//! Training data: values, batches of them, and data held in memory.

use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, Spec, Tensor};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

/// Inputs or targets of a batch; the first axis is that of the items.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Real numbers: samples, pixels, numbers to be predicted.
    Real(Tensor<f32>),
    /// Indices: numbers of classes or of words.
    Index(Tensor<u32>),
}

impl From<Tensor<f32>> for Values {
    fn from(values: Tensor<f32>) -> Self {
        Self::Real(values)
    }
}

impl From<Tensor<u32>> for Values {
    fn from(values: Tensor<u32>) -> Self {
        Self::Index(values)
    }
}

impl From<Vec<u32>> for Values {
    fn from(classes: Vec<u32>) -> Self {
        Self::Index(Tensor::from(classes))
    }
}

impl Values {
    /// Shape and type.
    pub fn spec(&self) -> Spec {
        match self {
            Self::Real(values) => Spec { shape: values.shape(), dtype: DType::Real },
            Self::Index(values) => Spec { shape: values.shape(), dtype: DType::Index },
        }
    }

    /// The number of items: the first axis.
    pub fn items(&self) -> usize {
        self.spec().shape.dims().first().copied().unwrap_or(0)
    }

    /// The items of these numbers, in their order.
    ///
    /// # Errors
    /// If there is none, or no such item.
    pub fn select(&self, items: &[usize]) -> Result<Self> {
        Ok(match self {
            Self::Real(values) => Self::Real(select(values, items)?),
            Self::Index(values) => Self::Index(select(values, items)?),
        })
    }
}

fn select<T: Copy>(values: &Tensor<T>, items: &[usize]) -> Result<Tensor<T>> {
    let shape = values.shape();
    let count = shape.dims().first().copied().unwrap_or(0);
    if items.is_empty() || items.iter().any(|&item| item >= count) {
        return Err(Error::value("items", format!("{items:?} are not some of the {count} items of shape {shape}")));
    }
    let each = shape.elements() / count;
    let data = items.iter().flat_map(|item| &values.data()[item * each..][..each]).copied().collect();
    let mut dims = shape.dims().to_vec();
    dims[0] = items.len();
    Tensor::new(Shape::new(&dims), data)
}

/// Some items and their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The inputs `[N, ..]`.
    pub x: Values,
    /// The targets `[N, ..]`: what the loss expects.
    pub targets: Values,
}

/// A source of batches, epoch after epoch. `B` may be another kind of batch, for a custom [`Learner`](super::Learner).
pub trait Batches<B = Batch> {
    /// The batches of an epoch, counted from 0. They must be the same ones in the same order at every call, so that training can resume in
    /// the middle of an epoch.
    ///
    /// # Errors
    /// If they cannot be read.
    fn epoch(&mut self, epoch: usize) -> Result<Box<dyn Iterator<Item = Result<B>> + '_>>;
}

/// Inputs and targets held in memory.
#[derive(Clone, Debug)]
pub struct Data {
    x: Values,
    targets: Values,
}

impl Data {
    /// Inputs and targets, item by item.
    ///
    /// # Errors
    /// If there are none, or not as many of the one as of the other.
    pub fn new(x: impl Into<Values>, targets: impl Into<Values>) -> Result<Self> {
        let (x, targets) = (x.into(), targets.into());
        let (items, wanted) = (x.items(), targets.items());
        if items != wanted || items == 0 {
            return Err(Error::Data(format!(
                "{items} inputs and {wanted} targets: there must be one target for each input, and at least one"
            )));
        }
        Ok(Self { x, targets })
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.x.items()
    }

    /// The inputs.
    pub fn x(&self) -> &Values {
        &self.x
    }

    /// The targets.
    pub fn targets(&self) -> &Values {
        &self.targets
    }

    /// The items of these numbers.
    ///
    /// # Errors
    /// If there is none, or no such item.
    pub fn select(&self, items: &[usize]) -> Result<Self> {
        Ok(Self { x: self.x.select(items)?, targets: self.targets.select(items)? })
    }

    /// A random share of the items, and the others: `[share, rest]`. If items belong together (those of one person, for example) and should
    /// be on one side, choose them with [`Data::select`].
    ///
    /// # Errors
    /// If a side would be empty.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2]> {
        let mut order: Vec<usize> = (0..self.items()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let first = (share * self.items() as f64).round() as usize;
        if first == 0 || first >= self.items() {
            return Err(Error::Data(format!("a share of {share} of {} items leaves a side empty", self.items())));
        }
        let (a, b) = order.split_at(first);
        Ok([self.select(a)?, self.select(b)?])
    }

    /// Batches of this many items, in a random order that differs in each epoch and depends on the seed. The last batch has the remaining items.
    pub fn shuffled(&self, batch: usize, seed: u64) -> InMemory<'_> {
        InMemory { data: self, batch: batch.max(1), seed: Some(seed) }
    }

    /// Batches of this many items in their order. The last batch has the remaining items.
    pub fn batches(&self, batch: usize) -> InMemory<'_> {
        InMemory { data: self, batch: batch.max(1), seed: None }
    }
}

/// Batches of [`Data`].
#[derive(Clone, Debug)]
pub struct InMemory<'a> {
    data: &'a Data,
    batch: usize,
    seed: Option<u64>,
}

impl Batches for InMemory<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>> {
        let mut order: Vec<usize> = (0..self.data.items()).collect();
        if let Some(seed) = self.seed {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Another stream for each epoch, so that any epoch can be had without the ones before.
            rng.set_stream(epoch as u64);
            order.shuffle(&mut rng);
        }
        let (data, batch) = (self.data, self.batch);
        let starts = (0..order.len()).step_by(batch);
        Ok(Box::new(starts.map(move |start| {
            let items = &order[start..(start + batch).min(order.len())];
            Ok(Batch { x: data.x.select(items)?, targets: data.targets.select(items)? })
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        let x: Vec<f32> = (0..14).map(|i| i as f32).collect();
        Data::new(Tensor::new([7, 2], x).unwrap(), (0..7).collect::<Vec<u32>>()).unwrap()
    }

    fn classes(batches: &mut InMemory<'_>, epoch: usize) -> Vec<Vec<u32>> {
        let of = |batch: Result<Batch>| match batch.unwrap() {
            Batch { x: Values::Real(x), targets: Values::Index(targets) } => {
                let firsts = x.data().chunks(2).map(|pair| pair[0] as u32 / 2);
                assert!(firsts.eq(targets.data().iter().copied()), "an item without its target");
                targets.into_data()
            }
            other => panic!("{other:?}"),
        };
        batches.epoch(epoch).unwrap().map(of).collect()
    }

    #[test]
    fn batches_hold_each_item_once_and_in_another_order_each_epoch() {
        let data = data();
        assert_eq!(classes(&mut data.batches(3), 0), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        let mut shuffled = data.shuffled(3, 5);
        let (first, second) = (classes(&mut shuffled, 0), classes(&mut shuffled, 1));
        assert_ne!(first, second);
        assert_eq!(classes(&mut data.shuffled(3, 5), 1), second, "an epoch depends on seed and number alone");
        for epoch in [first, second] {
            let mut all = epoch.concat();
            all.sort_unstable();
            assert_eq!(all, (0..7).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn a_split_has_every_item_on_one_side() {
        let [a, b] = data().split(0.3, 1).unwrap();
        assert_eq!((a.items(), b.items()), (2, 5));
        let of = |data: &Data| classes(&mut data.batches(9), 0).concat();
        let mut all = [of(&a), of(&b)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<u32>>());
        assert!(data().split(0.01, 1).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Data::new(Tensor::full([3, 2], 0.0), vec![0, 1]).is_err());
        assert!(data().select(&[7]).is_err() && data().select(&[]).is_err());
    }
}
