//! Cases of batch norm.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::tensor::{Shape, Spec};

fn train(graph: &mut Graph, x: &[Value]) -> crate::Result<Vec<Value>> {
    let made = graph.batch_norm(x[0], [x[1], x[2], x[3], x[4]], 0.1, 1e-5)?;
    Ok(vec![made.y, made.running_mean, made.running_var])
}

fn evaluate(graph: &mut Graph, x: &[Value]) -> crate::Result<Vec<Value>> {
    Ok(vec![graph.batch_norm_evaluate(x[0], [x[1], x[2], x[3], x[4]], 1e-5)?])
}

pub(super) fn cases() -> Vec<Case> {
    let inputs = |shape: &[usize]| {
        let channel = |low, high| Input::range([shape[1]], low, high);
        let x = if shape.iter().product::<usize>() > 100_000 {
            Input::real(Shape::new(shape)).constant()
        } else {
            Input::real(Shape::new(shape))
        };
        let (mean, var) = (channel(-0.5, 0.5).constant(), channel(0.5, 2.0).constant());
        [x, channel(0.5, 1.5), channel(-1.0, 1.0), mean, var]
    };
    let shapes: [(&'static str, &[usize]); 9] = [
        ("odd sizes", &[3, 5, 7, 3]),
        ("one item", &[1, 2, 3, 4]),
        ("one pixel", &[5, 3, 1, 1]),
        ("one channel", &[2, 1, 3, 3]),
        ("two elements", &[2, 2, 1, 1]),
        ("several parts", &[3, 2, 40, 43]),
        ("vectors", &[7, 5]),
        ("rows", &[3, 4, 9]),
        ("volumes", &[2, 3, 4, 5, 2]),
    ];
    let mut cases = Vec::new();
    for (name, shape) in shapes {
        if name != "two elements" {
            cases.push(Case::new("batch_norm", name, inputs(shape), train));
        }
        cases.push(Case::new("batch_norm_evaluate", name, inputs(shape), evaluate));
    }
    // More than one workgroup sums on a GPU, of planes that are whole numbers of fours and of one that is not. The tolerance is
    // explained below.
    for (name, shape) in [("several workgroups", [5, 2, 80, 83]), ("several workgroups, odd planes", [5, 2, 81, 83])] {
        cases.push(Case::new("batch_norm", name, inputs(&shape), train).tolerance(1e-9));
    }
    for (name, shape) in [("first block, batch 16", &[16, 8, 32, 43][..]), ("last block, batch 16", &[16, 64, 4, 6])] {
        // dgamma is a sum of products of either sign that nearly cancel (the normalised values add up to zero): in f32 some
        // 2e-5 of it is rounding, however it is added up.
        cases.push(Case::new("batch_norm", name, inputs(shape), train).bench().tolerance(1e-9));
        cases.push(Case::new("batch_norm_evaluate", name, inputs(shape), evaluate).bench().tolerance(1e-9));
    }
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let specs = |x: &[usize], c: usize| -> Vec<Spec> {
        std::iter::once(Spec::real(x)).chain((0..4).map(|_| Spec::real([c]))).collect()
    };
    vec![
        Refusal::new("batch_norm", "one axis", specs(&[3], 3), &["[N, C, ..]", "[3]"], train),
        Refusal::new("batch_norm", "other channels", specs(&[2, 3, 4, 5], 4), &["3 channels", "[4]"], train),
        Refusal::new("batch_norm", "one element", specs(&[1, 3, 1, 1], 3), &["[1, 3, 1, 1]", "one element"], train),
        Refusal::new(
            "batch_norm_evaluate",
            "other channels",
            specs(&[2, 3, 4, 5], 2),
            &["3 channels", "[2]"],
            evaluate,
        ),
        Refusal::new("batch_norm", "gradient of running statistics", specs(&[2, 3, 4, 5], 3), &["running"], |g, x| {
            let y = train(g, x)?[0];
            let loss = g.sum_all(y)?;
            g.gradients(loss, &[x[3]])
        }),
    ]
}
