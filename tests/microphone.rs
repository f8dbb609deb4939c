//! Listening to a microphone: one that ALSA makes of a file.

#![cfg(all(feature = "microphone", target_os = "linux"))]

#[path = "common/program.rs"]
mod program;

use program::{humdinger, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use std::process::Output;

/// What the program asks ALSA for, where everything can be had: numbers of 32 bits.
const RATE: u32 = 48_000;
const CHANNELS: usize = 2;

/// ALSA's configuration in which the microphone that is recorded with by default gives the samples of this file, as fast as they are taken.
fn plugged_in(samples: &Path) -> PathBuf {
    let configuration = scratch().join("asound.conf");
    let text = format!(
        "</usr/share/alsa/alsa.conf>\n\
         pcm.!default {{ type file\n file \"/dev/null\"\n infile \"{}\"\n format \"raw\"\n slave.pcm {{ type null }} }}\n",
        samples.display()
    );
    std::fs::write(&configuration, text).unwrap();
    configuration
}

/// Forty seconds of samples in which somebody hums for eight, from the twentieth on.
fn recorded() -> PathBuf {
    let clip = std::fs::read_dir(small_data()).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut file = hound::WavReader::open(clip).unwrap();
    let rate = file.spec().sample_rate;
    let hum: Vec<f32> = file.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    let at = |t: u32| match t / RATE {
        20..28 => hum[(u64::from(t) * u64::from(rate) / u64::from(RATE)) as usize % hum.len()],
        _ => 0.0,
    };
    let path = scratch().join("recorded.raw");
    let bytes: Vec<u8> = (0..40 * RATE).flat_map(|t| [at(t).to_le_bytes(); CHANNELS].concat()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn model() -> PathBuf {
    let out = scratch().join("run");
    let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--val-fraction", "0"];
    succeed(&[&train[..], &["--data", text(small_data()), "--out", text(&out)]].concat());
    out.join("model.safetensors")
}

fn listen(configuration: &Path, more: &[&str]) -> Output {
    humdinger().env("ALSA_CONFIG_PATH", configuration).args(more).output().unwrap()
}

#[test]
fn what_a_microphone_records_is_answered_like_a_stream() {
    let (model, configuration) = (model(), plugged_in(&recorded()));
    let fixed = ["predict", "--device", "cpu", "--min-confidence", "0.3", "--model", text(&model), "--format", "jsonl"];
    let output = listen(&configuration, &[&fixed[..], &["--microphone", "--seconds", "35"]].concat());
    let (told, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(err.contains(&format!("{RATE} Hz, {CHANNELS} channels; for 35 s")), "{err}");
    let passages: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!passages.is_empty(), "somebody hums: {err}");
    for passage in &passages {
        let (start, end) = (passage["start"].as_f64().unwrap(), passage["end"].as_f64().unwrap());
        // Windows of 4 s show what is up to 4 s away.
        assert!(start >= 16.0 && end <= 32.0 && passage["file"] == "microphone", "{passage}");
    }
    // It ends when it is asked to, and what was heard is answered.
    let whole = ["predict", "--device", "cpu", "--model", text(&model), "--min-confidence", "1", "--format", "csv"];
    let output = listen(&configuration, &[&whole[..], &["--microphone", "--seconds", "3"]].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.lines().count() == 2 && told.contains("microphone,unknown,") && told.contains(",0.000,3.000"),
        "{told}"
    );
    let refused = listen(&configuration, &[&fixed[..], &["--microphone=nothing of this name"]].concat());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && told.contains("no microphone is called `nothing of this name`"),
        "{told}"
    );
}
