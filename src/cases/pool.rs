//! Cases of pooling.

use super::{Case, Input, Refusal};
use crate::ops::Windows;
use crate::tensor::Spec;

pub(super) fn cases() -> Vec<Case> {
    let adaptive = |name, x: [usize; 4], output: [usize; 2]| {
        let build = move |g: &mut crate::graph::Graph, x: &[crate::graph::Value]| {
            Ok(vec![g.adaptive_avg_pool2d(x[0], output)?])
        };
        Case::new("adaptive_avg_pool2d", name, [Input::real(x)], build)
    };
    let mut cases = vec![
        adaptive("whole", [3, 5, 4, 6], [1, 1]),
        adaptive("whole, wide", [2, 3, 11, 13], [1, 1]),
        adaptive("one", [1, 1, 1, 1], [1, 1]),
        adaptive("divides", [2, 3, 8, 6], [4, 3]),
        adaptive("uneven", [2, 3, 7, 10], [3, 4]),
        adaptive("overlapping", [1, 2, 5, 5], [4, 3]),
        adaptive("unchanged", [2, 2, 3, 4], [3, 4]),
        adaptive("larger", [1, 2, 3, 2], [5, 7]),
        adaptive("one row", [2, 4, 9, 5], [1, 5]),
        adaptive("wide windows", [1, 2, 31, 29], [2, 3]),
        adaptive("large, whole", [16, 64, 20, 44], [1, 1]).bench(),
        adaptive("large, one row", [16, 64, 20, 44], [1, 44]).bench(),
    ];
    let max = |name, x: [usize; 4], kernel, stride, padding, dilation| {
        let windows = Windows { kernel, stride, padding, dilation, ceil: false };
        Case::new("max_pool2d", name, [Input::distinct(x)], move |g, x| Ok(vec![g.max_pool2d(x[0], windows)?]))
    };
    cases.extend([
        max("2x2", [2, 3, 6, 8], [2, 2], [2, 2], [0, 0], [1, 1]),
        max("2x2, odd", [2, 3, 7, 9], [2, 2], [2, 2], [0, 0], [1, 1]),
        max("3x3, overlapping", [2, 2, 7, 8], [3, 3], [1, 1], [1, 1], [1, 1]),
        max("3x3, stride 2", [1, 4, 9, 10], [3, 3], [2, 2], [1, 1], [1, 1]),
        max("3x2, stride 1 and 3", [2, 2, 6, 10], [3, 2], [1, 3], [1, 0], [1, 1]),
        max("stride beyond the kernel", [1, 3, 9, 8], [2, 2], [3, 3], [0, 0], [1, 1]),
        max("dilation", [2, 2, 9, 11], [3, 2], [2, 1], [1, 1], [2, 3]),
        max("one", [1, 1, 1, 1], [1, 1], [1, 1], [0, 0], [1, 1]),
        max("whole", [2, 3, 4, 5], [4, 5], [1, 1], [0, 0], [1, 1]),
        max("large", [8, 32, 40, 87], [2, 2], [2, 2], [0, 0], [1, 1]).bench(),
    ]);
    cases.extend(averages());
    cases
}

