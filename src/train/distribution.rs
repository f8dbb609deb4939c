//! Out-of-distribution detection: whether a recording is of the kind that a model was trained on.
//!
//! A network that was only ever asked "which of these songs?" is sure of itself in front of speech or noise as well. What
//! tells them apart is where they lie among the vectors that its last layer sees: the training clips' vectors form a cloud
//! around each song, of one common shape, and what is none of the songs is far from all of them (K. Lee et al., "A simple
//! unified framework for detecting out-of-distribution samples and adversarial attacks", 2018).

use super::metrics::{ClipTruth, softmax};
use super::weights::Weights;
use crate::{Error, Result, Tensor};
use std::path::Path;

/// Names of the tensors in a model file.
const MEANS: &str = "familiar.means";
const SHAPE: &str = "familiar.shape";
/// What the names begin with of tensors that are not the network's.
pub const PREFIX: &str = "familiar.";
/// Part of the mean variance that is added to every variance: with few recordings the cloud would seem flat.
const SHRINKAGE: f64 = 0.1;
/// The share of validation windows that count as no further away than usual.
const USUAL: f64 = 0.9;

/// The network's outputs for one window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowOutputs {
    /// A score for every output.
    pub logits: Vec<f32>,
    /// What the last layer saw.
    pub embedding: Vec<f32>,
}

/// See the top of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingDistribution {
    /// `[songs, C]`: the middle of each song's cloud.
    means: Tensor<f32>,
    /// `[C, C]`: the clouds' covariance is this lower triangle times its transpose.
    shape: Tensor<f32>,
    /// The squared distance, by dimension, up to which a window is as near as those of songs usually are.
    pub usual: f64,
}

impl TrainingDistribution {
    /// [`TrainingDistribution::fit`] to all windows of these clips.
    pub fn of_clips(training: &[ClipTruth], validation: &[ClipTruth]) -> Option<Self> {
        let (training, validation): (Vec<_>, Vec<_>) = (
            training.iter().flat_map(embeddings).collect(),
            validation.iter().flat_map(embeddings).map(|(x, _)| x).collect(),
        );
        Self::fit(&training, &validation)
    }

    /// Measures the clouds of `training` windows, (embedding, song), and how far from them `validation` windows usually
    /// are. None where there is too little to measure.
    pub fn fit(training: &[(&[f32], usize)], validation: &[&[f32]]) -> Option<Self> {
        let width = training.first()?.0.len();
        let songs = training.iter().map(|&(_, song)| song + 1).max()?;
        let mut means = vec![0.0f64; songs * width];
        let mut counts = vec![0usize; songs];
        for &(embedding, song) in training {
            counts[song] += 1;
            means[song * width..][..width].iter_mut().zip(embedding).for_each(|(m, &x)| *m += f64::from(x));
        }
        if counts.contains(&0) || validation.is_empty() {
            return None;
        }
        for (mean, &count) in means.chunks_exact_mut(width).zip(&counts) {
            mean.iter_mut().for_each(|m| *m /= count as f64);
        }
        let mut covariance = vec![0.0f64; width * width];
        for &(embedding, song) in training {
            let mean = &means[song * width..][..width];
            let off: Vec<f64> = embedding.iter().zip(mean).map(|(&x, m)| f64::from(x) - m).collect();
            for (row, &a) in covariance.chunks_exact_mut(width).zip(&off) {
                row.iter_mut().zip(&off).for_each(|(c, b)| *c += a * b / training.len() as f64);
            }
        }
        let trace: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
        for i in 0..width {
            covariance[i * width + i] += SHRINKAGE * trace / width as f64;
        }
        let shape = cholesky(covariance, width)?;
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let mut distribution = Self {
            means: Tensor::new([songs, width], single(&means)).ok()?,
            shape: Tensor::new([width, width], single(&shape)).ok()?,
            usual: 0.0,
        };
        let mut distances: Vec<f64> = validation.iter().map(|embedding| distribution.distance(embedding)).collect();
        distances.sort_by(f64::total_cmp);
        let at = (USUAL * distances.len() as f64) as usize;
        distribution.usual = distances[at.min(distances.len() - 1)];
        distribution.usual.is_finite().then_some(distribution)
    }

    /// The squared Mahalanobis distance to the nearest song's middle, divided by the number of dimensions.
    pub fn distance(&self, embedding: &[f32]) -> f64 {
        self.to_songs(embedding).into_iter().fold(f64::INFINITY, f64::min)
    }

