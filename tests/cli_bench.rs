//! `humdinger bench`: every work is done and says what it took, and computes the same with vectors of every width.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::vectors;
use program::{fail, succeed};
use serde_json::Value;

/// What the program prints of a work on the CPU, measured for a moment.
fn bench(arguments: &[&str]) -> Vec<Value> {
    let fixed = ["--device", "cpu", "--seconds", "0.01", "--json"];
    let told = succeed(&[&["bench"], arguments, &fixed].concat());
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(result: &Value, key: &str) -> f64 {
    result[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {result}"))
}

#[test]
fn every_work_is_measured() {
    for (arguments, checked) in [
        (&["step"][..], true),
        (&["step", "--batch", "3"], true),
        (&["melody_step", "--batch", "2"], true),
        (&["inference", "--batch", "2"], true),
        (&["conv2d", "--variant", "28x28"], true),
        (&["front_end"], true),
        (&["resample"], true),
        (&["resample", "--variant", "notebook"], true),
        (&["notebook_run", "--batch", "16"], false),
    ] {
        let results = bench(arguments);
        let result = results.last().unwrap();
        assert_eq!(result["name"], arguments[0]);
        let (median, best) = (number(result, "median_ms"), number(result, "best_ms"));
        assert!(number(result, "runs_per_second") > 0.0, "{arguments:?}: {result}");
        assert!(best > 0.0 && best <= median && number(result, "runs") >= 3.0, "{arguments:?}: {result}");
        assert!(!checked || number(result, "check").is_finite(), "{arguments:?}: {result}");
    }
}

#[test]
fn the_width_of_vectors_makes_no_difference_to_the_work() {
    for work in ["step", "melody_step", "inference", "front_end", "resample"] {
        let check = |bits: &usize| number(&bench(&[work, "--vectors", &bits.to_string()])[0], "check");
        let checks: Vec<f64> = vectors::widths().iter().map(check).collect();
        for other in &checks[1..] {
            assert!((other - checks[0]).abs() <= 1e-4 * checks[0].abs(), "{work}: {checks:?}");
        }
    }
}

#[test]
fn every_kernel_of_a_step_is_listed() {
    for (variant, blocks) in [("notebook", 4.0), ("melody", 6.0)] {
        let result = &bench(&["kernels", "--variant", variant])[0];
        assert!((0.0..=1.0).contains(&number(result, "idle_share")), "{result}");
        let kernels = result["kernels"].as_array().unwrap();
        let kernel = |name| kernels.iter().find(|kernel| kernel["op"] == name).unwrap_or_else(|| panic!("no {name}"));
        for (name, launches) in [("band_spectrum", 1.0), ("conv_block", blocks), ("conv_block_gradient", blocks)] {
            assert_eq!(number(kernel(name), "launches"), launches, "{variant}, {name}");
            for key in ["seconds", "flops", "bytes", "share_of_peak"] {
                assert!(number(kernel(name), key) > 0.0, "{variant}, {name}, {key}");
            }
        }
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, word) in [
        (&["bench", "step", "--batch", "0"][..], "--batch"),
        (&["bench", "step", "--seconds", "0"], "--seconds"),
        (&["bench", "step", "--vectors", "33"], "--vectors"),
        (&["bench", "conv2d", "--variant", "57x57"], "56x56"),
        (&["bench", "dance"], "notebook_run"),
    ] {
        assert!(fail(2, arguments).contains(word), "{arguments:?}");
    }
}