fn averages() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&str, [usize; 4], Windows); 8] = [
        ("one", [1, 1, 1, 1], Windows::square(1)),
        ("2x2, odd", [2, 3, 7, 9], Windows::square(2)),
        ("3x3, overlapping", [2, 2, 7, 8], Windows { stride: [1, 1], padding: [1, 1], ..Windows::square(3) }),
        (
            "3x2, stride 1 and 3",
            [2, 2, 6, 10],
            Windows { kernel: [3, 2], stride: [1, 3], padding: [1, 1], ..Windows::square(1) },
        ),
        ("stride beyond the kernel", [1, 3, 9, 8], Windows { stride: [3, 3], ..Windows::square(2) }),
        (
            "dilation",
            [2, 2, 9, 11],
            Windows { kernel: [3, 2], stride: [2, 1], padding: [1, 1], dilation: [2, 3], ceil: false },
        ),
        ("ceil", [1, 2, 6, 7], Windows { stride: [2, 3], padding: [1, 1], ceil: true, ..Windows::square(3) }),
        (
            "ceil, dilation",
            [1, 2, 8, 9],
            Windows { stride: [3, 4], padding: [1, 0], dilation: [2, 1], ceil: true, ..Windows::square(3) },
        ),
    ];
    for (name, x, windows) in shapes {
        for count_padding in [false, true] {
            cases.push(Case::new("avg_pool2d", name, [Input::real(x)], move |g, x| {
                Ok(vec![g.avg_pool2d(x[0], windows, count_padding)?])
            }));
        }
        if windows.ceil {
            let build = move |g: &mut crate::graph::Graph, x: &[_]| Ok(vec![g.max_pool2d(x[0], windows)?]);
            cases.push(Case::new("max_pool2d", name, [Input::distinct(x)], build));
        }
    }
    let padded = Windows { padding: [1, 1], stride: [2, 2], ..Windows::square(3) };
    let build = move |g: &mut crate::graph::Graph, x: &[_]| Ok(vec![g.avg_pool2d(x[0], padded, true)?]);
    cases.push(Case::new("avg_pool2d", "large", [Input::real([8, 32, 40, 87])], build).bench());
    cases
}

pub(super) fn refusals() -> Vec<Refusal> {
    let max = |name, x: &[usize], windows: Windows, words| {
        Refusal::new("max_pool2d", name, [Spec::real(x)], words, move |g, x| Ok(vec![g.max_pool2d(x[0], windows)?]))
    };
    let square = Windows::square(3);
    let padded = Windows { padding: [2, 2], ..square };
    let dilated = Windows { dilation: [1, 4], ..square };
    let over = Windows { kernel: [2, 1], stride: [1, 1], padding: [1, 0], dilation: [2, 1], ceil: false };
    let still = Windows { stride: [0, 1], ..square };
    let adaptive = |name, x: &[usize], output: [usize; 2], words| {
        Refusal::new("adaptive_avg_pool2d", name, [Spec::real(x)], words, move |g, x| {
            Ok(vec![g.adaptive_avg_pool2d(x[0], output)?])
        })
    };
    let average = |name, x: &[usize], windows: Windows, words| {
        Refusal::new("avg_pool2d", name, [Spec::real(x)], words, move |g, x| {
            Ok(vec![g.avg_pool2d(x[0], windows, true)?])
        })
    };
    vec![
        average("rank", &[3, 4, 5], square, &["[3, 4, 5]", "[N, C, H, W]"]),
        average("kernel too large", &[1, 1, 2, 5], square, &["[3, 3]", "[1, 1, 2, 5]"]),
        average("padding", &[1, 1, 8, 8], padded, &["padding 2", "kernel 3"]),
        max("rank", &[3, 4, 5], square, &["[3, 4, 5]", "[N, C, H, W]"]),
        max("kernel too large", &[1, 1, 2, 5], square, &["[3, 3]", "[1, 1, 2, 5]"]),
        max("dilated kernel too large", &[1, 1, 8, 8], dilated, &["[1, 4]", "[1, 1, 8, 8]"]),
        max("padding", &[1, 1, 8, 8], padded, &["padding 2", "kernel 3"]),
        max("stride", &[1, 1, 8, 8], still, &["stride 0"]),
        max("a window in the padding alone", &[1, 1, 1, 3], over, &["[1, 1, 1, 3]", "window 0", "padding"]),
        adaptive("rank", &[3, 4, 5], [1, 1], &["[3, 4, 5]", "[N, C, H, W]"]),
        adaptive("zero", &[1, 3, 4, 5], [0, 1], &["[1, 3, 4, 5]", "[0, 1]"]),
    ]
}
