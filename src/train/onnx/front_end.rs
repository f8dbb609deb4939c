//! From samples to the standardised image that the network looks at.

use super::writer::{Axis, Name, Writer, int, ints, word};
use crate::Result;
use crate::audio::faults::SILENCE;
use crate::audio::window::hann_periodic;
use crate::ops::{BankRows, warp_place};
use crate::train::network::{FLOOR, Network, Pass};
use crate::train::recipe::{Augmentation, FrontEnd, Recipe};

/// What is known of the samples.
pub struct FrontEndOutputs {
    /// The image [N A, channels, bands, frames], the A test-time augmentations of a window one after the other.
    pub image: Name,
    /// `[N]`: whether there is any sound, as a truth value.
    pub audible: Name,
}

/// See the top of this file.
pub fn write(w: &mut Writer, network: &Network) -> Result<FrontEndOutputs> {
    let front_end = &network.front_end;
    let doc =
        format!("{} samples a second, between -1 and 1; {} of them are used", front_end.sample_rate, front_end.window);
    let axes = [Axis::Any("batch"), Axis::Is(front_end.channels), Axis::Any("length")];
    let samples = w.input("samples", &axes, &doc);
    let samples = window(w, &samples, front_end);
    let audible = audible(w, &samples);
    let powers = band_powers(w, &samples, front_end, &network.bank()?);
    let levels = levels(w, &powers, front_end.top_db);
    let seen = match network.evaluation() {
        Pass::EvaluateAugmented => augmented(w, &levels, front_end),
        _ => levels,
    };
    let eps = if network.recipe == Recipe::Melody { 1e-5 } else { 0.0 };
    let image = standardise(w, &seen, front_end, eps);
    Ok(FrontEndOutputs { image, audible })
}

/// The first window of samples of any number: [N, channels, window].
fn window(w: &mut Writer, samples: &str, front_end: &FrontEnd) -> Name {
    let shape = w.node("Shape", "shape", &[samples], vec![]);
    let (two, one, zero) = (w.whole("two", 2), w.whole("one", 1), w.whole("zero", 0));
    let length = w.node("Gather", "length", &[&shape, &two], vec![]);
    // Of no samples at all there is none to take: the gathering below says so, where a remainder by 0 would end the process.
    let length = w.node("Max", "length", &[&length, &one], vec![]);
    let end = w.whole("window", front_end.window as i64);
    let places = w.node("Range", "places", &[&zero, &end, &one], vec![]);
    let along = || vec![int("axis", 2)];
    if front_end.repeat {
        let places = w.node("Mod", "places", &[&places, &length], vec![]);
        return w.node("Gather", "excerpt", &[samples, &places], along());
    }
    let last = w.node("Sub", "last", &[&length, &one], vec![]);
    let there = w.node("Min", "there", &[&places, &last], vec![]);
    let taken = w.node("Gather", "taken", &[samples, &there], along());
    let inside = w.node("Less", "inside", &[&places, &length], vec![]);
    let silence = w.real("silence", 0.0);
    w.node("Where", "excerpt", &[&inside, &taken, &silence], vec![])
}

/// Whether any channel varies by more than what counts as silence: `[N]`.
fn audible(w: &mut Writer, samples: &str) -> Name {
    let over = |w: &mut Writer, op: &str, name: &str, x: &str, axis: i64| {
        w.node(op, name, &[x], vec![ints("axes", &[axis]), int("keepdims", 0)])
    };
    let high = over(w, "ReduceMax", "high", samples, 2);
    let low = over(w, "ReduceMin", "low", samples, 2);
    let range = w.node("Sub", "range", &[&high, &low], vec![]);
    let range = over(w, "ReduceMax", "range", &range, 1);
    let least = w.real("least", 2.0 * f64::from(SILENCE));
    w.node("Greater", "audible", &[&range, &least], vec![])
}

