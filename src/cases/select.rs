//! Cases of what takes parts of tensors and puts them together: padding, slices, concatenation, elements by their numbers.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::ops::{Gather, PadSlice, Reach};
use crate::tensor::{Shape, Spec};

fn pad(name: &'static str, shape: &[usize], before: &'static [usize], after: &'static [usize], value: f64) -> Case {
    let case = Case::new("pad", name, [Input::real(Shape::new(shape))], move |g, x| {
        Ok(vec![g.pad(x[0], before, after, value)?])
    });
    if value.is_finite() { case } else { case.not_differentiable() }
}

fn slice(name: &'static str, shape: &[usize], axis: usize, range: std::ops::Range<usize>, step: usize) -> Case {
    Case::new("slice", name, [Input::real(Shape::new(shape))], move |g, x| {
        Ok(vec![g.slice(x[0], axis, range.clone(), step)?])
    })
}

fn reach(name: &'static str, shape: &[usize], axes: Vec<(isize, isize, usize, usize)>) -> Case {
    let reach = |&(start, step, spread, count): &_| Reach { start, step, spread, count };
    let op = PadSlice { axes: axes.iter().map(reach).collect(), fill: 0.5 };
    Case::new("pad_slice", name, [Input::real(Shape::new(shape))], move |g, x| Ok(vec![g.apply_one(op.clone(), x)?]))
}

fn concat(name: &'static str, shapes: &[&[usize]], axis: usize) -> Case {
    let inputs: Vec<Input> = shapes.iter().map(|&shape| Input::real(shape)).collect();
    Case::new("concat", name, inputs, move |g, x| Ok(vec![g.concat(x, axis)?]))
}

fn gather(name: &'static str, shape: &[usize], indices: &[usize], op: Gather) -> Case {
    let bound = shape[op.axis] + usize::from(op.skip == Some(shape[op.axis]));
    let inputs = [Input::real(Shape::new(shape)), Input::index(Shape::new(indices), bound as u32)];
    Case::new("gather", name, inputs, move |g, x| Ok(vec![g.apply_one(op, x)?]))
}

