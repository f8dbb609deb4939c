//! Cases of log-softmax, cross-entropy and its other forms, the classifier's head and the count of right predictions.

use super::{Case, Input, Refusal};
use crate::fusion::Head;
use crate::graph::{Graph, Value};
use crate::ops::{LossOptions, LossReduction};
use crate::tensor::{Shape, Spec};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let softmax = |name, shape: &[usize], reach: f64| {
        let input = Input::range(Shape::new(shape), -reach, reach);
        Case::new("log_softmax", name, [input], |g, x| Ok(vec![g.log_softmax(x[0])?]))
    };
    cases.extend([
        softmax("rows", &[4, 10], 2.0),
        softmax("one", &[1, 1], 2.0),
        softmax("large scores", &[3, 5], 80.0),
        softmax("long rows", &[9, 129], 4.0),
        softmax("three axes", &[2, 3, 7], 2.0),
        softmax("one axis", &[65], 2.0),
        softmax("large", &[4096, 64], 4.0).bench(),
    ]);
    let entropy = |name, n: usize, classes: usize, smoothing: f64, reach: f64| {
        let inputs = [Input::range([n, classes], -reach, reach), Input::index([n], classes as u32)];
        Case::new("cross_entropy", name, inputs, move |g: &mut Graph, x: &[Value]| {
            let made = g.cross_entropy(x[0], x[1], smoothing)?;
            Ok(vec![made.loss, made.log_probabilities, made.items])
        })
    };
    cases.extend([
        entropy("notebook", 4, 10, 0.0, 2.0),
        entropy("smoothed", 4, 10, 0.1, 2.0),
        entropy("one", 1, 1, 0.0, 2.0),
        entropy("one item", 1, 8, 0.2, 2.0),
        entropy("large scores", 5, 7, 0.0, 60.0),
        entropy("many", 200, 65, 0.05, 3.0),
        entropy("all smoothing", 3, 4, 1.0, 2.0),
        entropy("large", 8192, 65, 0.1, 3.0).bench(),
    ]);
    let head = |name, [n, c, h, w]: [usize; 4], classes: usize, smoothing: f64| {
        let inputs = [
            Input::real([n, c, h, w]),
            Input::real([classes, c]),
            Input::real([classes]),
            Input::index([n], classes as u32),
        ];
        Case::new("head", name, inputs, move |g: &mut Graph, x: &[Value]| g.apply(Head { smoothing }, x))
    };
    cases.extend([
        head("notebook", [4, 64, 4, 6], 10, 0.0),
        head("one", [1, 1, 1, 1], 1, 0.0),
        head("smoothed, many channels", [3, 300, 1, 2], 5, 0.1),
        head("many items", [19, 5, 3, 1], 70, 0.05),
        head("large", [256, 128, 4, 6], 65, 0.1).bench(),
    ]);
    let correct = |name, scores: Input, bound: u32| {
        let n = scores.spec.shape[0];
        Case::new("correct", name, [scores, Input::index([n], bound)], |g, x| Ok(vec![g.correct(x[0], x[1])?]))
            .not_differentiable()
    };
    cases.extend([
        correct("some", Input::real([40, 3]), 3),
        correct("many", Input::real([150, 5]), 5),
        correct("ties go to the first", Input::given([2, 3], vec![1.0, 1.0, 0.0, 2.0, 2.0, 2.0]), 3),
        correct("one class", Input::real([7, 1]), 1),
    ]);
    cases.extend(forms());
    let keep = |g: &mut Graph, x: &[Value]| Ok(vec![g.keep(x[0], x[1])?]);
    cases.extend([
        Case::new("keep", "broadcast", [Input::real([3, 4, 5]), Input::mask([4, 1], 0.5)], keep),
        Case::new(
            "keep",
            "NaN",
            [Input::given([3], vec![f64::NAN, f64::NAN, 1.0]), Input::given([3], vec![0.0, 2.0, 0.0])],
            keep,
        )
        .not_differentiable(),
    ]);
    cases
}