/// The power in each band and frame: [N, channels, bands, frames].
fn band_powers(w: &mut Writer, samples: &str, front_end: &FrontEnd, bank: &BankRows) -> Name {
    let FrontEnd { channels, n_fft, frame, hop, bands, window: length, .. } = *front_end;
    // The window lies in the middle of the transform; what is outside of it is multiplied by 0, and need not be there.
    let offset = (n_fft - frame) / 2;
    let (before, after) = (n_fft / 2 - offset, frame + offset - n_fft / 2);
    let pads = w.row("pads", &[0, 0, before as i64, 0, 0, after as i64]);
    let padded = w.node("Pad", "padded", &[samples, &pads], vec![word("mode", "reflect")]);
    let rows = w.row("rows", &[-1, 1, (length + frame) as i64]);
    let signals = w.node("Reshape", "signals", &[&padded, &rows], vec![]);
    // Only the bins that some band uses.
    let used = |band: usize| bank.offset[band] < bank.offset[band + 1];
    let ends = |band: usize| {
        bank.first[band] as usize..(bank.first[band] + bank.offset[band + 1] - bank.offset[band]) as usize
    };
    let spans = || (0..bands).filter(|&band| used(band)).map(ends);
    let first = spans().map(|span| span.start).min().unwrap_or(0);
    let bins = spans().map(|span| span.end).max().unwrap_or(first + 1) - first;
    let hann = hann_periodic(frame);
    let wave = |of: fn(f64) -> f64| {
        let hann = &hann;
        (first..first + bins).flat_map(move |bin| {
            let angle = move |n: usize| std::f64::consts::TAU * (bin * n % n_fft) as f64 / n_fft as f64;
            hann.iter().enumerate().map(move |(n, h)| (h * of(angle(n))) as f32)
        })
    };
    let basis = w.reals("fourier_basis", &[2 * bins, 1, frame], wave(f64::cos).chain(wave(f64::sin)));
    let waves = w.node("Conv", "waves", &[&signals, &basis], vec![ints("strides", &[hop as i64])]);
    let squares = w.node("Mul", "squares", &[&waves, &waves], vec![]);
    let halves = w.row("halves", &[bins as i64; 2]);
    let [even, odd] = w.node_of("Split", ["even", "odd"], &[&squares, &halves], vec![int("axis", 1)]);
    let powers = w.node("Add", "powers", &[&even, &odd], vec![]);
    let mut matrix = vec![0.0; bands * bins];
    for band in 0..bands {
        for (bin, weight) in ends(band).zip(&bank.weights[bank.offset[band] as usize..]) {
            matrix[band * bins + bin - first] = *weight as f32;
        }
    }
    let matrix = w.reals("filter_bank", &[bands, bins], matrix);
    let summed = w.node("MatMul", "bands", &[&matrix, &powers], vec![]);
    let shape = [-1, channels as i64, bands as i64, front_end.frames() as i64];
    let shape = w.row("image_shape", &shape);
    w.node("Reshape", "image", &[&summed, &shape], vec![])
}

/// An operation over all of an item, which keeps its axes.
fn over_items(w: &mut Writer, op: &str, name: &str, x: &str) -> Name {
    w.node(op, name, &[x], vec![ints("axes", &[1, 2, 3])])
}

/// Decibels below the item's maximum, cut off at `-top_db`. Ours are not relative to the maximum; what comes next takes any
/// constant away. The quotient of equal powers is exactly 1, so that silence is 0 everywhere, whatever a runtime's logarithm is like.
fn levels(w: &mut Writer, powers: &str, top_db: f64) -> Name {
    let (floor, ten) = (w.real("floor", FLOOR), w.real("decibels", 10.0 / std::f64::consts::LN_10));
    let above = w.node("Max", "above", &[powers, &floor], vec![]);
    let top = over_items(w, "ReduceMax", "top", &above);
    let share = w.node("Div", "share_of_top", &[&above, &top], vec![]);
    let logarithm = w.node("Log", "logarithm", &[&share], vec![]);
    let relative = w.node("Mul", "relative", &[&logarithm, &ten], vec![]);
    let lowest = w.real("lowest", -top_db);
    w.node("Max", "levels", &[&relative, &lowest], vec![])
}