    /// [`TrainingDistribution::between`] an embedding and each song's middle, to the same bits.
    fn to_songs(&self, embedding: &[f32]) -> Vec<f64> {
        let (width, songs) = (self.width(), self.means.shape()[0]);
        // Direction by direction, in each of them all songs: sums of one song must be made one after the other, those of many need not.
        let mut z = vec![0.0f64; width * songs];
        let (mut known, mut squares) = (vec![0.0f64; songs], vec![0.0f64; songs]);
        for (i, row) in self.shape.data().chunks_exact(width).enumerate() {
            known.fill(0.0);
            let (before, rest) = z.split_at_mut(i * songs);
            for (&l, z) in row[..i].iter().zip(before.chunks_exact(songs)) {
                known.iter_mut().zip(z).for_each(|(known, z)| *known += f64::from(l) * z);
            }
            let means = self.means.data().chunks_exact(width).map(|mean| f64::from(mean[i]));
            for (((z, known), mean), sum) in rest.iter_mut().zip(&known).zip(means).zip(&mut squares) {
                *z = (f64::from(embedding[i]) - mean - known) / f64::from(row[i]);
                *sum += *z * *z;
            }
        }
        squares.into_iter().map(|sum| sum / width as f64).collect()
    }

    /// The squared Mahalanobis distance between two embeddings, in the shape of the songs' clouds, divided by the number of dimensions.
    pub fn between(&self, a: &[f32], b: &[f32]) -> f64 {
        self.whitened(a, b).iter().map(|z| z * z).sum::<f64>() / self.width() as f64
    }

    /// How far embedding `a` is from `b` in each direction, in standard deviations of the songs' clouds.
    pub fn whitened(&self, a: &[f32], b: &[f32]) -> Vec<f64> {
        let width = self.width();
        // Forward substitution: `shape z = a - b`.
        let mut z = vec![0.0f64; width];
        for (i, row) in self.shape.data().chunks_exact(width).enumerate() {
            let known: f64 = row[..i].iter().zip(&z).map(|(&l, z)| f64::from(l) * z).sum();
            z[i] = (f64::from(a[i]) - f64::from(b[i]) - known) / f64::from(row[i]);
        }
        z
    }