/// Losses in all their forms; inputs are scores, targets, and weights where there are any.
fn forms() -> Vec<Case> {
    use LossReduction::{Mean, None as Each, Sum};
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 3] = [(&[5, 4], &[5]), (&[3, 5, 7], &[3, 7]), (&[2, 3, 4, 5], &[2, 4, 5])];
    let forms = [
        ("mean", false, None, 0.0, Mean),
        ("sum, weights", true, None, 0.0, Sum),
        ("each, weights, one ignored", true, Some(1), 0.0, Each),
        ("mean, weights, smoothed", true, None, 0.2, Mean),
        ("mean, one ignored, smoothed", false, Some(0), 0.1, Mean),
        ("mean, weights, none ignored", true, Some(usize::MAX), 0.3, Mean),
    ];
    for (name, weighted, ignore, smoothing, reduction) in forms {
        for (scores, classes) in shapes {
            let count = scores[1];
            // usize::MAX: items without a class.
            let ignore = ignore.map(|class: usize| class.min(count));
            let bound = if ignore == Some(count) { count + 1 } else { count };
            let options = LossOptions { weights: None, ignore, smoothing, reduction };
            let given = move |x: &[Value]| LossOptions { weights: x.get(2).copied(), ..options };
            let inputs = |x: Input, y: Input| {
                let weights = weighted.then(|| Input::range([count], 0.5, 2.0));
                [x, y].into_iter().chain(weights).collect::<Vec<_>>()
            };
            let labels = Input::index(Shape::new(classes), bound as u32);
            let x = Input::real(Shape::new(scores));
            let case = Case::new("cross_entropy_with", name, inputs(x.clone(), labels.clone()), move |g, x| {
                Ok(vec![g.cross_entropy_with(x[0], x[1], given(x))?])
            });
            // Under a mean, the gradient of a class's weight is the difference of that class's loss and the mean, which nearly cancel.
            cases.push(if weighted && reduction == Mean { case.tolerance(1e-9) } else { case });
            if smoothing == 0.0 {
                cases.push(Case::new("nll_loss", name, inputs(x.clone(), labels), move |g, x| {
                    Ok(vec![g.nll_loss(x[0], x[1], given(x))?])
                }));
            }
            if ignore.is_none() {
                let targets = Input::range(Shape::new(scores), 0.0, 1.0);
                cases.push(Case::new("cross_entropy_with", "distributions", inputs(x, targets), move |g, x| {
                    Ok(vec![g.cross_entropy_with(x[0], x[1], given(x))?])
                }));
            }
        }
    }
    // An ignored item's NaN stays its own.
    let x = Input::given([2, 2], vec![f64::NAN, 1.0, 0.5, -0.5]);
    cases.push(
        Case::new("cross_entropy_with", "NaN ignored", [x], |g, x| {
            let classes = g.index_constant([2], vec![2, 0])?;
            let options = LossOptions { ignore: Some(2), smoothing: 0.1, ..LossOptions::default() };
            Ok(vec![g.cross_entropy_with(x[0], classes, options)?])
        })
        .not_differentiable(),
    );
    cases
}

