//! Every case of the table, its gradients included: f32 against f64 with vectors of every width, GPU against CPU, and the same bits for
//! any number of threads.

#[cfg(feature = "gpu")]
#[path = "common/gpu.rs"]
mod common;
#[path = "common/vectors.rs"]
mod vectors;

use humdinger::cases::{self, Case, check};
use humdinger::cpu::Pool;
use humdinger::graph::{CpuReal, Parallel};
use std::sync::Arc;

fn on_cpu<T: CpuReal>(case: &Case, threads: usize) -> Vec<(String, Vec<T>)> {
    let pool: Arc<dyn Parallel + Send> = Arc::new(Pool::new(threads));
    check::on_cpu::<T>(case, pool).unwrap_or_else(|error| panic!("{}: {error}", case.title()))
}

#[test]
fn f32_agrees_with_f64_on_the_cpu() {
    vectors::choose_vectors();
    let failures: Vec<String> = cases::all()
        .iter()
        .flat_map(|case| check::compare(case, &on_cpu::<f32>(case, 2), &on_cpu::<f64>(case, 2)).1)
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn with_narrower_vectors_it_does_too() {
    vectors::with_narrower_vectors(&["f32_agrees_with_f64_on_the_cpu"]);
}

/// Outputs lie between sentinels, and a second run must give the same bits: [`check::on_gpu`] sees to both.
#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_with_the_cpu_in_f64() {
    let Some(gpu) = common::gpu() else { return };
    // The sizes for timing take a software device too long.
    let software = gpu.adapter().is_software();
    let mut failures = Vec::new();
    for case in cases::all().iter().filter(|case| !(software && case.bench)) {
        match check::on_gpu(case, &gpu) {
            Ok(found) => failures.extend(check::compare(case, &found, &on_cpu::<f64>(case, 2)).1),
            Err(error) => failures.push(format!("{}: {error}", case.title())),
        }
    }
    assert!(failures.is_empty(), "{} on {}\n{}", failures.len(), gpu.adapter(), failures.join("\n"));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for case in cases::all() {
        let bits = |threads: usize| -> Vec<Vec<u32>> {
            let outputs = on_cpu::<f32>(&case, threads);
            outputs.into_iter().map(|(_, values)| values.into_iter().map(f32::to_bits).collect()).collect()
        };
        let one = bits(1);
        assert!(one == bits(2) && one == bits(3), "{}: the number of threads shows", case.title());
    }
}
