//! Cases of the functions of one number, of softmax and layer norm, which are made of them, and of maximum and minimum.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::ops::{Binary, Unary, UnaryGradient};
use crate::tensor::{Shape, Spec};
use std::f64::consts::PI;

const CLAMP: Unary = Unary::Clamp { low: -1.25, high: 0.5 };

/// Every function, and inputs at which it is smooth.
fn functions(shape: Shape) -> [(Unary, Input); 9] {
    [
        (Unary::Exp, Input::real(shape)),
        (Unary::Log, Input::range(shape, 0.25, 4.0)),
        (Unary::Sqrt, Input::range(shape, 0.25, 4.0)),
        (Unary::Abs, Input::kinked(shape, 0.0)),
        (Unary::Tanh, Input::real(shape)),
        (Unary::Sigmoid, Input::range(shape, -6.0, 6.0)),
        (Unary::Gelu, Input::range(shape, -4.0, 4.0)),
        (Unary::GeluTanh, Input::range(shape, -4.0, 4.0)),
        (CLAMP, Input::kinked(shape, 0.5)),
    ]
}

fn name(function: Unary) -> &'static str {
    crate::graph::Op::name(&function)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let apply = |title, function: Unary, input: Input| {
        Case::new(name(function), title, [input], move |g, x| Ok(vec![g.apply_one(function, x)?]))
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let special =
        || Input::given([13], vec![nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 0.1, -0.1, 1e30, -1e30]);
    for (title, shape) in [("one", &[1][..]), ("map", &[2, 3, 5, 7])] {
        cases.extend(functions(Shape::new(shape)).map(|(function, input)| apply(title, function, input)));
    }
    cases.extend(functions(Shape::from([4, 64, 40, 87])).map(|(f, input)| apply("large", f, input).bench()));
    for (function, _) in functions(Shape::from([1])) {
        // In f32 exp(30) and 1e30 leave nothing of the rest: what is held is where NaN and infinities are, and signs.
        cases.push(apply("special values", function, special()).not_differentiable());
        let dy = Input::given([13], (0..13).map(|i| f64::from(i) - 6.5).collect());
        // At 0 and infinity the rest have quotients or products that WGSL leaves open.
        if matches!(function, Unary::Abs | Unary::Clamp { .. } | Unary::Tanh | Unary::Sigmoid) {
            let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.apply_one(UnaryGradient(function), x)?]);
            let kept = if function.keeps_output() { Input::given([13], given_outputs()) } else { special() };
            cases.push(Case::new(name(function), "gradient at special values", [dy, kept], build).not_differentiable());
        }
    }
    // At NaN and at 0 an infinite gradient is lost, not hidden.
    let kept = Input::given([5], vec![nan, 0.0, -0.0, 2.0, -2.0]);
    let dy = Input::given([3, 5], [[inf; 5], [-inf; 5], [nan; 5]].concat());
    let build = |g: &mut Graph, x: &[Value]| {
        let kept = g.expand(x[1], [3, 5])?;
        Ok(vec![g.apply_one(UnaryGradient(Unary::Abs), &[x[0], kept])?])
    };
    cases.push(Case::new("abs", "infinite gradients", [dy, kept], build).not_differentiable());
    for (title, low, high) in [("from below", -0.5, inf), ("from above", -inf, 0.25), ("crossed bounds", 1.0, -1.0)] {
        let function = Unary::Clamp { low, high };
        cases.push(apply(title, function, special()).not_differentiable());
    }
    cases.extend(pairs());
    let softmax = |title, shape: &[usize], axis: usize, reach: f64| {
        let input = Input::range(Shape::new(shape), -reach, reach);
        Case::new("softmax", title, [input], move |g, x| Ok(vec![g.softmax(x[0], axis)?]))
    };
    cases.extend([
        softmax("rows", &[4, 10], 1, 2.0),
        softmax("columns", &[4, 10], 0, 2.0),
        // Scores of 60 less their maximum are rounded to 4e-6, of which the exponential makes a relative error.
        softmax("large scores", &[3, 5], 1, 60.0).tolerance(1e-8),
        softmax("the middle axis", &[2, 3, 5, 7], 1, 3.0),
        softmax("large", &[4, 64, 40, 87], 1, 3.0).bench(),
    ]);
    let norm = |title, shape: &[usize], axes: usize| {
        let (shape, last) = (Shape::new(shape), Shape::new(&shape[shape.len() - axes..]));
        Case::new("layer_norm", title, [Input::real(shape), Input::real(last), Input::real(last)], |g, x| {
            Ok(vec![g.layer_norm(x[0], [x[1], x[2]], 1e-3)?])
        })
    };
    cases.extend([
        norm("one axis", &[4, 10], 1),
        norm("three axes", &[2, 3, 5, 7], 3),
        norm("long rows", &[3, 700], 1),
        norm("large", &[4096, 256], 1).bench(),
    ]);
    cases
}

