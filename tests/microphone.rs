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
fn plugged_in(samples: &Path, name: &str) -> PathBuf {
    let configuration = scratch().join(name);
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
    let (model, configuration) = (model(), plugged_in(&recorded(), "asound.conf"));
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

/// Eight notes of 0.4 s from the third second on, and again from the twelfth, with overtones as a voice has them.
fn sung(semitones: [f64; 8]) -> PathBuf {
    let at = |t: u32| {
        let seconds = f64::from(t) / f64::from(RATE);
        let within = [3.0, 12.0].iter().map(|start| seconds - start).find(|t| (0.0..3.2).contains(t));
        within.map_or(0.0, |t| {
            let hz = 220.0 * (semitones[((t / 0.4) as usize).min(7)] / 12.0).exp2();
            let fade = (20.0 * (t / 0.4).fract().min(1.0 - (t / 0.4).fract())).min(1.0);
            let voice = |h: f64| (std::f64::consts::TAU * h * hz * t).sin() / h;
            (0.2 * fade * (voice(1.0) + voice(2.0) + voice(3.0))) as f32
        })
    };
    let path = scratch().join("sung.raw");
    let bytes: Vec<u8> = (0..20 * RATE).flat_map(|t| [at(t).to_le_bytes(); CHANNELS].concat()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_sung_to_a_microphone_is_identified_stretch_by_stretch() {
    let (songs, catalogue) = (scratch().join("songs"), scratch().join("songs.cat"));
    std::fs::create_dir_all(&songs).unwrap();
    std::fs::write(songs.join("scale.abc"), "X:1\nT:Scale\nL:1/8\nQ:1/4=120\nK:C\nC2 D2 E2 F2 G2 A2 B2 c2\n").unwrap();
    std::fs::write(songs.join("other.abc"), "X:1\nT:Other\nL:1/8\nQ:1/4=120\nK:C\nC2 C2 G2 G2 A2 A2 G4 F2 F2\n")
        .unwrap();
    succeed(&["catalogue", "make", "--notes-alone", text(&songs), "--out", text(&catalogue)]);
    let configuration = plugged_in(&sung([0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 11.0, 12.0]), "identify.conf");
    let fixed = ["identify", "--catalogue", text(&catalogue), "--format", "jsonl"];
    let output = listen(&configuration, &[&fixed[..], &["--microphone", "--seconds", "18"]].concat());
    let (told, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.contains("listening to") && err.contains("for 18 s"), "{err}");
    let answers: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2, "{told}{err}");
    for (answer, from) in answers.iter().zip([3.0, 12.0]) {
        let (start, end) = (answer["start"].as_f64().unwrap(), answer["end"].as_f64().unwrap());
        assert!((start - from).abs() < 0.4 && (end - from - 3.2).abs() < 0.4, "{answer}");
        assert!(answer["file"] == "microphone" && answer["candidates"][0]["title"] == "Scale", "{answer}");
    }
    let refused = listen(&configuration, &[&fixed[..], &["--microphone=nothing of this name"]].concat());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && told.contains("no microphone is called"), "{told}");
}
