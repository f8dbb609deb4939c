//! From the image to logits, and from them to probabilities.

use super::writer::{Name, Writer, float, int, ints};
use crate::nn::{BATCH_NORM_EPSILON, Pooling};
use crate::train::model::Model;
use crate::{Error, Result};

/// Logits [N V, outputs] and vectors [N V, C] of images [N V, channels, bands, frames].
pub fn network(w: &mut Writer, model: &Model, image: Name) -> Result<[Name; 2]> {
    let classifier = model.header.classifier();
    let mut x = image;
    for (i, block) in classifier.blocks.iter().enumerate() {
        let (conv, norm) = (format!("conv{}", i + 1), format!("bn{}", i + 1));
        let [weight, bias] = [weights(w, model, &conv, "weight")?, weights(w, model, &conv, "bias")?];
        let options = block.options();
        let two = |name: &str, of: [usize; 2]| ints(name, &of.map(|x| x as i64));
        let padding = [options.padding; 2].concat().into_iter().map(|x| x as i64).collect::<Vec<_>>();
        let attributes = vec![
            two("strides", options.stride),
            ints("pads", &padding),
            two("dilations", options.dilation),
            int("group", options.groups as i64),
        ];
        x = w.node("Conv", &format!("{conv}.out"), &[&x, &weight, &bias], attributes);
        x = w.node("Relu", &format!("relu{}", i + 1), &[&x], vec![]);
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let [scale, shift, mean, var] = parts.map(|part| weights(w, model, &norm, part));
        let inputs = [&*x, &*scale?, &*shift?, &*mean?, &*var?];
        let epsilon = vec![float("epsilon", BATCH_NORM_EPSILON)];
        x = w.node("BatchNormalization", &format!("{norm}.out"), &inputs, epsilon);
    }
    let over = |w: &mut Writer, op: &str, name: &str, x: &str, axes: &[i64]| {
        w.node(op, name, &[x], vec![ints("axes", axes), int("keepdims", 0)])
    };
    let vectors = match classifier.pooling {
        Pooling::Mean => over(w, "ReduceMean", "pooled", &x, &[2, 3]),
        Pooling::MaxFrequencyMeanTime => {
            let highest = over(w, "ReduceMax", "highest", &x, &[2]);
            over(w, "ReduceMean", "pooled", &highest, &[2])
        }
    };
    let [weight, bias] = [weights(w, model, "lin", "weight")?, weights(w, model, "lin", "bias")?];
    let logits = w.node("Gemm", "scores", &[&vectors, &weight, &bias], vec![int("transB", 1)]);
    Ok([logits, vectors])
}

fn weights(w: &mut Writer, model: &Model, layer: &str, part: &str) -> Result<Name> {
    let name = format!("{layer}.{part}");
    let missing = || Error::value(&*name, "is not among the model's weights");
    let tensor = model.weights.tensors.get(&name).ok_or_else(missing)?;
    Ok(w.reals(&name, tensor.shape().dims(), tensor.data().iter().copied()))
}

/// Probabilities [N, outputs] and how far each window is in distribution, `[N]`, as [`crate::train::predict::Predictor::windows`] says them of a window.
pub fn confidence(w: &mut Writer, model: &Model, logits: &str, vectors: &str, audible: &str) -> [Name; 2] {
    let header = &model.header;
    let (outputs, augmentations) = (header.outputs, header.front_end.augmentations.len());
    let temperature = w.real("temperature", header.temperature);
    let cooled = w.node("Div", "cooled", &[logits, &temperature], vec![]);
    let mut shares = w.node("Softmax", "softmax", &[&cooled], vec![int("axis", 1)]);
    let mean = |w: &mut Writer, name: &str, x: &str| {
        w.node("ReduceMean", name, &[x], vec![ints("axes", &[1]), int("keepdims", 0)])
    };
    let one = w.real("certain", 1.0);
    let in_distribution = match &model.distribution {
        None => w.node("Cast", "familiarity_known", &[audible], vec![int("to", 1)]),
        Some(distribution) => {
            let (width, songs, matrix, middles) = distribution.whitening();
            let matrix = w.reals("familiar.matrix", &[width, width], matrix);
            let middles = w.reals("familiar.middles", &[songs, width], middles);
            let white = w.node("MatMul", "white", &[vectors, &matrix], vec![]);
            let middle_axis = w.row("middle_axis", &[1]);
            let white = w.node("Unsqueeze", "white", &[&white, &middle_axis], vec![]);
            let off = w.node("Sub", "off", &[&white, &middles], vec![]);
            let squares = w.node("Mul", "off_squares", &[&off, &off], vec![]);
            let attributes = || vec![ints("axes", &[2]), int("keepdims", 0)];
            let distances = w.node("ReduceMean", "distances", &[&squares], attributes());
            let attributes = vec![ints("axes", &[1]), int("keepdims", 1)];
            let distance = w.node("ReduceMin", "distance", &[&distances], attributes);
            let usual = w.real("usual", distribution.usual);
            let beyond = w.node("Sub", "beyond", &[&distance, &usual], vec![]);
            let beyond = w.node("Relu", "beyond", &[&beyond], vec![]);
            let less = w.node("Neg", "less", &[&beyond], vec![]);
            let share = w.node("Exp", "share", &[&less], vec![]);
            shares = w.node("Mul", "shares", &[&shares, &share], vec![]);
            let share = by_augmentation(w, &share, augmentations, 1);
            let all = w.row("both_axes", &[-1]);
            let share = mean(w, "share", &share);
            w.node("Reshape", "share", &[&share, &all], vec![])
        }
    };
    let in_distribution = w.node("Where", "familiar", &[audible, &in_distribution, &one], vec![]);
    let shares = by_augmentation(w, &shares, augmentations, outputs);
    let likely = mean(w, "likely", &shares);
    let column = w.row("column", &[-1, 1]);
    let sounds = w.node("Reshape", "sounds", &[audible, &column], vec![]);
    let never = w.real("never", 0.0);
    let likely = w.node("Where", "likely", &[&sounds, &likely, &never], vec![]);
    [likely, in_distribution]
}

/// [N A, width] as [N, A, width].
pub fn by_augmentation(w: &mut Writer, x: &str, augmentations: usize, width: usize) -> Name {
    let shape = w.row("by_view_shape", &[-1, augmentations as i64, width as i64]);
    w.node("Reshape", "by_view", &[x, &shape], vec![])
}
