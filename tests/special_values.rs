//! Ties, NaN, infinities and numbers near the ends of f32: what PyTorch 2.11 makes of them, on the CPU and on a GPU. Denormals are left
//! out: WebGPU allows a GPU to flush them.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::cases::{on_cpu, on_gpu, pool};
use humdinger::Result;
use humdinger::cases::{Case, Input};
use humdinger::cpu::CpuSession;
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Graph, Plan, Session, States, Target, Value};
use humdinger::nn::Adam;
use humdinger::ops::{Conv2d, ConvOptions, Windows};
use humdinger::tensor::{Shape, Tensor};
use std::sync::Arc;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

type Outputs = Vec<(String, Vec<f64>)>;

/// What a case gives in f32 on the CPU and, where there is one, on a GPU.
fn everywhere(case: &Case) -> Vec<(&'static str, Outputs)> {
    let wide = |outputs: Vec<(String, Vec<f32>)>| -> Outputs {
        outputs.into_iter().map(|(name, values)| (name, values.into_iter().map(f64::from).collect())).collect()
    };
    let mut all = vec![("CPU", wide(on_cpu::<f32>(case, pool(2)).unwrap()))];
    all.extend(common::gpu().map(|gpu| ("GPU", wide(on_gpu(case, &gpu).unwrap()))));
    all
}

fn find<'a>(outputs: &'a Outputs, name: &str) -> &'a [f64] {
    &outputs.iter().find(|(have, _)| have == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// Both a NaN, or equal to within rounding.
fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs()
}

fn hold(device: &str, what: &str, found: &[f64], expected: &[f64]) {
    let agree = found.len() == expected.len() && found.iter().zip(expected).all(|(&a, &b)| same(a, b));
    assert!(agree, "{what} on {device}: {found:?}, not {expected:?}");
}

/// The gradients that arrive at a case's only output: its own weights, found with an operation that hands them on.
fn arriving(op: &'static str, name: &'static str, shape: impl Into<Shape>) -> Vec<f64> {
    let shape = shape.into();
    let case =
        Case::new(op, name, [Input::given(shape, vec![1.0; shape.elements()])], |g, x| Ok(vec![g.scale(x[0], 1.0)?]));
    let outputs = on_cpu::<f64>(&case, pool(1)).unwrap();
    find(&outputs, "d0").to_vec()
}

