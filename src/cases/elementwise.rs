//! Cases of the elementwise operations.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::tensor::{Shape, Spec};

type Two = fn(&mut Graph, Value, Value) -> crate::Result<Value>;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&str, &[usize], &[usize]); 9] = [
        ("one", &[1], &[1]),
        ("same", &[3, 4, 5], &[3, 4, 5]),
        ("last axis", &[3, 4, 5], &[5]),
        ("channels", &[2, 3, 4, 5], &[1, 3, 1, 1]),
        ("one number", &[3, 4], &[1]),
        ("scalar on the left", &[], &[7]),
        ("left is smaller", &[4, 1], &[2, 4, 5]),
        ("both repeat", &[3, 1, 5], &[1, 4, 1]),
        ("six axes", &[2, 1, 2, 1, 2, 3], &[1, 3, 2, 2, 1, 3]),
    ];
    let operations: [(&'static str, Two); 4] =
        [("add", Graph::add), ("subtract", Graph::subtract), ("multiply", Graph::multiply), ("divide", Graph::divide)];
    for (op, function) in operations {
        for (name, a, b) in shapes {
            let b = Shape::new(b);
            let b = if op == "divide" { Input::range(b, 0.5, 2.0) } else { Input::real(b) };
            cases.push(two(op, name, Input::real(Shape::new(a)), b, function));
        }
        let large = |shape: Shape| if op == "divide" { Input::range(shape, 0.5, 2.0) } else { Input::real(shape) };
        let (map, channels) = (Shape::from([4, 64, 40, 87]), Shape::from([1, 64, 1, 1]));
        cases.push(two(op, "large", Input::real(map), large(map), function).bench());
        cases.push(two(op, "large, channels", Input::real(map), large(channels), function).bench());
    }
    let few = || Input::given([6], vec![0.0, 1.0, 2.0, 1.0, -1.0, 0.5]);
    let other = Input::given([2, 1], vec![1.0, 0.5]);
    cases.push(two("equal", "some", few(), other, Graph::equal).not_differentiable());

    for (name, factor, shape) in [("one", 3.0, &[1][..]), ("map", -0.3, &[2, 3, 5, 7]), ("zero", 0.0, &[4])] {
        let input = Input::real(Shape::new(shape));
        cases.push(Case::new("scale", name, [input], move |g, x| Ok(vec![g.scale(x[0], factor)?])));
    }
    for (name, shape) in [("one", &[1][..]), ("vector", &[37]), ("map", &[2, 3, 5, 7])] {
        let input = Input::kinked(Shape::new(shape), 0.0);
        cases.push(Case::new("relu", name, [input], |g, x| Ok(vec![g.relu(x[0])?])));
    }
    let large = Input::kinked([4, 64, 40, 87], 0.0);
    cases.push(Case::new("relu", "large", [large], |g, x| Ok(vec![g.relu(x[0])?])).bench());
    for (name, shape, p) in [("half", &[4, 16][..], 0.5), ("tenth", &[2, 3, 5, 7], 0.1), ("none", &[3, 4], 0.0)] {
        let inputs = [Input::real(Shape::new(shape)), Input::mask(Shape::new(shape), p)];
        cases.push(Case::new("dropout", name, inputs, move |g, x| Ok(vec![g.dropout(x[0], x[1], p)?])));
    }
    cases.extend(rearranging());
    cases
}

fn two(op: &'static str, name: &'static str, a: Input, b: Input, function: Two) -> Case {
    Case::new(op, name, [a, b], move |g, x| Ok(vec![function(g, x[0], x[1])?]))
}

fn rearranging() -> Vec<Case> {
    let mut cases = Vec::new();
    let permutations: [(&str, &[usize], &[usize]); 7] = [
        ("two axes", &[5, 7], &[1, 0]),
        ("last two", &[2, 3, 5], &[0, 2, 1]),
        ("first two", &[4, 3, 5], &[1, 0, 2]),
        ("rotated", &[2, 3, 4, 5], &[1, 2, 3, 0]),
        ("channels last", &[2, 3, 4, 5], &[0, 2, 3, 1]),
        ("unchanged", &[3, 4], &[0, 1]),
        ("reversed", &[1, 2, 3, 1, 2, 2], &[5, 4, 3, 2, 1, 0]),
    ];
    let permute = |name, shape: &[usize], order: &'static [usize]| {
        Case::new("permute", name, [Input::real(shape)], |g, x| Ok(vec![g.permute(x[0], order)?]))
    };
    cases.extend(permutations.map(|(name, shape, order)| permute(name, shape, order)));
    // A view of the same elements, which no kernel touches: its gradient has to find its way back all the same.
    for (name, shape, to) in [("one", &[1][..], &[][..]), ("map", &[2, 3, 4], &[4, 6]), ("flat", &[2, 3, 5], &[30])] {
        let to = Shape::new(to);
        cases.push(Case::new("reshape", name, [Input::real(shape)], move |g, x| Ok(vec![g.reshape(x[0], to)?])));
    }
    cases.push(Case::new("flatten", "map", [Input::real([2, 3, 4, 5])], |g, x| {
        let y = g.flatten(x[0], 1)?;
        Ok(vec![g.scale(y, 2.0)?])
    }));
    cases.push(permute("large", &[512, 1024], &[1, 0]).bench());
    cases.push(Case::new("permute", "transpose", [Input::real([2, 3, 4])], |g, x| Ok(vec![g.transpose(x[0], 2, 0)?])));
    let expansions: [(&str, &[usize], &[usize]); 5] = [
        ("one", &[1], &[5]),
        ("scalar", &[], &[2, 3]),
        ("middle", &[3, 1, 5], &[3, 4, 5]),
        ("new axes", &[5], &[2, 3, 5]),
        ("unchanged", &[3, 4], &[3, 4]),
    ];
    for (name, shape, to) in expansions {
        let to = Shape::new(to);
        cases.push(Case::new("expand", name, [Input::real(shape)], move |g, x| Ok(vec![g.expand(x[0], to)?])));
    }
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let real = |dims: &[usize]| Spec::real(dims);
    let mut refusals = Vec::new();
    let operations: [(&'static str, Two); 5] = [
        ("add", Graph::add),
        ("subtract", Graph::subtract),
        ("multiply", Graph::multiply),
        ("divide", Graph::divide),
        ("equal", Graph::equal),
    ];
    for (op, function) in operations {
        let words = &["[2, 3]", "[3, 2]"];
        refusals.push(Refusal::new(op, "shapes", [real(&[2, 3]), real(&[3, 2])], words, move |g, x| {
            Ok(vec![function(g, x[0], x[1])?])
        }));
        refusals.push(Refusal::new(op, "indices", [real(&[4]), Spec::index([4])], &["[4]", "indices"], move |g, x| {
            Ok(vec![function(g, x[0], x[1])?])
        }));
    }
    refusals.push(Refusal::new("equal", "gradient", [real(&[3]), real(&[3])], &["no gradient"], |g, x| {
        let equal = g.equal(x[0], x[1])?;
        let sum = g.sum_all(equal)?;
        g.gradients(sum, &[x[0]])
    }));
    refusals.push(Refusal::new("gradients", "of many elements", [real(&[3])], &["[3]", "one element"], |g, x| {
        let y = g.relu(x[0])?;
        g.gradients(y, &[x[0]])
    }));
    refusals.push(Refusal::new("gradients", "no path", [real(&[3]), real(&[2])], &["[2]", "depend"], |g, x| {
        let sum = g.sum_all(x[0])?;
        g.gradients(sum, &[x[1]])
    }));
    refusals.push(Refusal::new("scale", "infinite", [real(&[3])], &["finite"], |g, x| {
        Ok(vec![g.scale(x[0], f64::INFINITY)?])
    }));
    refusals.push(Refusal::new("dropout", "shapes", [real(&[3]), real(&[4])], &["[3]", "[4]"], |g, x| {
        Ok(vec![g.dropout(x[0], x[1], 0.5)?])
    }));
    refusals.push(Refusal::new("dropout", "everything", [real(&[3]), real(&[3])], &["below 1"], |g, x| {
        Ok(vec![g.dropout(x[0], x[1], 1.0)?])
    }));
    refusals.push(Refusal::new("permute", "axis twice", [real(&[3, 4])], &["[3, 4]", "[0, 0]"], |g, x| {
        Ok(vec![g.permute(x[0], &[0, 0])?])
    }));
    refusals.push(Refusal::new("transpose", "no such axis", [real(&[3, 4])], &["[3, 4]", "axis 2"], |g, x| {
        Ok(vec![g.transpose(x[0], 0, 2)?])
    }));
    refusals.push(Refusal::new("expand", "shapes", [real(&[3, 4])], &["[3, 4]", "[3, 5]"], |g, x| {
        Ok(vec![g.expand(x[0], [3, 5])?])
    }));
    refusals.push(Refusal::new("reshape", "elements", [real(&[3, 4])], &["[3, 4]", "[5]"], |g, x| {
        Ok(vec![g.reshape(x[0], [5])?])
    }));
    refusals.push(Refusal::new("flatten", "no such axis", [real(&[3, 4])], &["[3, 4]", "axis 2"], |g, x| {
        Ok(vec![g.flatten(x[0], 2)?])
    }));
    refusals.push(Refusal::new("input", "zero-sized axis", [], &["[2, 0]", "zero"], |g, _| {
        Ok(vec![g.input("empty", [2, 0])?])
    }));
    refusals.push(Refusal::new("constant", "elements", [], &["[3]", "2"], |g, _| {
        Ok(vec![g.constant([3], vec![1.0, 2.0])?])
    }));
    refusals
}
