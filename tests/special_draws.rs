//! Every case of the table with special values in each of its inputs by turns: NaN and infinities lie in the same places on the CPU, in
//! f64 and on a GPU, and what is finite agrees.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::cases::{compare, on_cpu, on_gpu, pool};
use humdinger::cases::{self, Case, Special};

/// The cases of the table that have an input `i`, with such values in it.
fn with(special: Special, i: usize) -> impl Iterator<Item = Case> {
    (cases::all().into_iter().filter(|case| !case.bench))
        .filter_map(move |case| case.special(i, special))
        .map(|case| Case { tolerance: SLACK * case.tolerance, ..case })
}

/// Why what this case gives for these values on a GPU may differ from the CPU; the rest may not.
fn excuse(special: Special, case: &Case) -> Option<&'static str> {
    match (special, case.op, case.name) {
        (Special::Denormals, "log", _) => Some("WebGPU allows a GPU to take denormals for 0"),
        (Special::Infinities, "power_spectrum", _) => {
            Some("which sums of a fast transform meet both infinities depends on its order")
        }
        (Special::Huge, "standardise", _) => Some("the CPU adds squares up in f64, where they do not overflow"),
        (Special::NotANumber | Special::Infinities, "cross_entropy", "one") => {
            Some("with one class the loss is x - x, which compilers for GPUs take for 0")
        }
        _ => None,
    }
}

/// Ties bring sums that cancel, such as the gradient of batch norm's gamma: their rounding is larger than the table's tolerances allow.
const SLACK: f64 = 100.0;

fn wide(outputs: Vec<(String, Vec<f32>)>) -> Vec<(String, Vec<f64>)> {
    outputs.into_iter().map(|(name, values)| (name, values.into_iter().map(f64::from).collect())).collect()
}

fn most_inputs() -> usize {
    cases::all().iter().map(|case| case.inputs.len()).max().unwrap_or(0)
}

#[test]
fn the_cpu_in_f32_agrees_with_f64() {
    // Numbers near the ends of f32 are far from those of f64.
    let mut failures = Vec::new();
    for special in [Special::Ties, Special::NotANumber, Special::Infinities] {
        for i in 0..most_inputs() {
            for case in with(special, i) {
                let (found, expected) =
                    (on_cpu::<f32>(&case, pool(2)).unwrap(), on_cpu::<f64>(&case, pool(2)).unwrap());
                let found = compare(&case, &found, &expected).1;
                failures.extend(found.into_iter().map(|failure| format!("{special:?} in x{i}: {failure}")));
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_gpu_agrees_with_the_cpu() {
    let Some(gpu) = common::gpu() else { return };
    let mut failures = Vec::new();
    for special in Special::ALL {
        for i in 0..most_inputs() {
            for case in with(special, i).filter(|case| excuse(special, case).is_none()) {
                let expected = wide(on_cpu::<f32>(&case, pool(2)).unwrap());
                match on_gpu(&case, &gpu) {
                    Ok(found) => failures.extend(
                        (compare(&case, &found, &expected).1.into_iter())
                            .map(|failure| format!("{special:?} in x{i}: {failure}")),
                    ),
                    Err(error) => failures.push(format!("{special:?} in x{i}: {}: {error}", case.title())),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} on {}\n{}", failures.len(), gpu.adapter(), failures.join("\n"));
}