#[test]
fn nothing_times_nan_and_infinities_is_nan() {
    let x = vec![INF, 1.0, NAN, -INF, -2.0, 1e30, 1e-30, 0.0];
    let case = Case::new("scale", "by zero", [Input::given([8], x)], |g, x| Ok(vec![g.scale(x[0], 0.0)?]));
    for (device, outputs) in everywhere(&case) {
        hold(device, "y", find(&outputs, "y0"), &[NAN, 0.0, NAN, NAN, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn the_gradient_of_relu_is_handed_on_at_nan() {
    let dy = arriving("relu", "special", [6]);
    let case = Case::new("relu", "special", [Input::given([6], vec![NAN, 1.0, -1.0, 0.0, INF, -INF])], |g, x| {
        Ok(vec![g.relu(x[0])?])
    });
    for (device, outputs) in everywhere(&case) {
        hold(device, "y", find(&outputs, "y0"), &[NAN, 1.0, 0.0, 0.0, INF, 0.0]);
        hold(device, "dx", find(&outputs, "d0"), &[dy[0], dy[1], 0.0, 0.0, dy[4], 0.0]);
    }
}

/// On a GPU small channels and large ones have kernels of their own.
#[test]
fn the_gradient_of_batch_norm_in_evaluation_does_not_depend_on_x() {
    for (name, plane) in [("nan", [3, 2]), ("nan, large", [182, 182])] {
        let shape = [1, 2, plane[0], plane[1]];
        let len = shape.iter().product::<usize>();
        let mut x: Vec<f64> = (0..len).map(|i| (i % 7) as f64 - 3.0).collect();
        (x[1], x[len - 1]) = (NAN, INF);
        let channel = |values: [f64; 2]| Input::given([2], values.to_vec()).constant();
        let inputs = [
            Input::given(shape, x),
            channel([1.5, 0.5]),
            channel([0.0, 1.0]),
            channel([0.25, 0.0]),
            channel([4.0, 0.25]),
        ];
        let dy = arriving("batch_norm_evaluate", name, shape);
        let case = Case::new("batch_norm_evaluate", name, inputs, |g, x| {
            Ok(vec![g.batch_norm_evaluate(x[0], [x[1], x[2], x[3], x[4]], 0.0)?])
        });
        let expected: Vec<f64> =
            dy.iter().enumerate().map(|(i, dy)| dy * if i < len / 2 { 0.75 } else { 1.0 }).collect();
        for (device, outputs) in everywhere(&case) {
            hold(device, "dx", find(&outputs, "d0"), &expected);
        }
    }
}

/// PyTorch's numbers for `BatchNorm2d(2)` in f32 on such an input: y is beta, the gradients are 0, the running variance is infinite.
#[test]
fn batch_norm_of_squares_beyond_f32_is_finite() {
    for (name, plane) in [("1e30", [4, 4]), ("1e30, large", [182, 182])] {
        let shape = [3, 2, plane[0], plane[1]];
        let (len, plane) = (shape.iter().product::<usize>(), plane[0] * plane[1]);
        let mut x: Vec<f64> = (0..len).map(|i| (i % 7) as f64 - 3.0).collect();
        x[2 * plane + plane / 2] = 1e30;
        let channel = |value: f64| Input::given([2], vec![value; 2]);
        let inputs =
            [Input::given(shape, x), channel(1.5), channel(0.5), channel(0.0).constant(), channel(1.0).constant()];
        let case = Case::new("batch_norm", name, inputs, |g, x| {
            let made = g.batch_norm(x[0], [x[1], x[2], x[3], x[4]], 0.1, 1e-5)?;
            Ok(vec![made.y, made.running_mean, made.running_var])
        });
        for (device, outputs) in everywhere(&case) {
            let what = format!("{name} on {device}");
            assert!(outputs.iter().all(|(_, values)| values.iter().all(|x| !x.is_nan())), "{what}: NaN");
            for (output, value) in [("y0", 0.5), ("d0", 0.0)] {
                let first = (0..len).filter(|i| i / plane % 2 == 0);
                assert!(first.clone().all(|i| find(&outputs, output)[i] == value), "{what}: {output}");
            }
            assert!(same(find(&outputs, "y1")[0], 0.1 * 1e30 / (3 * plane) as f64), "{what}: running mean");
            assert!(find(&outputs, "y2")[0] == INF && find(&outputs, "y2")[1].is_finite(), "{what}: running variance");
            assert!(find(&outputs, "d1")[0] == 0.0 && find(&outputs, "d1")[1].is_finite(), "{what}: dgamma");
        }
    }
}

/// Windows over small whole numbers, against the definition: the first of equal elements gets the gradient.
#[test]
fn max_pool2d_gives_the_gradient_to_the_first_of_equal_elements() {
    let (h, w) = (7, 8);
    let x: Vec<f64> = (0..2 * h * w).map(|i| ((i * i / 3 + i / 5) % 3) as f64).collect();
    let windows = Windows { kernel: [3, 2], stride: [1, 2], padding: [1, 1], dilation: [2, 1], ceil: false };
    let (oh, ow) = (5, 5);
    let dy = arriving("max_pool2d", "ties", [1, 2, oh, ow]);
    let mut dx = vec![0.0; x.len()];
    for (o, dy) in dy.iter().enumerate() {
        let (plane, row, column) = (o / (oh * ow), o / ow % oh, o % ow);
        let mut best: Option<usize> = None;
        for i in 0..3 {
            for j in 0..2 {
                let (Some(r), Some(c)) = ((row + 2 * i).checked_sub(1), (2 * column + j).checked_sub(1)) else {
                    continue;
                };
                let at = plane * h * w + r * w + c;
                if r < h && c < w && best.is_none_or(|best| x[at] > x[best]) {
                    best = Some(at);
                }
            }
        }
        dx[best.unwrap()] += dy;
    }
    let case = Case::new("max_pool2d", "ties", [Input::given([1, 2, h, w], x)], move |g, x| {
        Ok(vec![g.max_pool2d(x[0], windows)?])
    });
    for (device, outputs) in everywhere(&case) {
        hold(device, "dx", find(&outputs, "d0"), &dx);
    }
}

#[test]
fn amax_shares_its_gradient_among_equal_elements_and_shows_nan() {
    let (rows, row) = (5, 100);
    for (name, axis) in [("ties in rows", 1), ("ties in columns", 0)] {
        let shape = if axis == 1 { [rows, row] } else { [row, rows] };
        let at = |r: usize, i: usize| if axis == 1 { r * row + i } else { i * rows + r };
        let mut x = vec![0.0; rows * row];
        for r in 0..rows {
            for i in 0..row {
                x[at(r, i)] = ((i * i + r) % 7) as f64;
            }
        }
        // A NaN first, in the middle, last; an infinity beside one.
        (x[at(1, 0)], x[at(2, 50)], x[at(3, 99)], x[at(3, 0)]) = (NAN, NAN, NAN, INF);
        let dy = arriving("amax", name, [rows]);
        let case = Case::new("amax", name, [Input::given(shape, x.clone())], move |g, x| {
            Ok(vec![g.amax(x[0], &[axis], false)?])
        });
        let greatest = |r: usize| (0..row).map(|i| x[at(r, i)]).fold(-INF, f64::max);
        for (device, outputs) in everywhere(&case) {
            hold(device, name, find(&outputs, "y0"), &[greatest(0), NAN, NAN, NAN, greatest(4)]);
            for r in [0, 4] {
                let shared = (0..row).filter(|&i| x[at(r, i)] == greatest(r)).count() as f64;
                for i in 0..row {
                    let expected = if x[at(r, i)] == greatest(r) { dy[r] / shared } else { 0.0 };
                    hold(device, name, &find(&outputs, "d0")[at(r, i)..=at(r, i)], &[expected]);
                }
            }
        }
    }
}

#[test]
fn a_convolution_with_relu_shows_nan() {
    let mut x: Vec<f64> = (0..2 * 6 * 6).map(|i| (i % 5) as f64 - 2.0).collect();
    x[14] = NAN;
    let inputs =
        [Input::given([1, 2, 6, 6], x).constant(), Input::real([3, 2, 3, 3]).constant(), Input::real([3]).constant()];
    let case = Case::new("conv2d", "nan before relu", inputs, |g, x| {
        Ok(vec![g.apply_one(Conv2d { options: ConvOptions::square(1, 1), bias: true, relu: true }, x)?])
    })
    .not_differentiable();
    for (device, outputs) in everywhere(&case) {
        for (i, &y) in find(&outputs, "y0").iter().enumerate() {
            let (row, column) = (i / 6 % 6, i % 6);
            // Element 14 is row 2, column 2.
            let near = row.abs_diff(2) <= 1 && column.abs_diff(2) <= 1;
            assert!(y.is_nan() == near && (near || y >= 0.0), "element {i} on {device}: {y}");
        }
    }
}

/// Adam in f64 against its formula (Kingma and Ba, 2015; decay as Loshchilov and Hutter, 2019).
#[test]
fn adam_in_f64_is_exact() -> Result<()> {
    let start = [0.5f32, -1.25, 2.0, 0.125];
    let mut states = States::new();
    states.add("parameters", "p", Tensor::new([4], start.to_vec())?)?;
    let group = states.group("parameters");
    let mut adam = Adam::new(&mut states, group)?;
    adam.weight_decay = 0.01;
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    // The loss 1/3 sum(p^2): its gradient is 2/3 p.
    let p = graph.state("p")?;
    let square = graph.multiply(p, p)?;
    let third = graph.scale(square, 1.0 / 3.0)?;
    let loss = graph.sum_all(third)?;
    adam.minimise(&mut graph, loss)?;
    let mut session = CpuSession::<f64>::new(states, pool(1))?;
    let plan = session.add(Plan::new(graph, Target::Cpu)?)?;
    let (mut p, mut m, mut v) = (start.map(f64::from), [0.0f64; 4], [0.0f64; 4]);
    for t in 1..=20 {
        let rate = 0.003 + 0.0001 * f64::from(t);
        adam.before_step(&mut session, plan, rate, 0.9)?;
        session.run(plan)?;
        for i in 0..4 {
            let g = 2.0 / 3.0 * p[i];
            p[i] *= 1.0 - rate * 0.01;
            m[i] += (1.0 - 0.9) * (g - m[i]);
            v[i] = 0.999 * v[i] + (1.0 - 0.999) * g * g;
            let divisor = v[i].sqrt() / (1.0 - 0.999f64.powi(t)).sqrt() + 1e-8;
            p[i] -= rate / (1.0 - 0.9f64.powi(t)) * m[i] / divisor;
        }
    }
    for (found, expected) in session.state_mut("p", 4)?.iter().zip(p) {
        assert!((*found - expected).abs() <= 2e-15, "{found}, not {expected}: {:e}", found - expected);
    }
    Ok(())
}

/// Runs a graph with the input x on the CPU in f64, and reads y.
fn run(graph: Graph, states: Arc<States>, x: &[f64], len: usize) -> Result<Vec<f64>> {
    let mut session = CpuSession::<f64>::new(states, pool(1))?;
    let plan = session.add(Plan::new(graph, Target::Cpu)?)?;
    session.write_exact(plan, "x", x)?;
    session.run(plan)?;
    assert_eq!(session.output(plan, "y")?.len(), len);
    Ok(session.output(plan, "y")?.to_vec())
}

/// `(p + q) g`: both parameters have one gradient, which is copied into the pack just before that is read.
#[test]
fn a_gradient_that_two_parameters_share_lives_until_the_pack_is_read() -> Result<()> {
    let mut states = States::new();
    states.add("parameters", "p", Tensor::new([3], vec![0.0; 3])?)?;
    states.add("parameters", "q", Tensor::new([3], vec![0.0; 3])?)?;
    let group = states.group("parameters");
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [3])?;
    let shared = graph.scale(x, 2.0)?;
    let pack = graph.pack(group, &[shared, shared])?;
    // What wants memory between the gradient and the pack's first reader.
    let mut other: Value = x;
    for factor in [3.0, 5.0, 7.0] {
        other = graph.scale(other, factor)?;
    }
    let other = graph.sum_all(other)?;
    let y = graph.multiply(pack, other)?;
    graph.output("y", y)?;
    let len = graph.shape(y).elements();
    let offset = states.get("q")?.offset;
    let y = run(graph, states, &[1.0, 2.0, 3.0], len)?;
    let expected = [2.0, 4.0, 6.0].map(|x| x * 105.0 * 6.0);
    assert_eq!([&y[..3], &y[offset..offset + 3]], [&expected, &expected]);
    Ok(())
}

#[test]
fn a_state_that_is_read_later_is_not_overwritten_in_place() -> Result<()> {
    let mut states = States::new();
    for (name, value) in [("gamma", 1.0), ("beta", 0.0), ("mean", 3.0), ("var", 1.0)] {
        states.add("norm", name, Tensor::new([1], vec![value])?)?;
    }
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [1, 1, 1, 2])?;
    let channel = [graph.state("gamma")?, graph.state("beta")?, graph.state("mean")?, graph.state("var")?];
    let made = graph.batch_norm(x, channel, 0.5, 0.0)?;
    graph.assign(channel[2], made.running_mean)?;
    graph.assign(channel[3], made.running_var)?;
    let y = graph.scale(channel[2], 2.0)?;
    graph.output("y", y)?;
    assert_eq!(run(graph, states, &[10.0, 30.0], 1)?, [6.0], "twice the running mean of before");
    Ok(())
}

#[test]
fn scratch_is_used_again() -> Result<()> {
    let mut graph = Graph::new(Arc::new(States::new()));
    let x = graph.input("x", [1 << 20])?;
    let mut total = graph.sum_all(x)?;
    let one = Plan::new(
        {
            let mut graph = graph.clone();
            graph.output("y", total)?;
            graph
        },
        Target::Gpu,
    )?
    .bytes(4);
    for _ in 0..30 {
        let sum = graph.sum_all(x)?;
        total = graph.add(total, sum)?;
    }
    graph.output("y", total)?;
    let bytes = Plan::new(graph, Target::Gpu)?.bytes(4);
    assert!(bytes <= one + 4096, "31 sums take {bytes} bytes, one takes {one}");
    Ok(())
}

/// A graph as it is and with these fusions gives the same y.
fn unchanged_by(fusions: Fusions, x: &[f64], build: impl Fn(&mut Graph) -> Result<Value>) -> Result<()> {
    let states = Arc::new(States::new());
    let with = |fusions| -> Result<Vec<f64>> {
        let mut graph = Graph::new(states.clone());
        let y = build(&mut graph)?;
        let len = graph.shape(y).elements();
        graph.output("y", y)?;
        fuse(&mut graph, fusions)?;
        run(graph, states.clone(), x, len)
    };
    let (plain, fused) = (with(Fusions::NONE)?, with(fusions)?);
    assert!(plain.iter().zip(&fused).all(|(a, b)| (a - b).abs() < 1e-12), "{fused:?}, not {plain:?}");
    Ok(())
}

#[test]
fn a_convolution_that_somebody_else_reads_keeps_its_negative_values() -> Result<()> {
    let x: Vec<f64> = (0..16).map(|i| f64::from(i % 5) - 2.0).collect();
    unchanged_by(Fusions { conv_relu: true, ..Fusions::NONE }, &x, |graph| {
        let x = graph.input("x", [1, 1, 4, 4])?;
        let w = graph.constant([1, 1, 2, 2], vec![1.0, -1.0, 0.5, -0.25])?;
        let conv = graph.conv2d(x, w, None, ConvOptions::square(1, 0))?;
        let relu = graph.relu(conv)?;
        graph.add(conv, relu)
    })
}

#[test]
fn the_gradient_of_a_norm_of_two_branches_leaves_the_relu_of_one_alone() -> Result<()> {
    let x: Vec<f64> = (0..16).map(|i| f64::from(i * 7 % 5) - 2.0).collect();
    unchanged_by(Fusions { norm_relu: true, ..Fusions::NONE }, &x, |graph| {
        let x = graph.input("x", [1, 1, 4, 4])?;
        let relu = graph.relu(x)?;
        let branch = graph.constant([1, 1, 4, 4], (0..16).map(|i| f64::from(i % 3) - 1.5).collect::<Vec<f64>>())?;
        let sum = graph.add(relu, branch)?;
        let channel = [1.5, 0.5, 0.0, 1.0];
        let mut values = Vec::new();
        for value in channel {
            values.push(graph.constant([1], vec![value])?);
        }
        let y = graph.batch_norm(sum, [values[0], values[1], values[2], values[3]], 0.1, 1e-5)?.y;
        let weights = graph.constant([1, 1, 4, 4], (0..16).map(|i| f64::from(i * i % 7)).collect::<Vec<f64>>())?;
        let weighted = graph.multiply(y, weights)?;
        let loss = graph.sum_all(weighted)?;
        Ok(graph.gradients(loss, &[x])?[0])
    })
}
