//! Cases of the reductions.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::tensor::{Shape, Spec};

type Over = fn(&mut Graph, Value, &[usize], bool) -> crate::Result<Value>;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&str, &[usize], &[usize]); 12] = [
        ("one", &[1], &[0]),
        ("all", &[3, 4, 5], &[0, 1, 2]),
        ("first", &[4, 5], &[0]),
        ("last", &[4, 5], &[1]),
        ("middle", &[3, 7, 5], &[1]),
        ("per channel", &[2, 3, 4, 5], &[0, 2, 3]),
        ("spatial", &[2, 3, 4, 5], &[3, 2]),
        ("alternating", &[2, 3, 2, 3, 2, 3], &[0, 2, 4]),
        ("alternating, last", &[2, 3, 2, 3, 2, 3], &[1, 3, 5]),
        ("an axis of one", &[3, 1, 5], &[1]),
        ("long rows", &[2, 40_000], &[1]),
        ("long columns", &[3000, 3], &[0]),
    ];
    let operations: [(&'static str, Over); 3] = [("sum", Graph::sum), ("mean", Graph::mean), ("amax", Graph::amax)];
    for (op, function) in operations {
        // Sums of mixed signs cancel, and the error of one number is no average: positive values.
        let input = |shape: Shape| if op == "amax" { Input::distinct(shape) } else { Input::range(shape, 0.5, 2.0) };
        let case = |name, shape: &[usize], axes: &'static [usize], keep| {
            Case::new(op, name, [input(Shape::new(shape))], move |g, x| Ok(vec![function(g, x[0], axes, keep)?]))
        };
        cases.extend(shapes.map(|(name, shape, axes)| case(name, shape, axes, name.len() % 2 == 0)));
        cases.push(case("large, all", &[4, 64, 40, 87], &[0, 1, 2, 3], false).bench());
        cases.push(case("large, per channel", &[4, 64, 40, 87], &[0, 2, 3], false).bench());
        cases.push(case("large, columns", &[5000, 200], &[0], false).bench());
    }
    let all = |op, function: fn(&mut Graph, Value) -> crate::Result<Value>, shape: &[usize]| {
        Case::new(op, "everything", [Input::range(shape, 0.5, 2.0)], move |g, x| Ok(vec![function(g, x[0])?]))
    };
    cases.push(all("sum", Graph::sum_all, &[3, 5]));
    cases.push(all("mean", Graph::mean_all, &[]));
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let operations: [(&'static str, Over); 3] = [("sum", Graph::sum), ("mean", Graph::mean), ("amax", Graph::amax)];
    for (op, function) in operations {
        let mut refuse = |name, axes: &'static [usize], words| {
            refusals.push(Refusal::new(op, name, [Spec::real([3, 4])], words, move |g, x| {
                Ok(vec![function(g, x[0], axes, false)?])
            }));
        };
        refuse("no such axis", &[2], &["[3, 4]", "axis 2"]);
        refuse("axis twice", &[0, 0], &["[3, 4]", "twice"]);
        refuse("no axes", &[], &["[3, 4]", "no axes"]);
    }
    refusals
}
