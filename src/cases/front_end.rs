//! Cases of the spectrogram front end. None of its operations has a gradient: no parameter lies upstream of them.

use super::{Case, Input, Refusal, Values};
use crate::graph::{Graph, Value};
use crate::ops::{BankRows, Decibels, Excerpts, Fill, Framing, Mask, Partial, Per, Standardise, Warp};
use crate::tensor::{Shape, Spec};
use std::f64::consts::TAU;

/// A periodic Hann window.
fn hann(len: usize) -> Vec<f64> {
    (0..len).map(|i| 0.5 - 0.5 * (TAU * i as f64 / len as f64).cos()).collect()
}

/// Overlapping triangles of growing width over `bins` bins.
fn bank(bins: usize, bands: usize) -> BankRows {
    let edge = |i: usize| 1 + (bins - 2) * i * (i + bands) / ((bands + 2) * (2 * bands + 2));
    let mut rows = BankRows { bins, first: Vec::new(), offset: vec![0], weights: Vec::new() };
    for band in 0..bands {
        let (first, end) = (edge(band), edge(band + 2).max(edge(band) + 1));
        rows.first.push(first as u32);
        let middle = (first + end) as f64 / 2.0;
        let triangle = |bin: usize| 1.0 / (1.0 + (bin as f64 + 0.5 - middle).abs());
        rows.weights.extend((first..end).map(triangle));
        rows.offset.push(rows.weights.len() as u32);
    }
    rows
}

fn spectrum(name: &'static str, x: [usize; 3], window: usize, framing: Framing) -> Case {
    let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.power_spectrum(x[0], &hann(window), framing)?]);
    Case::new("power_spectrum", name, [Input::real(x)], build).not_differentiable()
}

fn bands(name: &'static str, x: [usize; 3], bands: usize, framing: Framing) -> Case {
    let build = move |g: &mut Graph, x: &[Value]| {
        let window = hann(framing.n_fft);
        Ok(vec![g.band_spectrum(x[0], &window, framing, &bank(framing.bins(), bands))?])
    };
    Case::new("band_spectrum", name, [Input::real(x)], build).not_differentiable()
}

fn on(
    op: &'static str,
    name: &'static str,
    x: Input,
    f: impl Fn(&mut Graph, Value) -> crate::Result<Value> + Send + Sync + 'static,
) -> Case {
    Case::new(op, name, [x], move |g, x| Ok(vec![f(g, x[0])?])).not_differentiable()
}

fn masks(name: &'static str, x: [usize; 4], counts: [usize; 2], fill: Fill) -> Case {
    let pairs = |count: usize, axis: usize| Input::index([x[0], count, 2], axis as u32 + 1);
    let inputs = [Input::real(x), pairs(counts[0], x[2]), pairs(counts[1], x[3])];
    Case::new("mask", name, inputs, move |g, x| Ok(vec![g.mask(x[0], x[1], x[2], fill)?])).not_differentiable()
}

fn warp(name: &'static str, x: [usize; 4], by: &[f64]) -> Case {
    let inputs = [Input::real(x), Input::given([x[0], 2], by.to_vec())];
    Case::new("warp", name, inputs, |g, x| Ok(vec![g.warp(x[0], x[1])?])).not_differentiable()
}

fn crop(name: &'static str, x: [usize; 3], length: usize) -> Case {
    let inputs = [Input::real(x), Input::index([x[0]], x[2] as u32)];
    let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.circular_crop(x[0], x[1], length)?]);
    Case::new("circular_crop", name, inputs, build).not_differentiable()
}

/// Windows of 40 samples out of 100, one for each place.
fn excerpts(name: &'static str, channels: usize, repeat: bool, places: &[[u32; 5]]) -> Case {
    let values = places.as_flattened().iter().map(|&x| f64::from(x)).collect();
    let places = Input { spec: Spec::index([places.len(), 5]), values: Values::Given(values), gradient: false };
    let build = move |g: &mut Graph, x: &[Value]| {
        Ok(vec![g.excerpts(x[0], x[1], Excerpts { channels, length: 40, repeat })?])
    };
    Case::new("excerpts", name, [Input::real([100]), places], build).not_differentiable()
}

/// Reductions handed from one operation to the next, as the pass of that name arranges it.
fn masked_chain(name: &'static str, x: [usize; 4], per: Per) -> Case {
    let pairs = |axis: usize| Input::index([x[0], 2, 2], axis as u32 + 1);
    let inputs = [Input::range(x, 1e-4, 2.0), pairs(x[2]), pairs(x[3])];
    let build = move |g: &mut Graph, x: &[Value]| {
        let decibels = Decibels { floor: 1e-10, top_db: 30.0, hands_on: Some(Partial::Sum) };
        let made = g.apply(decibels, &[x[0]])?;
        let mask = Mask { fill: Fill::ItemMean, hands_on: Some(Partial::Moments) };
        let masked = g.apply(mask, &[made[0], x[1], x[2], made[1]])?;
        let y = g.apply_one(Standardise { per, eps: 0.0 }, &masked)?;
        Ok([made, masked, vec![y]].concat())
    };
    Case::new("standardise", name, inputs, build).not_differentiable()
}

