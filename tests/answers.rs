//! What `humdinger predict` says of recordings, and why.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, run, scratch, small_data, succeed, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

type Row = BTreeMap<String, String>;

/// A model of almost no training.
fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let out = scratch().join("run");
        let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--data"];
        succeed(&[&train[..], &[text(small_data()), "--out", text(&out)]].concat());
        out.join("model.safetensors")
    })
}

/// The rows of a CSV text.
fn rows(csv: &str) -> Vec<Row> {
    csv::Reader::from_reader(csv.as_bytes()).deserialize().map(|row| row.unwrap()).collect()
}

/// A file of this many seconds at 8 kHz, 16 bits, mono.
fn write_wav(path: &Path, seconds: f64, sample: impl Fn(usize) -> f64) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for t in 0..(seconds * 8_000.0) as usize {
        file.write_sample((sample(t) * 32_767.0) as i16).unwrap();
    }
    file.finalize().unwrap();
}

#[test]
fn every_file_has_a_row_and_a_reason() {
    let folder = scratch().join("of all kinds");
    std::fs::create_dir_all(&folder).unwrap();
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&clip, folder.join("a hum.wav")).unwrap();
    write_wav(&folder.join("silent.wav"), 2.0, |_| 0.0);
    std::fs::write(folder.join("broken.wav"), b"no sound").unwrap();
    std::fs::write(folder.join("other.wma"), b"of a kind that is not read").unwrap();
    std::fs::write(folder.join("notes.txt"), b"no recording").unwrap();
    let predict = |more: &[&str]| {
        let output = run(&[&["predict", "--device", "cpu", "--model", text(model()), text(&folder)], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let of = |name: &str| folder.join(name).display().to_string();
    let header: serde_json::Value = {
        let bytes = std::fs::read(model()).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let all: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        serde_json::from_str(all["__metadata__"]["humdinger"].as_str().unwrap()).unwrap()
    };
    let stored = header["unknown_threshold"].as_f64().unwrap();

    let csv = predict(&["--format", "csv", "--top", "2"]);
    let start = "file,prediction,confidence,song_1,probability_1,song_2,probability_2,";
    assert!(csv.starts_with(start), "columns that were there stay where they were: {csv}");
    let table: BTreeMap<String, Row> = rows(&csv).into_iter().map(|row| (row["file"].clone(), row)).collect();
    assert_eq!(
        table.keys().cloned().collect::<Vec<_>>(),
        ["a hum.wav", "broken.wav", "other.wma", "silent.wav"].map(of)
    );
    for row in table.values() {
        assert!((row["threshold"].parse::<f64>().unwrap() - stored).abs() < 1e-6, "{row:?}");
        assert_eq!(row["error"].is_empty(), !row["prediction"].is_empty(), "{row:?}");
        assert!(!row["reason"].is_empty() && !row["decision"].is_empty());
    }
    assert_eq!((&*table[&of("silent.wav")]["decision"], &*table[&of("silent.wav")]["reason"]), ("silence", "silence"));
    assert!(table[&of("broken.wav")]["error"].contains("cut short"), "{csv}");
    assert!(table[&of("other.wma")]["error"].contains("of a kind that is not read"), "{csv}");

    // As sure as nobody is, and as sure as everybody is.
    let hum = |least: &str| -> serde_json::Value {
        let all: serde_json::Value =
            serde_json::from_str(&predict(&["--format", "json", "--min-confidence", least])).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 4);
        let broken = all.as_array().unwrap().iter().find(|row| row["file"] == of("broken.wav")).unwrap();
        assert!(broken["error"].as_str().unwrap().contains("cut short") && broken["prediction"].is_null(), "{broken}");
        all[0].clone()
    };
    let (unsure, sure) = (hum("1"), hum("0"));
    assert_eq!((&unsure["prediction"], &sure["decision"]), (&"unknown".into(), &"song".into()));
    assert_eq!(unsure["threshold"], 1.0);
    let (name, confidence) = (sure["prediction"].as_str().unwrap(), sure["confidence"].as_f64().unwrap());
    let near = confidence >= 0.5;
    let wanted = format!("{:.1} % {name}, below the 100.0 % asked for", 100.0 * confidence);
    let reason = unsure["reason"].as_str().unwrap();
    assert!(reason == wanted || !near && reason == "like nothing in training", "{reason}, {wanted}");
    assert!(sure["reason"].as_str().unwrap().contains("not below the 0.0 % asked for"), "{sure}");

    let shown = predict(&["--min-confidence", "1"]);
    let line = |name: &str| shown.lines().find(|line| line.contains(&of(name))).unwrap_or_default();
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(line("a hum.wav").starts_with("unknown") && line("a hum.wav").contains(&format!("({reason})")), "{shown}");
    assert!(line("silent.wav").contains("(silence)") && line("broken.wav").starts_with("not read"), "{shown}");
}

#[test]
fn a_file_alone_that_cannot_be_read_has_its_row() {
    let broken = scratch().join("alone.wav");
    std::fs::write(&broken, b"RIFF\0\0").unwrap();
    let arguments = ["predict", "--device", "cpu", "--model", text(model()), text(&broken), "--format"];
    for format in ["csv", "json"] {
        let output = run(&[&arguments[..], &[format]].concat());
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("error") && told.contains("cut short"), "{told}");
        if format == "json" {
            assert!(serde_json::from_str::<serde_json::Value>(&told).unwrap()[0]["confidence"].is_null());
        } else {
            assert_eq!(rows(&told)[0]["decision"], "error");
        }
    }
    assert!(fail(1, &[&arguments[..], &["table"]].concat()).contains("cut short"));
}
