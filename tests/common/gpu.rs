//! The GPU that tests run on.

pub mod cases;

use humdinger::gpu::Gpu;
use std::sync::OnceLock;

/// The GPU of the tests: the first adapter, be it a software one; `HUMDINGER_TEST_GPU` chooses another by number. One
/// device serves all tests of a file, so that each kernel is compiled once. Without an adapter tests are skipped loudly,
/// except where `CI` is set: there that is a failure.
pub fn gpu() -> Option<Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| {
        let number =
            std::env::var("HUMDINGER_TEST_GPU").ok().map(|n| n.parse().expect("HUMDINGER_TEST_GPU is a number"));
        match Gpu::open(number) {
            Ok(gpu) => {
                eprintln!("GPU tests run on {}", gpu.adapter());
                Some(gpu)
            }
            Err(error) if std::env::var_os("CI").is_some() => panic!("CI needs an adapter for its GPU tests: {error}"),
            Err(error) => {
                eprintln!("SKIPPED: this test needs a GPU or a software Vulkan. {error}");
                None
            }
        }
    })
    .clone()
}