fn gathering() -> Vec<Case> {
    let rows = |axis| Gather { axis, each: false, skip: None };
    let each = |axis| Gather { axis, each: true, skip: None };
    vec![
        gather("one", &[1], &[1], rows(0)),
        gather("embedding", &[7, 5], &[3, 4], rows(0)),
        gather("last axis", &[3, 7], &[4], rows(1)),
        gather("middle axis", &[2, 5, 3], &[2, 2], rows(1)),
        gather("one number", &[2, 5, 3], &[], rows(1)),
        gather("left out", &[4, 5], &[30], Gather { skip: Some(2), ..rows(0) }),
        gather("a number for none", &[4, 5], &[30], Gather { skip: Some(4), ..rows(0) }),
        gather("many numbers", &[3, 2], &[40_000], rows(0)),
        gather("many rows", &[9000, 3], &[50], rows(0)),
        gather("large", &[10_000, 128], &[64, 32], rows(0)).bench(),
        gather("each", &[2, 5, 3], &[2, 4, 3], each(1)),
        gather("each, first axis", &[5, 3], &[7, 3], each(0)),
        gather("each, last axis", &[3, 6], &[3, 1], each(1)),
        gather("each, left out", &[4, 3, 5], &[4, 2, 5], Gather { skip: Some(3), ..each(1) }),
        gather("each, long rows", &[2, 3, 9001], &[2, 1, 9001], each(1)),
        Case::new("gather", "constant", [Input::real([4, 3])], |g, x| {
            let indices = g.index_constant([3], vec![2, 0, 2])?;
            Ok(vec![g.gather(x[0], indices, 0)?])
        }),
        Case::new("one_hot", "some", [Input::index([3, 4], 5)], |g, x| Ok(vec![g.one_hot(x[0], 5)?]))
            .not_differentiable(),
        Case::new("one_hot", "many", [Input::index([9000], 3)], |g, x| Ok(vec![g.one_hot(x[0], 3)?]))
            .not_differentiable(),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = gathering();
    cases.extend([
        pad("one", &[1], &[2], &[3], 0.25),
        pad("scalar", &[], &[], &[], 0.0),
        pad("one side", &[3, 4], &[0, 2], &[0, 0], 0.0),
        pad("uneven", &[2, 3, 4, 5], &[0, 1, 2, 0], &[1, 0, 3, 2], -1.5),
        pad("nothing", &[3, 4], &[0, 0], &[0, 0], 9.0),
        pad("six axes", &[2, 1, 2, 3, 1, 2], &[1, 0, 0, 1, 2, 0], &[0, 1, 0, 0, 0, 3], 1.0),
        pad("infinite", &[3, 4], &[1, 1], &[0, 2], f64::NEG_INFINITY),
        pad("NaN", &[3, 4], &[1, 1], &[0, 2], f64::NAN),
        pad("long rows", &[2, 17_000], &[0, 8_000], &[1, 3], 2.0),
        pad("large", &[4, 64, 40, 87], &[0, 0, 1, 1], &[0, 0, 2, 2], 0.0).bench(),
        slice("one", &[1], 0, 0..1, 1),
        slice("first axis", &[5, 3], 0, 1..4, 1),
        slice("last axis", &[4, 9], 1, 2..7, 1),
        slice("every third", &[2, 11, 3], 1, 1..11, 3),
        slice("every second of the last axis", &[3, 8], 1, 0..8, 2),
        slice("one of many", &[3, 8, 2], 1, 5..6, 4),
        slice("a step beyond the range", &[7], 0, 2..5, usize::MAX),
        slice("long rows", &[2, 17_000], 1, 3..16_999, 1),
        slice("large", &[4, 64, 40, 87], 1, 16..48, 1).bench(),
        slice("large, every second", &[4, 64, 40, 87], 3, 0..87, 2).bench(),
        Case::new("flip", "middle", [Input::real([2, 5, 3])], |g, x| Ok(vec![g.flip(x[0], 1)?])),
        Case::new("flip", "last", [Input::real([2, 70])], |g, x| Ok(vec![g.flip(x[0], 1)?])),
        reach("between", &[3, 4], vec![(-2, 1, 3, 12), (1, 1, 2, 5)]),
        reach("step and spread", &[7, 5], vec![(3, 2, 3, 9), (-4, 3, 2, 6)]),
        reach("backwards", &[7, 5], vec![(19, -2, 3, 9), (9, -1, 2, 12)]),
        reach("beyond both ends", &[4, 3], vec![(-3, 2, 1, 6), (5, -1, 1, 9)]),
        concat("one", &[&[1]], 0),
        concat("first axis", &[&[2, 3], &[4, 3]], 0),
        concat("last axis", &[&[3, 2], &[3, 1], &[3, 5]], 1),
        concat("middle axis", &[&[2, 3, 4], &[2, 1, 4]], 1),
        concat("more than a kernel has buffers", &[&[2, 3][..]; 11], 1),
        concat("long rows", &[&[2, 17_000], &[2, 5]], 1),
        concat("large", &[&[4, 64, 40, 87], &[4, 32, 40, 87]], 1).bench(),
        // The same value twice: both parts' gradients are its.
        Case::new("concat", "with itself", [Input::real([2, 3])], |g, x| Ok(vec![g.concat(&[x[0], x[0]], 1)?])),
    ]);
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let real = |dims: &[usize]| Spec::real(dims);
    let pad = |name, spec: Spec, before: &'static [usize], words| {
        Refusal::new("pad", name, [spec], words, move |g, x| Ok(vec![g.pad(x[0], before, &[0, 0], 0.0)?]))
    };
    let slice = |name, axis, range: std::ops::Range<usize>, step, words| {
        Refusal::new("slice", name, [real(&[3, 4])], words, move |g: &mut Graph, x: &[Value]| {
            Ok(vec![g.slice(x[0], axis, range.clone(), step)?])
        })
    };
    let concat = |name, specs: Vec<Spec>, axis, words| {
        Refusal::new("concat", name, specs, words, move |g, x| Ok(vec![g.concat(x, axis)?]))
    };
    let gather = |name, x: &[usize], indices: Spec, op: Gather, words| {
        let specs = [Spec::real(x), indices];
        Refusal::new("gather", name, specs, words, move |g, x| Ok(vec![g.apply_one(op, x)?]))
    };
    let rows = Gather { axis: 0, each: false, skip: None };
    let each = Gather { axis: 1, each: true, skip: None };
    vec![
        gather("no such axis", &[3, 4], Spec::index([2]), Gather { axis: 2, ..rows }, &["[3, 4]", "axis 2"]),
        gather("real indices", &[3, 4], real(&[2]), rows, &["[2]", "indices"]),
        gather("too many axes", &[3, 4, 5, 6], Spec::index([1, 1, 2, 2]), rows, &["[3, 4, 5, 6]", "[1, 1, 2, 2]"]),
        gather("shapes", &[3, 4], Spec::index([2, 4]), each, &["[3, 4]", "[2, 4]"]),
        gather(
            "left out beyond the axis",
            &[3, 4],
            Spec::index([2]),
            Gather { skip: Some(4), ..rows },
            &["4", "[3, 4]"],
        ),
        gather("out of range", &[3, 4], Spec::index([2]), rows, &["below 3", "element 1 is 3"]).indices(vec![0, 3]),
        gather("out of range, each", &[3, 4], Spec::index([3, 1]), each, &["below 4", "element 2 is 9"])
            .indices(vec![0, 3, 9]),
        Refusal::new("gather", "constant out of range", [real(&[3, 4])], &["below 3", "element 1", "is 3"], |g, x| {
            let indices = g.index_constant([2], vec![0, 3])?;
            Ok(vec![g.gather(x[0], indices, 0)?])
        }),
        Refusal::new("one_hot", "real numbers", [real(&[3])], &["[3]", "indices"], |g, x| {
            Ok(vec![g.one_hot(x[0], 2)?])
        }),
        Refusal::new("one_hot", "out of range", [Spec::index([3])], &["below 2", "element 1 is 2"], |g, x| {
            Ok(vec![g.one_hot(x[0], 2)?])
        })
        .indices(vec![0, 2, 1]),
        pad("not one for each axis", real(&[3, 4, 5]), &[0, 0], &["[3, 4, 5]", "[0, 0]"]),
        pad("too large", real(&[3, 4]), &[0, usize::MAX], &["[3, 4]", "too large"]),
        pad("indices", Spec::index([3, 4]), &[0, 0], &["[3, 4]", "indices"]),
        slice("no such axis", 2, 0..1, 1, &["[3, 4]", "axis 2"]),
        slice("beyond the axis", 1, 2..5, 1, &["[3, 4]", "2..5"]),
        slice("empty", 1, 2..2, 1, &["[3, 4]", "2..2"]),
        slice("step", 1, 0..2, 0, &["[3, 4]", "step 0"]),
        Refusal::new("flip", "no such axis", [real(&[3, 4])], &["[3, 4]", "axis 2"], |g, x| Ok(vec![g.flip(x[0], 2)?])),
        Refusal::new("pad_slice", "a step of zero", [real(&[3])], &["[3]", "step: 0"], |g, x| {
            let axes = vec![Reach { step: 0, ..Reach::whole(3) }];
            Ok(vec![g.apply_one(PadSlice { axes, fill: 0.0 }, x)?])
        }),
        Refusal::new("pad_slice", "places beyond 32 bits", [real(&[3])], &["[3]", "2^31"], |g, x| {
            let axes = vec![Reach { start: isize::MIN, ..Reach::whole(3) }];
            Ok(vec![g.apply_one(PadSlice { axes, fill: 0.0 }, x)?])
        }),
        concat("nothing", vec![], 0, &["axis 0"]),
        concat("no such axis", vec![real(&[3, 4])], 2, &["axis 2", "[3, 4]"]),
        concat("another axis differs", vec![real(&[3, 4]), real(&[2, 5])], 1, &["[3, 4]", "[2, 5]"]),
        concat("other rank", vec![real(&[3, 4]), real(&[3])], 1, &["[3, 4]", "[3]"]),
        concat("indices", vec![real(&[4]), Spec::index([4])], 0, &["[4]", "indices"]),
    ]
}