    /// The mean of the songs' middles.
    pub fn centre(&self) -> Vec<f32> {
        let mut sum = vec![0.0f64; self.width()];
        for mean in self.means.data().chunks_exact(self.width()) {
            sum.iter_mut().zip(mean).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let songs = self.means.shape()[0] as f64;
        sum.into_iter().map(|sum| (sum / songs) as f32).collect()
    }

    /// What makes distances plain ones: a matrix `[C, C]`, rows first, by which embeddings (as rows) are multiplied from the right, so
    /// that the clouds become round and of one size, and the songs' middles in that space `[songs, C]`. The squared distance
    /// to the nearest, divided by C, is [`TrainingDistribution::distance`]. Given as (C, songs, matrix, middles).
    pub fn whitening(&self) -> (usize, usize, Vec<f32>, Vec<f32>) {
        let (width, songs) = (self.width(), self.means.shape()[0]);
        let origin = vec![0.0f32; width];
        let solved = |of: &[f32]| self.whitened(of, &origin).into_iter().map(|z| z as f32).collect::<Vec<_>>();
        let unit = |j: usize| (0..width).map(|i| f32::from(u8::from(i == j))).collect::<Vec<_>>();
        // Row j is column j of the inverse of the triangle: of its transpose.
        let matrix = (0..width).flat_map(|j| solved(&unit(j))).collect();
        let middles = self.means.data().chunks_exact(width).flat_map(solved).collect();
        (width, songs, matrix, middles)
    }

    /// 1 for what is no further away than usual, falling to 0.
    pub fn in_distribution(&self, embedding: &[f32]) -> f64 {
        (-(self.distance(embedding) - self.usual).max(0.0)).exp()
    }

    /// Adds the tensors to a model's.
    pub fn write(&self, weights: &mut Weights) {
        weights.tensors.insert(MEANS.into(), self.means.clone());
        weights.tensors.insert(SHAPE.into(), self.shape.clone());
    }

    /// Takes the tensors out of a model's.
    ///
    /// # Errors
    /// Where they are missing or contradict each other.
    pub fn take(weights: &mut Weights, usual: f64, path: &Path) -> Result<Self> {
        let mut tensor = |name: &str| {
            let missing = || Error::file(path, format!("its `{name}` is missing; copy or train it again"));
            weights.tensors.remove(name).ok_or_else(missing)
        };
        let (means, shape) = (tensor(MEANS)?, tensor(SHAPE)?);
        let good = means.shape().rank() == 2
            && shape.shape().dims() == [means.shape()[1]; 2]
            && [&means, &shape].iter().all(|t| t.data().iter().all(|x| x.is_finite()))
            && (0..means.shape()[1]).all(|i| shape.data()[i * (means.shape()[1] + 1)] > 0.0)
            && usual.is_finite();
        match good {
            true => Ok(Self { means, shape, usual }),
            false => Err(Error::file(path, format!("its `{MEANS}` and `{SHAPE}` make no sense; train it again"))),
        }
    }

    /// Numbers in an embedding.
    pub fn width(&self) -> usize {
        self.shape.shape()[0]
    }
}

/// Each of a clip's embeddings with the clip's song.
fn embeddings((windows, song): &ClipTruth) -> impl Iterator<Item = (&[f32], usize)> {
    windows.iter().map(|window| (&window.embedding[..], *song))
}

/// The last layer that tells songs apart by their clouds alone, `weight [songs, C]` and `bias [songs]`: the linear discriminant
/// `S^-1 m` and `-m S^-1 m / 2` of clouds of one covariance S around the middles m (R. Fisher, "The use of multiple measurements in
/// taxonomic problems", 1936).
///
/// # Errors
/// Never for what [`TrainingDistribution::fit`] gave.
pub fn discriminant(distribution: &TrainingDistribution) -> Result<(Tensor, Tensor)> {
    let (width, songs) = (distribution.width(), distribution.means.shape()[0]);
    let lower: Vec<f64> = distribution.shape.data().iter().map(|&x| f64::from(x)).collect();
    let (mut weight, mut bias) = (Vec::with_capacity(songs * width), Vec::with_capacity(songs));
    for mean in distribution.means.data().chunks_exact(width) {
        let mut z: Vec<f64> = mean.iter().map(|&x| f64::from(x)).collect();
        // `L y = m`, then `L^T z = y`.
        for i in 0..width {
            let known: f64 = (0..i).map(|k| lower[i * width + k] * z[k]).sum();
            z[i] = (z[i] - known) / lower[i * width + i];
        }
        for i in (0..width).rev() {
            let known: f64 = (i + 1..width).map(|k| lower[k * width + i] * z[k]).sum();
            z[i] = (z[i] - known) / lower[i * width + i];
        }
        bias.push((-0.5 * z.iter().zip(mean).map(|(z, &m)| z * f64::from(m)).sum::<f64>()) as f32);
        weight.extend(z.into_iter().map(|z| z as f32));
    }
    Ok((Tensor::new([songs, width], weight)?, Tensor::new([songs], bias)?))
}

/// A clip's probabilities: the mean over its windows. Of a window that is out of distribution they add up to less than 1.
pub fn probabilities(
    windows: &[WindowOutputs],
    temperature: f64,
    distribution: Option<&TrainingDistribution>,
) -> Vec<f64> {
    let mut mean = vec![0.0; windows.first().map_or(0, |inferred| inferred.logits.len())];
    for inferred in windows {
        let share = distribution.map_or(1.0, |distribution| distribution.in_distribution(&inferred.embedding))
            / windows.len() as f64;
        for (sum, p) in mean.iter_mut().zip(softmax(&inferred.logits, temperature)) {
            *sum += share * p;
        }
    }
    mean
}

/// The lower triangle L with `L L^T = a`, rows first; None where `a` is not positive definite.
fn cholesky(mut a: Vec<f64>, width: usize) -> Option<Vec<f64>> {
    for i in 0..width {
        for j in 0..=i {
            let product: f64 = (0..j).map(|k| a[i * width + k] * a[j * width + k]).sum();
            let rest = a[i * width + j] - product;
            a[i * width + j] = match i == j {
                true if rest > 0.0 && rest.is_finite() => rest.sqrt(),
                true => return None,
                false => rest / a[j * width + j],
            };
        }
        a[i * width + i + 1..(i + 1) * width].fill(0.0);
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two songs on a line, wide along the first axis and narrow along the second.
    fn two_clouds() -> Vec<([f32; 2], usize)> {
        let spots = [[-3.0, -0.1], [3.0, 0.1], [-1.0, 0.1], [1.0, -0.1]];
        let cloud = |song: usize| spots.map(|[x, y]| ([x + 20.0 * song as f32, y], song));
        [cloud(0), cloud(1)].concat()
    }

    #[test]
    fn distance_is_measured_in_the_shape_of_the_clouds() -> Result<()> {
        let clouds = two_clouds();
        let training: Vec<(&[f32], usize)> = clouds.iter().map(|(x, song)| (&x[..], *song)).collect();
        let validation: Vec<&[f32]> = clouds.iter().map(|(x, _)| &x[..]).collect();
        let Some(distribution) = TrainingDistribution::fit(&training, &validation) else {
            panic!("nothing was measured")
        };
        // Covariance: [[5, 0.1], [0.1, 0.01]], plus 0.1 * 2.505 on the diagonal.
        let (a, b, c) = (5.2505, 0.1, 0.2605);
        let (x, y) = (2.0, 1.0);
        let by_hand = (c * x * x - 2.0 * b * x * y + a * y * y) / (a * c - b * b) / 2.0;
        assert!(
            (distribution.distance(&[22.0, 1.0]) - by_hand).abs() < 1e-4,
            "{}",
            distribution.distance(&[22.0, 1.0])
        );
        for embedding in [[22.0, 1.0], [-3.5, 0.7]] {
            let each = distribution.means.data().chunks_exact(2).map(|mean| distribution.between(&embedding, mean));
            assert_eq!(distribution.to_songs(&embedding), each.collect::<Vec<_>>());
        }
        assert!(distribution.in_distribution(&[1.0, 0.0]) == 1.0 && distribution.in_distribution(&[10.0, 5.0]) < 1e-6);
        let inferred = |embedding: [f32; 2]| WindowOutputs { logits: vec![0.0, 0.0], embedding: embedding.to_vec() };
        let near = probabilities(&[inferred([0.0, 0.0]), inferred([10.0, 9.0])], 1.0, Some(&distribution));
        assert!((near[0] - 0.25).abs() < 1e-6 && near[0] == near[1]);
        assert_eq!(probabilities(&[inferred([10.0, 9.0])], 1.0, None), [0.5, 0.5]);
        let mut weights = Weights::default();
        distribution.write(&mut weights);
        let path = Path::new("m.safetensors");
        assert_eq!(TrainingDistribution::take(&mut weights.clone(), distribution.usual, path)?, distribution);
        weights.tensors.remove(SHAPE);
        assert!(
            TrainingDistribution::take(&mut weights, 1.0, path)
                .unwrap_err()
                .to_string()
                .contains("`familiar.shape` is missing")
        );
        Ok(())
    }

    #[test]
    fn the_discriminant_is_that_of_the_clouds() -> Result<()> {
        let clouds = two_clouds();
        let training: Vec<(&[f32], usize)> = clouds.iter().map(|(x, song)| (&x[..], *song)).collect();
        let Some(distribution) = TrainingDistribution::fit(&training, &[&[0.0, 0.0]]) else {
            panic!("nothing was measured")
        };
        let (weight, bias) = discriminant(&distribution)?;
        let score = |x: [f32; 2], song: usize| {
            let row = &weight.data()[2 * song..];
            f64::from(row[0] * x[0] + row[1] * x[1] + bias.data()[song])
        };
        // Half the difference of squared distances, which are by dimension here; the line between is in the middle.
        for x in [[9.0f32, 0.2], [10.0, 0.0], [12.0, -0.1]] {
            let to = |mean: [f32; 2]| {
                let [dx, dy] = [f64::from(x[0] - mean[0]), f64::from(x[1] - mean[1])];
                let (a, b, c) = (5.2505, 0.1, 0.2605);
                (c * dx * dx - 2.0 * b * dx * dy + a * dy * dy) / (a * c - b * b)
            };
            let by_hand = (to([0.0, 0.0]) - to([20.0, 0.0])) / 2.0;
            assert!((score(x, 1) - score(x, 0) - by_hand).abs() < 1e-3, "{x:?}: {by_hand}");
        }
        Ok(())
    }

    #[test]
    fn too_little_is_not_measured() {
        let point: &[f32] = &[1.0, 2.0];
        assert_eq!(TrainingDistribution::fit(&[], &[point]), None);
        assert_eq!(TrainingDistribution::fit(&[(point, 0)], &[]), None);
        assert_eq!(TrainingDistribution::fit(&[(point, 1)], &[point]), None, "song 0 has no clip");
        assert_eq!(TrainingDistribution::fit(&[(point, 0), (point, 1)], &[point]), None, "all are the same");
    }
}
