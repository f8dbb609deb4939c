//! The choice of a device: what is asked for, what `auto` takes, and what is said where there is no such adapter.

#![cfg(feature = "gpu")]

use humdinger::device::{Device, DeviceChoice};
use humdinger::gpu::{Gpu, adapters};
use humdinger::graph::Target;

#[test]
fn choices_are_parsed() {
    let good = [
        ("auto", DeviceChoice::Auto),
        ("cpu", DeviceChoice::Cpu),
        ("GPU", DeviceChoice::Gpu(None)),
        ("gpu:2", DeviceChoice::Gpu(Some(2))),
    ];
    for (text, choice) in good {
        assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
        assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
    }
    for text in ["", "cuda", "gpu:", "gpu:-1", "gpu:x", "gpu0"] {
        let error = text.parse::<DeviceChoice>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("auto, cpu, gpu, or gpu:<number>"), "{error}");
    }
}

#[test]
fn auto_takes_a_real_gpu_or_the_cpu() {
    let device = Device::choose(DeviceChoice::Auto).unwrap();
    match device.gpu() {
        Some(gpu) => assert!(!gpu.adapter().is_software(), "{device}"),
        None => assert!(adapters().iter().all(|adapter| adapter.is_software()), "{device}"),
    }
    assert!(!device.reason().is_empty());
    let cpu = Device::choose(DeviceChoice::Cpu).unwrap();
    assert_eq!(cpu.target(), Target::Cpu);
    assert!(cpu.to_string().contains("(asked for)"), "{cpu}");
    let little = Device::choose_for_little(DeviceChoice::Auto).unwrap();
    assert!(little.target() == Target::Cpu && little.to_string().contains("before a GPU"), "{little}");
    assert!(Device::choose_for_little(DeviceChoice::Gpu(Some(99))).is_err());
}

#[test]
fn an_adapter_that_does_not_exist_is_an_error_that_lists_those_that_do() {
    let Err(error) = Gpu::open(Some(99)) else { panic!("gpu:99 was opened") };
    let message = error.to_string();
    match adapters().first() {
        Some(first) => assert!(message.contains("no gpu:99") && message.contains(first.name()), "{message}"),
        None => assert!(message.contains("the CPU"), "{message}"),
    }
}
