//! Cases of convolution.

use super::{Case, Input, Refusal};
use crate::graph::{Graph, Value};
use crate::ops::ConvOptions;
use crate::tensor::Spec;

/// x, and of w its output channels and the kernel's height and width.
fn case(name: &'static str, x: [usize; 4], w: [usize; 3], options: ConvOptions, bias: bool) -> Case {
    let mut inputs = vec![Input::real(x), Input::real([w[0], x[1] / options.groups, w[1], w[2]])];
    inputs.extend(bias.then(|| Input::real([w[0]])));
    Case::new("conv2d", name, inputs, move |g, x| Ok(vec![g.conv2d(x[0], x[1], x.get(2).copied(), options)?]))
}

pub(super) fn cases() -> Vec<Case> {
    let square = ConvOptions::square;
    let options = |stride, padding, dilation, groups| ConvOptions { stride, padding, dilation, groups };
    vec![
        case("one", [1, 1, 1, 1], [1, 1, 1], square(1, 0), true),
        case("no bias", [2, 3, 6, 5], [4, 3, 3], square(1, 1), false),
        case("1x1", [3, 5, 7, 3], [4, 1, 1], square(1, 0), true),
        case("1x1, stride 3", [2, 3, 11, 10], [5, 1, 1], square(3, 0), true),
        case("as large as the input", [2, 3, 5, 7], [4, 5, 7], square(1, 0), true),
        case("odd", [3, 3, 9, 11], [5, 3, 3], square(2, 1), true),
        case("a row", [2, 3, 1, 20], [4, 1, 5], options([1, 2], [0, 2], [1, 1], 1), true),
        case("a column", [2, 3, 20, 1], [4, 5, 1], options([3, 1], [1, 0], [2, 1], 1), true),
        case("input left over by the stride", [2, 2, 8, 9], [3, 2, 2], square(3, 0), true),
        case("stride beyond the kernel", [2, 2, 11, 10], [3, 2, 2], square(5, 1), true),
        case("padding beyond the kernel", [1, 2, 3, 4], [3, 2, 2], square(1, 4), true),
        case("dilation", [2, 3, 11, 12], [4, 3, 2], options([1, 1], [2, 1], [2, 3], 1), true),
        case("stride 2, dilation 3", [2, 3, 11, 12], [4, 3, 2], options([2, 2], [2, 1], [3, 3], 1), true),
        case("stride 4 and 6, dilation 6 and 4", [1, 2, 17, 19], [3, 3, 3], options([4, 6], [3, 2], [6, 4], 1), true),
        case("groups", [2, 6, 7, 8], [9, 3, 3], options([2, 1], [1, 0], [1, 1], 3), true),
        case("depthwise", [2, 5, 8, 7], [5, 3, 3], options([1, 2], [1, 1], [1, 1], 5), true),
        case("depthwise, two each", [2, 4, 6, 7], [8, 3, 3], options([2, 1], [1, 1], [2, 1], 4), false),
        case("many channels", [1, 130, 3, 3], [70, 3, 3], square(1, 1), true),
        // Channels and taps of minimal filtering, with odd numbers of results.
        case("32 to 48, padding 1", [2, 32, 5, 7], [48, 3, 3], square(1, 1), true),
        case(
            "two groups of 32, dilation 1 and 2",
            [1, 64, 6, 9],
            [64, 3, 3],
            options([1, 1], [0, 2], [1, 2], 2),
            false,
        ),
        case("classifier 1", [4, 2, 64, 86], [8, 5, 5], square(2, 2), true).bench(),
        case("classifier 2", [4, 8, 32, 43], [16, 3, 3], square(2, 1), true).bench(),
        case("classifier 3", [4, 16, 16, 22], [32, 3, 3], square(2, 1), true).bench(),
        case("classifier 4", [4, 32, 8, 11], [64, 3, 3], square(2, 1), true).bench(),
        case("64 to 64, 28 x 28", [2, 64, 28, 28], [64, 3, 3], square(1, 1), true).bench(),
        case("128 to 256, 14 x 14, stride 2", [2, 128, 14, 14], [256, 3, 3], square(2, 1), true).bench(),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    let refuse = |name, words, options, specs: &[Spec]| {
        let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.conv2d(x[0], x[1], x.get(2).copied(), options)?]);
        Refusal::new("conv2d", name, specs, words, build)
    };
    let (x, w) = (Spec::real([2, 3, 5, 5]), Spec::real([4, 3, 3, 3]));
    let plain = ConvOptions::default();
    vec![
        refuse("kernel larger than the padded input", &["5", "7"], plain, &[x, Spec::real([4, 3, 7, 3])]),
        refuse(
            "dilated kernel larger than the padded input",
            &["9", "5"],
            ConvOptions { dilation: [4, 1], ..plain },
            &[x, w],
        ),
        refuse("channels differ", &["[2, 3, 5, 5]", "[4, 2, 3, 3]"], plain, &[x, Spec::real([4, 2, 3, 3])]),
        refuse("groups do not divide", &["2 groups"], ConvOptions { groups: 2, ..plain }, &[x, w]),
        refuse("no groups", &["groups"], ConvOptions { groups: 0, ..plain }, &[x, w]),
        refuse("stride of 0", &["stride"], ConvOptions { stride: [1, 0], ..plain }, &[x, w]),
        refuse("dilation of 0", &["dilation"], ConvOptions { dilation: [0, 1], ..plain }, &[x, w]),
        refuse("bias of another length", &["[4]", "[3]"], plain, &[x, w, Spec::real([3])]),
        refuse("too few axes", &["[3, 5, 5]"], plain, &[Spec::real([3, 5, 5]), w]),
        refuse("indices", &["real"], plain, &[Spec::index([2, 3, 5, 5]), w]),
    ]
}
