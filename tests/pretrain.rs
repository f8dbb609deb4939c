//! `pretrain`: the same base model from the same seed, a file of half precision that `train` begins with and `predict` answers
//! from, and what is refused.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::data::synth::tunes;
use humdinger::device::Device;
use humdinger::train::Model;
use humdinger::train::pretrain::{KEPT, Pretraining, Stage, pretrain};
use program::{fail, scratch, succeed, text};

/// As little as there can be.
fn tiny() -> Pretraining {
    Pretraining {
        first: Stage { tunes: 2, rounds: 2 },
        then: Stage { tunes: 3, rounds: 2 },
        clips: 4,
        passes: 2,
        batch_size: 2,
        singers: 3,
        ..Pretraining::default()
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn any_number_of_threads_makes_the_same_base_model() {
    let mut rounds = Vec::new();
    let one =
        pretrain(&tiny(), &Device::with_threads(1), &mut |round| rounds.push((round.stage, round.round, round.of)))
            .unwrap();
    assert_eq!(rounds, [(1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2)]);
    let three = pretrain(&tiny(), &Device::with_threads(3), &mut |_| {}).unwrap();
    assert_eq!(one.model, three.model);
    assert_eq!(one.metrics.clips, tunes().len());
    let other = pretrain(&Pretraining { seed: 2, ..tiny() }, &Device::with_threads(2), &mut |_| {}).unwrap();
    assert_ne!(one.model.weights, other.model.weights);

    // What it has heard is none of the songs that are kept, and it says so.
    let trained_on = one.model.header.trained_on.clone().unwrap();
    let network = trained_on.split(';').next().unwrap();
    assert!(network.contains("3 generated melodies (seed 1)") && network.contains("Greensleeves"), "{trained_on}");
    assert!(KEPT.iter().all(|song| !network.contains(song)), "{trained_on}");

    // The file is half as large, and nothing is lost in it.
    let path = scratch().join("base.safetensors");
    one.model.write_halved(&path).unwrap();
    let read = Model::read(&path).unwrap();
    assert!(read.weights.tensors == one.model.weights.tensors && read.distribution == one.model.distribution);
    assert_eq!(read.header, one.model.header);
    assert!(path.metadata().unwrap().len() < 700_000);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (option, value) in [
        ("--melodies", "1"),
        ("--melodies", "8"),
        ("--melodies", "many"),
        ("--rounds", "0"),
        ("--first-melodies", "1"),
        ("--first-rounds", "-1"),
        ("--singers", "2"),
        ("--seed", "18446744073709551615"),
        ("--device", "tpu"),
    ] {
        let out = scratch().join("never.safetensors");
        let message = fail(2, &["pretrain", "--out", text(&out), &format!("{option}={value}")]);
        assert!(message.contains(option), "{option}={value}: {message}");
        assert!(!out.exists());
    }
    let nowhere = scratch().join("no-such-folder").join("m.safetensors");
    assert!(fail(1, &["pretrain", "--out", text(&nowhere)]).contains("no-such-folder"));
    assert!(fail(1, &["pretrain", "--out", text(scratch())]).contains("is a folder"));
    assert!(succeed(&["pretrain", "--help"]).contains("--melodies"));
}