fn form_refusals() -> Vec<Refusal> {
    let plain = LossOptions::default();
    let of = |name, specs: [Spec; 2], options: LossOptions, words| {
        Refusal::new("cross_entropy", name, specs, words, move |g, x| {
            Ok(vec![g.cross_entropy_with(x[0], x[1], options)?])
        })
    };
    let (scores, classes) = (Spec::real([4, 3, 2]), Spec::index([4, 2]));
    vec![
        of("with: number of labels", [scores, Spec::index([4])], plain, &["[4, 3, 2]", "[4]"]),
        of("with: rank", [Spec::real([4]), Spec::index([4])], plain, &["[4]", "[N, C, ..]"]),
        of("with: smoothing", [scores, classes], LossOptions { smoothing: -0.5, ..plain }, &["smoothing", "-0.5"]),
        of("with: ignored", [scores, classes], LossOptions { ignore: Some(4), ..plain }, &["[4, 3, 2]", "class 4"]),
        // The part of the loss that reads the classes says so.
        Refusal::new(
            "gather",
            "the classes of a loss",
            [scores, classes],
            &["below 3", "element 3 is 3"],
            move |g, x| Ok(vec![g.cross_entropy_with(x[0], x[1], plain)?]),
        )
        .indices(vec![0, 1, 2, 3, 0, 0, 0, 0]),
        of("distributions: shape", [scores, Spec::real([4, 2])], plain, &["[4, 3, 2]", "[4, 2]"]),
        of("distributions: ignored", [scores, scores], LossOptions { ignore: Some(0), ..plain }, &["[4, 3, 2]"]),
        Refusal::new("nll_loss", "weights", [scores, classes, Spec::real([2])], &["[4, 3, 2]", "[2]"], move |g, x| {
            Ok(vec![g.nll_loss(x[0], x[1], LossOptions { weights: Some(x[2]), ..plain })?])
        }),
        Refusal::new("keep", "gradient of the mask", vec![Spec::real([3]); 2], &["mask"], |g, x| {
            let y = g.keep(x[0], x[1])?;
            let loss = g.sum_all(y)?;
            g.gradients(loss, &[x[1]])
        }),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    let refuse = |name, specs: [Spec; 2], smoothing: f64, words| {
        Refusal::new("cross_entropy", name, specs, words, move |g, x| {
            Ok(vec![g.cross_entropy(x[0], x[1], smoothing)?.loss])
        })
    };
    let (scores, labels) = (Spec::real([4, 3]), Spec::index([4]));
    let count = |name, specs: [Spec; 2], words| {
        Refusal::new("correct", name, specs, words, |g, x| Ok(vec![g.correct(x[0], x[1])?]))
    };
    let head = |name, w: &[usize], b: usize, labels: Spec, words| {
        let specs = [Spec::real([4, 5, 2, 2]), Spec::real(Shape::new(w)), Spec::real([b]), labels];
        Refusal::new("head", name, specs, words, |g, x| g.apply(Head { smoothing: 0.0 }, x))
    };
    let mut refusals = form_refusals();
    refusals.extend([
        head("channels", &[3, 4], 3, labels, &["[4, 5, 2, 2]", "[3, 4]"]),
        head("bias", &[3, 5], 4, labels, &["[4]", "[3]"]),
        head("number of labels", &[3, 5], 3, Spec::index([5]), &["[5]", "[4]"]),
        head("label out of range", &[3, 5], 3, labels, &["below 3", "element 1 is 3"]).indices(vec![0, 3, 2, 1]),
        refuse("rank", [Spec::real([4]), labels], 0.0, &["[4]", "[N, C]"]),
        refuse("number of labels", [scores, Spec::index([5])], 0.0, &["[4, 3]", "[5]"]),
        refuse("real labels", [scores, Spec::real([4])], 0.0, &["[4]", "indices"]),
        refuse("smoothing", [scores, labels], 1.5, &["smoothing", "1.5"]),
        refuse("label out of range", [scores, labels], 0.0, &["below 3", "element 2 is 3"]).indices(vec![0, 2, 3, 1]),
        refuse("number of indices", [scores, labels], 0.0, &["[4]", "3"]).indices(vec![0, 2, 1]),
        count("number of labels", [scores, Spec::index([5])], &["[4, 3]", "[5]"]),
        count("label out of range", [scores, labels], &["below 3", "element 0 is 7"]).indices(vec![7, 2, 0, 1]),
        Refusal::new("correct", "gradient", [scores, labels], &["no gradient"], |g, x| {
            let count = g.correct(x[0], x[1])?;
            g.gradients(count, &[x[0]])
        }),
        Refusal::new("cross_entropy", "gradient of the items", [scores, labels], &["no gradient"], |g, x| {
            let items = g.cross_entropy(x[0], x[1], 0.0)?.items;
            let sum = g.sum_all(items)?;
            g.gradients(sum, &[x[0]])
        }),
        Refusal::new("log_softmax", "no axis", [Spec::real([])], &["[]", "axis"], |g, x| {
            Ok(vec![g.log_softmax(x[0])?])
        }),
    ]);
    refusals
}
