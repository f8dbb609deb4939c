//! Cases of matrix products and the linear layer.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::ops::Matmul;
use crate::tensor::{Shape, Spec};

fn matmul(name: &'static str, a: &[usize], b: &[usize], transpose_a: bool, transpose_b: bool) -> Case {
    let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.apply_one(Matmul { transpose_a, transpose_b }, x)?]);
    Case::new("matmul", name, [Input::real(Shape::new(a)), Input::real(Shape::new(b))], build)
}

fn linear(name: &'static str, items: usize, inputs: usize, outputs: usize) -> Case {
    let all = [Input::real([items, inputs]), Input::real([outputs, inputs]), Input::real([outputs])];
    Case::new("linear", name, all, |g, x| Ok(vec![g.linear(x[0], x[1], x[2])?]))
}

/// Batches that differ.
fn broadcast(name: &'static str, a: &[usize], b: &[usize]) -> Case {
    let inputs = [Input::real(Shape::new(a)), Input::real(Shape::new(b))];
    Case::new("matmul", name, inputs, |g, x| Ok(vec![g.matmul(x[0], x[1])?]))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        broadcast("a batch of one meets many", &[1, 3, 4], &[5, 4, 2]),
        broadcast("one a for the batch", &[3, 4], &[2, 5, 4, 3]),
        broadcast("a batch of one b", &[2, 3, 4, 6], &[1, 1, 6, 5]),
        broadcast("both repeat", &[3, 1, 4, 6], &[1, 2, 6, 5]),
        matmul("one", &[1, 1], &[1, 1], false, false),
        matmul("odd", &[3, 7], &[7, 5], false, false),
        matmul("a transposed", &[7, 3], &[7, 5], true, false),
        matmul("b transposed", &[3, 7], &[5, 7], false, true),
        matmul("both transposed", &[7, 3], &[5, 7], true, true),
        matmul("batch", &[2, 3, 4, 6], &[2, 3, 6, 5], false, false),
        matmul("batch, both transposed", &[3, 6, 4], &[3, 5, 6], true, true),
        matmul("one b for the batch", &[2, 3, 4, 6], &[6, 5], false, false),
        matmul("one transposed b for the batch", &[3, 4, 6], &[5, 6], false, true),
        matmul("inner product", &[1, 300], &[300, 1], false, false),
        matmul("outer product", &[70, 1], &[1, 130], false, false),
        matmul("long sums", &[2, 9000], &[9000, 3], false, false),
        matmul("beyond one tile", &[131, 37], &[37, 133], false, false),
        matmul("large", &[256, 300], &[300, 200], false, false).bench(),
        matmul("large, b transposed", &[256, 300], &[200, 300], false, true).bench(),
        linear("one", 1, 1, 1),
        linear("odd", 3, 7, 5),
        linear("one item", 1, 64, 10),
        linear("one output", 6, 9, 1),
        linear("many items", 500, 17, 9),
        linear("classifier", 4, 64, 10).bench(),
        linear("wide", 64, 512, 300).bench(),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    let matmul = |name, words, a: &[usize], b: &[usize], transpose_a| {
        let build =
            move |g: &mut Graph, x: &[Value]| Ok(vec![g.apply_one(Matmul { transpose_a, transpose_b: false }, x)?]);
        Refusal::new("matmul", name, [Spec::real(Shape::new(a)), Spec::real(Shape::new(b))], words, build)
    };
    let linear = |name, words, x: &[usize], w: &[usize], b: &[usize]| {
        Refusal::new("linear", name, [x, w, b].map(|s| Spec::real(Shape::new(s))), words, |g, x| {
            Ok(vec![g.linear(x[0], x[1], x[2])?])
        })
    };
    vec![
        matmul("inner axes differ", &["[3, 4]", "[5, 6]"], &[3, 4], &[5, 6], false),
        matmul("transposed inner axes differ", &["[3, 4]", "[4, 6]"], &[3, 4], &[4, 6], true),
        matmul("batches differ", &["[2, 3, 4]", "[3, 4, 5]"], &[2, 3, 4], &[3, 4, 5], false),
        Refusal::new(
            "matmul",
            "batches do not broadcast",
            [Spec::real([2, 3, 4]), Spec::real([3, 4, 5])],
            &["[2, 3, 4]", "[3, 4, 5]"],
            |g, x| Ok(vec![g.matmul(x[0], x[1])?]),
        ),
        matmul("a vector", &["two axes", "[4]"], &[3, 4], &[4], false),
        matmul("a transposed batch and one b", &["[2, 4, 3]"], &[2, 4, 3], &[4, 5], true),
        linear("inputs differ", &["[3, 4]", "[5, 6]"], &[3, 4], &[5, 6], &[5]),
        linear("outputs differ", &["[6, 4]", "[5]"], &[3, 4], &[6, 4], &[5]),
        linear("not flat", &["[3, 4, 1]"], &[3, 4, 1], &[6, 4], &[6]),
    ]
}
