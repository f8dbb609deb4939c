//! Tests once more with narrower vectors, as on machines that have no wider ones.

use humdinger::vectors;
use std::process::Command;

const BITS: &str = "HUMDINGER_TEST_VECTORS";

/// Where this process was started by [`with_narrower_vectors`], makes the kernels use vectors of its width. At the start of a test.
pub fn choose_vectors() {
    if let Ok(bits) = std::env::var(BITS) {
        vectors::choose(bits.parse().unwrap()).unwrap();
    }
}

/// Runs tests of this file in processes of their own, which choose the vectors of every width but the widest.
pub fn with_narrower_vectors(tests: &[&str]) {
    let widths = vectors::widths();
    if widths.len() == 1 {
        eprintln!("SKIPPED: this machine has no vectors that kernels use, so none are narrower");
    }
    for bits in &widths[1..] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.arg("--exact").args(tests).env(BITS, bits.to_string()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let passed = format!("{} passed", tests.len());
        assert!(output.status.success() && text.contains(&passed), "with vectors of {bits} bits:\n{text}");
    }
}