/// What the special values may be as outputs of a function between -1 and 1.
fn given_outputs() -> Vec<f64> {
    (0..13).map(|i| if i == 0 { f64::NAN } else { f64::from(i - 6) / 6.0 }).collect()
}

fn pairs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, kind) in [("maximum", Binary::Maximum), ("minimum", Binary::Minimum)] {
        let apply = move |g: &mut Graph, x: &[Value]| Ok(vec![g.apply_one(kind, x)?]);
        // Sines of different frequencies are nowhere near each other at these places.
        let values = |n: usize, step: f64, shift: f64| (0..n).map(|i| (i as f64 * step).sin() + shift).collect();
        let (a, b) = (Input::given([3, 4, 5], values(60, 1.0, 0.0)), Input::given([4, 1], values(4, PI, 0.3101)));
        cases.push(Case::new(op, "broadcast", [a, b], apply));
        let few = || Input::given([6], vec![0.0, 1.0, f64::NAN, -1.0, 2.0, f64::INFINITY]);
        let other =
            || Input::given([2, 6], vec![0.0, 2.0, 1.0, f64::NAN, 2.0, 1.0, f64::NAN, 1.0, 0.0, -2.0, 3.0, 5.0]);
        cases.push(Case::new(op, "ties and NaN", [few(), other()], apply).not_differentiable());
        let infinite = move |g: &mut Graph, x: &[Value]| {
            let y = g.apply_one(kind, x)?;
            // The sum of these weighted elements is not finite, but each one's gradient is the weight of who is greater.
            let weights = g.constant([1], vec![f64::INFINITY])?;
            let weighted = g.multiply(y, weights)?;
            let loss = g.sum_all(weighted)?;
            g.gradients(loss, &x[..2])
        };
        let pair = [few(), Input::given([6], vec![0.0, 2.0, 1.0, f64::NAN, 1.0, 1.0])];
        cases.push(Case::new(op, "infinite gradients", pair, infinite).not_differentiable());
        let share = |g: &mut Graph, x: &[Value]| Ok(vec![g.apply_one(Binary::Share, x)?]);
        if kind == Binary::Maximum {
            cases.push(Case::new("share", "ties and NaN", [few(), other()], share).not_differentiable());
        }
    }
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (function, _) in functions(Shape::from([1])) {
        refusals.push(Refusal::new(name(function), "indices", [Spec::index([4])], &["[4]", "indices"], move |g, x| {
            Ok(vec![g.apply_one(function, x)?])
        }));
    }
    refusals.push(Refusal::new("clamp", "a bound that is no number", [Spec::real([4])], &["NaN"], |g, x| {
        Ok(vec![g.clamp(x[0], f64::NAN, 1.0)?])
    }));
    refusals.push(Refusal::new("log_softmax", "no such axis", [Spec::real([3, 4])], &["[3, 4]", "axis 2"], |g, x| {
        Ok(vec![g.softmax(x[0], 2)?])
    }));
    let shapes = || [Spec::real([3, 4]), Spec::real([3]), Spec::real([3])];
    refusals.push(Refusal::new("layer_norm", "not the last axes", shapes(), &["[3, 4]", "[3]"], |g, x| {
        Ok(vec![g.layer_norm(x[0], [x[1], x[2]], 1e-5)?])
    }));
    for (op, kind) in [("maximum", Binary::Maximum), ("minimum", Binary::Minimum)] {
        let shapes = [Spec::real([3, 4]), Spec::real([3, 5])];
        refusals.push(Refusal::new(op, "shapes", shapes, &["[3, 4]", "[3, 5]"], move |g, x| {
            Ok(vec![g.apply_one(kind, x)?])
        }));
    }
    refusals
}