fn warped_chain(name: &'static str, x: [usize; 4], by: &[f64]) -> Case {
    let inputs = [Input::range(x, 1e-4, 2.0), Input::given([x[0], 2], by.to_vec())];
    let build = |g: &mut Graph, x: &[Value]| {
        let greatest = g.apply(Decibels { floor: 1e-10, top_db: 30.0, hands_on: Some(Partial::Max) }, &[x[0]])?;
        let decibels = Decibels { floor: 1e-10, top_db: 30.0, hands_on: Some(Partial::Min) };
        let made = g.apply(decibels, &[x[0]])?;
        let warped = g.apply(Warp { hands_on: Some(Partial::Moments) }, &[made[0], x[1], made[1]])?;
        let y = g.apply_one(Standardise { per: Per::Item, eps: 1e-5 }, &warped)?;
        Ok([greatest, made, warped, vec![y]].concat())
    };
    Case::new("warp", name, inputs, build).not_differentiable()
}

pub(super) fn cases() -> Vec<Case> {
    let framing = |n_fft, hop, centred| Framing { n_fft, hop, centred };
    let filter = |name, x: [usize; 4], bands| {
        let rows = bank(x[3], bands);
        on("filter_bank", name, Input::range(x, 0.0, 2.0), move |g, x| g.filter_bank(x, &rows))
    };
    let decibels = |name, shape: &[usize], top_db| {
        on("decibels", name, Input::range(Shape::new(shape), 1e-4, 2.0), move |g, x| g.decibels(x, 1e-10, top_db))
    };
    let standardise = |name, shape: &[usize], per, eps| {
        on("standardise", name, Input::range(Shape::new(shape), -3.0, 1.0), move |g, x| g.standardise(x, per, eps))
    };
    vec![
        crop("one", [1, 1, 1], 1),
        crop("whole", [3, 2, 50], 50),
        crop("part", [4, 1, 77], 33),
        excerpts("mono", 2, false, &[[7, 0, 1, 33, 0], [50, 0, 1, 40, 25]]),
        excerpts("stereo", 2, false, &[[0, 50, 1, 40, 0], [20, 30, 1, 10, 39], [3, 0, 1, 0, 1]]),
        excerpts("mixed and repeated", 1, true, &[[0, 50, 2, 12, 0], [10, 20, 3, 9, 17], [0, 0, 1, 0, 5]]),
        excerpts("beyond the end", 2, false, &[[90, 5, 1, 20, 0], [4_000_000_000, 7, 1, 40, 3]]),
        spectrum("smallest", [1, 1, 5], 8, framing(8, 1, true)),
        spectrum("overlap", [2, 1, 70], 16, framing(16, 5, true)),
        spectrum("short window", [1, 1, 100], 10, framing(32, 7, false)),
        spectrum("two channels", [2, 2, 1300], 1024, framing(1024, 512, true)),
        spectrum("largest", [1, 1, 2100], 4096, framing(4096, 1000, true)),
        bands("small", [1, 1, 300], 20, framing(256, 64, true)),
        bands("notebook", [2, 2, 3000], 64, framing(1024, 512, true)),
        bands("large", [8, 2, 44_000], 64, framing(1024, 512, true)).bench(),
        filter("one frame", [1, 1, 1, 129], 8),
        filter("two channels", [2, 2, 19, 513], 64),
        filter("large", [8, 2, 86, 513], 64).bench(),
        decibels("five", &[1, 5], 80.0),
        decibels("cut off", &[3, 2, 16, 21], 20.0),
        decibels("long", &[2, 9000], 70.0),
        decibels("not cut off", &[2, 300], f64::INFINITY),
        decibels("large", &[32, 2, 64, 86], 80.0).bench(),
        masks("small, mean", [1, 1, 4, 5], [1, 1], Fill::ItemMean),
        masks("constant", [2, 1, 6, 7], [1, 1], Fill::Constant(-2.0)),
        masks("several", [3, 2, 64, 86], [2, 2], Fill::ItemMean),
        masks("large", [32, 2, 64, 86], [1, 1], Fill::ItemMean).bench(),
        standardise("two", &[1, 2], Per::Item, 1e-5),
        standardise("per item", &[3, 2, 16, 21], Per::Item, 0.0),
        standardise("per batch", &[3, 2, 16, 21], Per::Batch, 0.0),
        standardise("long", &[2, 9001], Per::Item, 1e-5),
        standardise("large", &[32, 2, 64, 86], Per::Batch, 0.0).bench(),
        warp("one", [1, 1, 1, 1], &[0.0, 1.0]),
        warp("shift and stretch", [2, 1, 12, 31], &[0.0, 1.0, 2.0, 0.5]),
        warp("between", [4, 2, 20, 40], &[1.5, 1.25, -3.25, 0.75, 100.0, 1.0, 0.25, 3.0]),
        masked_chain("handed on", [3, 2, 24, 31], Per::Item),
        masked_chain("handed on, per batch", [2, 1, 30, 90], Per::Batch),
        warped_chain("handed on", [2, 1, 40, 70], &[1.5, 1.25, -3.25, 0.75]),
        warp("large", [32, 1, 64, 86], &[1.5, 1.25].repeat(32)).bench(),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    let framing = Framing { n_fft: 64, hop: 16, centred: true };
    let signal = || Spec::real([2, 1, 100]);
    let image = || Spec::real([2, 1, 4, 5]);
    let crop = |name, x: Spec, start: Spec, length, words| {
        let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.circular_crop(x[0], x[1], length)?]);
        Refusal::new("circular_crop", name, [x, start], words, build)
    };
    let spectrum = |name, x: Spec, framing, words| {
        let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.power_spectrum(x[0], &hann(64), framing)?]);
        Refusal::new("power_spectrum", name, [x], words, build)
    };
    let mask = |name, x: Spec, frequency: Spec, time: Spec, fill, words| {
        let build = move |g: &mut Graph, x: &[Value]| Ok(vec![g.mask(x[0], x[1], x[2], fill)?]);
        Refusal::new("mask", name, [x, frequency, time], words, build)
    };
    let pairs = |n: usize| Spec::index([n, 1, 2]);
    vec![
        crop("too long", signal(), Spec::index([2]), 101, &["101", "[2, 1, 100]"]),
        crop("nothing", signal(), Spec::index([2]), 0, &["0", "[2, 1, 100]"]),
        crop("no signal", Spec::real([2, 100]), Spec::index([2]), 5, &["[2, 100]"]),
        crop("other starts", signal(), Spec::index([3]), 5, &["[3]"]),
        crop("start out of range", signal(), Spec::index([2]), 5, &["100"]).indices(vec![0, 100]),
        Refusal::new("excerpts", "no places", [Spec::real([9]), Spec::index([2, 4])], &["[2, 4]"], |g, x| {
            Ok(vec![g.excerpts(x[0], x[1], Excerpts { channels: 1, length: 4, repeat: false })?])
        }),
        Refusal::new("excerpts", "no samples", [Spec::real([9]), Spec::index([2, 5])], &["0 samples"], |g, x| {
            Ok(vec![g.excerpts(x[0], x[1], Excerpts { channels: 1, length: 0, repeat: false })?])
        }),
        spectrum("no power of two", signal(), Framing { n_fft: 60, ..framing }, &["60"]),
        spectrum("no hop", signal(), Framing { hop: 0, ..framing }, &["hop"]),
        spectrum("window too long", signal(), Framing { n_fft: 32, ..framing }, &["64", "32"]),
        spectrum("signal too short", signal(), Framing { n_fft: 256, ..framing }, &["100", "256"]),
        spectrum("no signal", image(), framing, &["[2, 1, 4, 5]"]),
        Refusal::new("band_spectrum", "other bins", [signal()], &["33", "65"], move |g, x| {
            Ok(vec![g.band_spectrum(x[0], &hann(64), framing, &bank(65, 8))?])
        }),
        Refusal::new("filter_bank", "other bins", [image()], &["33", "[2, 1, 4, 5]"], |g, x| {
            Ok(vec![g.filter_bank(x[0], &bank(33, 8))?])
        }),
        Refusal::new("filter_bank", "malformed", [Spec::real([1, 1, 2, 33])], &["malformed"], |g, x| {
            let mut rows = bank(33, 8);
            rows.first[3] = 60;
            Ok(vec![g.filter_bank(x[0], &rows)?])
        }),
        Refusal::new("decibels", "no floor", [image()], &["floor"], |g, x| Ok(vec![g.decibels(x[0], 0.0, 80.0)?])),
        Refusal::new("decibels", "negative", [image()], &["-1"], |g, x| Ok(vec![g.decibels(x[0], 1e-10, -1.0)?])),
        mask("other items", image(), pairs(3), pairs(2), Fill::ItemMean, &["[3, 1, 2]"]),
        mask("not finite", image(), pairs(2), pairs(2), Fill::Constant(f64::NAN), &["finite"]),
        mask("out of range", image(), pairs(2), pairs(2), Fill::ItemMean, &["below 5"]).indices(vec![0, 6, 0, 0]),
        Refusal::new("standardise", "negative", [image()], &["-1"], |g, x| {
            Ok(vec![g.standardise(x[0], Per::Item, -1.0)?])
        }),
        Refusal::new("standardise", "one element", [Spec::real([2])], &["[2]"], |g, x| {
            Ok(vec![g.standardise(x[0], Per::Item, 0.0)?])
        }),
        Refusal::new("warp", "other items", [image(), Spec::real([3, 2])], &["[3, 2]"], |g, x| {
            Ok(vec![g.warp(x[0], x[1])?])
        }),
        Refusal::new("standardise", "others' moments", [image(), Spec::real([3, 1, 2])], &["[3, 1, 2]"], |g, x| {
            g.apply(Standardise { per: Per::Item, eps: 0.0 }, x)
        }),
        Refusal::new("warp", "no image", [signal(), Spec::real([2, 2])], &["[2, 1, 100]"], |g, x| {
            Ok(vec![g.warp(x[0], x[1])?])
        }),
    ]
}