/// The image under all test-time augmentations: [N A, channels, bands, frames]. See [`crate::ops::Warp`].
fn augmented(w: &mut Writer, levels: &str, front_end: &FrontEnd) -> Name {
    let outside = over_items(w, "ReduceMin", "outside", levels);
    // What lies outside of the image is 0 then, and so is what is padded with.
    let above = w.node("Sub", "above_outside", &[levels, &outside], vec![]);
    let (bands, frames) = (front_end.bands, front_end.frames());
    let mut seen = Vec::new();
    for augmentation in &front_end.augmentations {
        let mut image = above.clone();
        if *augmentation != Augmentation::NONE {
            let band = |band: usize| warp_place(band as f32 - augmentation.shift, bands);
            image = between(w, &image, 2, bands, band);
            let frame = |frame: usize| warp_place(frame as f32 * augmentation.stretch, frames);
            image = between(w, &image, 3, frames, frame);
        }
        let one = w.row("view_axis", &[1]);
        seen.push(w.node("Unsqueeze", "view", &[&image, &one], vec![]));
    }
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    let together = w.node("Concat", "views", &seen, vec![int("axis", 1)]);
    let shape = [-1, front_end.channels as i64, bands as i64, frames as i64];
    let shape = w.row("views_shape", &shape);
    w.node("Reshape", "views", &[&together, &shape], vec![])
}

/// Along an axis of this length: cell i becomes what lies at `place(i)`, a cell and the weight of the one after it.
fn between(w: &mut Writer, x: &str, axis: usize, length: usize, place: impl Fn(usize) -> (isize, f32)) -> Name {
    // A cell of nothing before the first, and two behind the last.
    let mut pads = [0; 8];
    (pads[axis], pads[4 + axis]) = (1, 2);
    let pads = w.row("warp_pads", &pads);
    let padded = w.node("Pad", "around", &[x, &pads], vec![]);
    let at = |(below, _): (isize, f32)| if below < -1 { length as i64 + 1 } else { below as i64 + 1 };
    let low: Vec<i64> = (0..length).map(|i| at(place(i))).collect();
    let high: Vec<i64> = low.iter().map(|cell| cell + 1).collect();
    let (low, high) = (w.row("low_cells", &low), w.row("high_cells", &high));
    let along = || vec![int("axis", axis as i64)];
    let low = w.node("Gather", "low_part", &[&padded, &low], along());
    let high = w.node("Gather", "high_part", &[&padded, &high], along());
    let mut dims = vec![length];
    dims.resize(4 - axis, 1);
    let parts = w.reals("parts", &dims, (0..length).map(|i| place(i).1));
    let step = w.node("Sub", "step", &[&high, &low], vec![]);
    let part = w.node("Mul", "part", &[&step, &parts], vec![]);
    w.node("Add", "between", &[&low, &part], vec![])
}

/// Mean 0 and unbiased standard deviation 1 of each item; 0 where all of it is equal.
fn standardise(w: &mut Writer, x: &str, front_end: &FrontEnd, eps: f64) -> Name {
    let mean = over_items(w, "ReduceMean", "mean", x);
    let centred = w.node("Sub", "centred", &[x, &mean], vec![]);
    let squares = w.node("Mul", "deviations", &[&centred, &centred], vec![]);
    let biased = over_items(w, "ReduceMean", "variance", &squares);
    let count = (front_end.channels * front_end.bands * front_end.frames()) as f64;
    let unbiased = w.real("unbiased", count / (count - 1.0));
    let variance = w.node("Mul", "variance", &[&biased, &unbiased], vec![]);
    let deviation = w.node("Sqrt", "deviation", &[&variance], vec![]);
    // Where it is 0 so is what it divides.
    let eps = w.real("epsilon", eps.max(1e-30));
    let deviation = w.node("Add", "deviation", &[&deviation, &eps], vec![]);
    w.node("Div", "standardised", &[&centred, &deviation], vec![])
}
