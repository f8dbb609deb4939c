//! The convolution's CPU kernels against its definition, written down as seven loops, over all corners of its parameters: in f64 and
//! f32, and with vectors of every width that this machine has.

#[path = "common/vectors.rs"]
mod common;

use humdinger::cpu::{CpuSession, Pool};
use humdinger::graph::{CpuReal, Graph, Plan, Session, States, Target};
use humdinger::ops::ConvOptions;
use humdinger::{Result, Shape};
use std::sync::Arc;

struct Case {
    x: [usize; 4],
    /// Output channels, kernel height, kernel width.
    w: [usize; 3],
    options: ConvOptions,
}

fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// For every product of the convolution, calls `f(index in y, index in x, index in w)`.
fn products(case: &Case, y: [usize; 4], mut f: impl FnMut(usize, usize, usize)) {
    let [_, c, h, w] = case.x;
    let o = case.options;
    let (cg, og) = (c / o.groups, y[1] / o.groups);
    let [_, kh, kw] = case.w;
    for (n, out) in (0..y[0]).flat_map(|n| (0..y[1]).map(move |out| (n, out))) {
        for (i, j) in (0..y[2]).flat_map(|i| (0..y[3]).map(move |j| (i, j))) {
            for (cc, u, v) in (0..cg).flat_map(|a| (0..kh).flat_map(move |b| (0..kw).map(move |d| (a, b, d)))) {
                let r = (i * o.stride[0] + u * o.dilation[0]).checked_sub(o.padding[0]).filter(|&r| r < h);
                let s = (j * o.stride[1] + v * o.dilation[1]).checked_sub(o.padding[1]).filter(|&s| s < w);
                if let (Some(r), Some(s)) = (r, s) {
                    let channel = out / og * cg + cc;
                    let at = ((n * y[1] + out) * y[2] + i) * y[3] + j;
                    f(at, ((n * c + channel) * h + r) * w + s, ((out * cg + cc) * kh + u) * kw + v);
                }
            }
        }
    }
}

/// In f64 and in f32.
fn check(case: &Case) -> Result<()> {
    check_in::<f64>(case, 1e-10)?;
    check_in::<f32>(case, 1e-4)
}

fn check_in<T: CpuReal>(case: &Case, tolerance: f64) -> Result<()> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let w_shape = [case.w[0], case.x[1] / case.options.groups, case.w[1], case.w[2]];
    let x = graph.input("x", case.x)?;
    let w = graph.input("w", w_shape)?;
    let b = graph.input("b", [case.w[0]])?;
    let y = graph.conv2d(x, w, Some(b), case.options)?;
    let y_shape = graph.shape(y);
    let dy = graph.input("dy", y_shape)?;
    let sizes_of = graph.clone();
    let gradients = humdinger::ops::conv2d_gradients(&mut graph, x, w, dy, case.options)?;
    graph.output("y", y)?;
    for (name, value) in ["dx", "dw", "db"].into_iter().zip(gradients) {
        graph.output(name, value)?;
    }
    let mut session = CpuSession::<T>::new(states, Arc::new(Pool::new(3)))?;
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    let data = |seed, shape: Shape| numbers(shape.elements(), seed);
    let (xs, ws) = (data(1, Shape::from(case.x)), data(2, Shape::from(w_shape)));
    let (bs, dys) = (data(3, Shape::from([case.w[0]])), data(4, sizes_of.shape(y)));
    for (name, values) in [("x", &xs), ("w", &ws), ("b", &bs), ("dy", &dys)] {
        let values: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
        session.write_real(id, name, &values)?;
    }
    session.run(id)?;
    session.run(id)?;
    let dims: [usize; 4] = std::array::from_fn(|i| y_shape[i]);
    let pixels = dims[2] * dims[3];
    let mut y: Vec<f64> = (0..y_shape.elements()).map(|i| bs[i / pixels % dims[1]]).collect();
    let (mut dx, mut dw, mut db) = (vec![0.0; xs.len()], vec![0.0; ws.len()], vec![0.0; bs.len()]);
    products(case, dims, |i, j, k| {
        y[i] += xs[j] * ws[k];
        dx[j] += dys[i] * ws[k];
        dw[k] += dys[i] * xs[j];
    });
    dys.iter().enumerate().for_each(|(i, dy)| db[i / pixels % dims[1]] += dy);
    for (name, wanted) in [("y", y), ("dx", dx), ("dw", dw), ("db", db)] {
        let got = session.output(id, name)?;
        for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            let close = (got.to_f64() - wanted).abs() <= tolerance * (1.0 + wanted.abs());
            assert!(close, "{name}[{i}] is {got:?}, not {wanted}: x {:?} w {:?} {:?}", case.x, case.w, case.options);
        }
    }
    Ok(())
}

#[test]
fn conv2d_follows_its_definition() -> Result<()> {
    common::choose_vectors();
    let pairs = |values: &[usize]| -> Vec<[usize; 2]> {
        values.iter().flat_map(|&a| values.iter().map(move |&b| [a, b])).collect()
    };
    let mut count = 0;
    for stride in pairs(&[1, 2, 3]) {
        for padding in [[0, 0], [1, 2], [4, 3]] {
            for dilation in [[1, 1], [2, 1], [1, 3], [2, 2]] {
                for (groups, c, o) in [(1, 3, 9), (2, 4, 6), (3, 3, 3), (1, 1, 1)] {
                    for kernel in [[1, 1], [3, 3], [5, 2]] {
                        let options = ConvOptions { stride, padding, dilation, groups };
                        let case = Case { x: [2, c, 11, 9], w: [o, kernel[0], kernel[1]], options };
                        check(&case)?;
                        count += 1;
                    }
                }
            }
        }
    }
    for x in [[1, 2, 64, 86], [5, 8, 32, 43], [3, 16, 16, 22], [9, 20, 7, 5]] {
        check(&Case { x, w: [17, 3, 3], options: ConvOptions::square(2, 1) })?;
        check(&Case { x, w: [8, 5, 5], options: ConvOptions::square(2, 2) })?;
        check(&Case { x, w: [70, 3, 3], options: ConvOptions::square(1, 1) })?;
    }
    // Every width of a tile with pixels of two rows, at every distance between pixels that it is compiled for; an odd row remains.
    for columns in [4, 5, 6, 8, 11, 14] {
        for (channels, stride) in [(8, 2), (16, 2), (32, 2), (64, 1)] {
            let x = [1, channels, 4 * stride + 1, (columns - 1) * stride + 1];
            check(&Case { x, w: [16, 3, 3], options: ConvOptions::square(stride, 1) })?;
            check(&Case { x, w: [32, 3, 3], options: ConvOptions::square(stride, 1) })?;
        }
    }
    // Kernel rows of few numbers: of the weight gradient, two or three are summed together.
    for rows in 1..=8 {
        check(&Case { x: [2, 1, 12, 15], w: [16, rows, 5], options: ConvOptions::square(2, 2) })?;
        check(&Case { x: [2, 2, 12, 15], w: [4, rows, 5], options: ConvOptions::square(2, 2) })?;
        check(&Case { x: [2, 2, 12, 15], w: [16, rows, 3], options: ConvOptions::square(1, 2) })?;
    }
    assert_eq!(count, 9 * 3 * 4 * 4 * 3);
    Ok(())
}

#[test]
fn narrower_vectors_follow_it_too() {
    common::with_narrower_vectors(&["conv2d_follows_its_definition"]);
}
