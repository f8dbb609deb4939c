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

#[test]
fn a_run_that_was_broken_goes_on() {
    let data = text(small_data());
    let predict = |out: &Path, more: &[&str]| {
        let fixed = ["predict", "--device", "cpu", "--model", text(model()), data, "--out", text(out)];
        run(&[&fixed[..], more].concat())
    };
    let succeeds = |out: &Path, more: &[&str]| {
        let output = predict(out, more);
        assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    for ending in ["csv", "jsonl"] {
        let out = scratch().join(format!("whole.{ending}"));
        succeeds(&out, &[]);
        let whole = std::fs::read_to_string(&out).unwrap();
        assert_eq!(whole.lines().count(), if ending == "csv" { 13 } else { 12 });
        // Cut off in a line, at the end of one, before its head, and not at all.
        let fifth: usize = whole.split_inclusive('\n').take(5).map(str::len).sum();
        for kept in [fifth + 20, fifth, 7, whole.len()] {
            let part = scratch().join(format!("part {kept}.{ending}"));
            std::fs::write(&part, &whole[..kept]).unwrap();
            let told = succeeds(&part, &["--skip-done"]);
            assert!(told.contains("of 12 recordings are in the file already"), "{told}");
            assert_eq!(std::fs::read_to_string(&part).unwrap(), whole, "{ending}, cut at {kept}");
        }
        let refused = String::from_utf8(predict(&out, &[]).stderr).unwrap();
        assert!(refused.contains("--out") && refused.contains("--skip-done"), "{refused}");
        let refused = String::from_utf8(predict(&out, &["--skip-done", "--min-confidence", "0.123"]).stderr).unwrap();
        assert!(refused.contains("threshold") && refused.contains("0.123"), "{refused}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), whole, "it is as it was");

        // Three parts are the whole.
        let mut lines: Vec<String> = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            let out = scratch().join(format!("shard {}.{ending}", &part[..1]));
            succeeds(&out, &["--shard", part]);
            let told = std::fs::read_to_string(&out).unwrap();
            lines.extend(told.lines().skip(usize::from(ending == "csv")).map(String::from));
        }
        lines.sort();
        let mut all: Vec<String> = whole.lines().skip(usize::from(ending == "csv")).map(String::from).collect();
        all.sort();
        assert_eq!(lines, all);
    }
    // Other forms are written at the end, in one piece.
    let json = scratch().join("all.json");
    succeeds(&json, &[]);
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 12);
    for (wrong, words) in [
        (&["--skip-done"][..], "--out"),
        (&["--shard", "4/3"], "--shard"),
        (&["--out", "x.json", "--skip-done"], "--skip-done"),
        (&["--explain", "--format", "csv"], "--explain"),
        (&["--nearest", "nowhere", "--format", "audacity"], "--nearest"),
        (&["--nearest", "nowhere"], "--nearest"),
    ] {
        let told = fail(2, &[&["predict", "--device", "cpu", "--model", text(model()), data], wrong].concat());
        assert!(told.contains(words), "{wrong:?}: {told}");
    }
}

#[test]
fn an_answer_is_explained() {
    // Two seconds of a hum, of which the second half is silent: the answer cannot come from there.
    let clip = std::fs::read_dir(small_data()).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut file = hound::WavReader::open(&clip).unwrap();
    let (spec, samples) = (file.spec(), file.samples::<i16>().map(Result::unwrap).collect::<Vec<i16>>());
    let half = scratch().join("half.wav");
    let mut written = hound::WavWriter::create(&half, spec).unwrap();
    for (t, &sample) in samples.iter().enumerate() {
        written.write_sample(if t < samples.len() / 2 { sample } else { 0 }).unwrap();
    }
    written.finalize().unwrap();
    let fixed = ["predict", "--device", "cpu", "--model", text(model()), "--explain", "--nearest", text(small_data())];
    let told = succeed(&[&fixed[..], &[text(&half), text(&clip), "--format", "json"]].concat());
    let answers: serde_json::Value = serde_json::from_str(&told).unwrap();
    let parts = answers[0]["explanation"].as_array().unwrap();
    assert_eq!(parts.len(), 4, "half a second each: {told}");
    let confidence = answers[0]["confidence"].as_f64().unwrap();
    let change = |part: usize| (confidence - parts[part]["confidence_without"].as_f64().unwrap()).abs();
    assert_eq!((parts[3]["start"].as_f64(), parts[3]["end"].as_f64()), (Some(1.5), Some(2.0)));
    assert!(change(3) < 1e-9, "silence makes no difference: {told}");
    assert!(change(0).max(change(1)) > 1e-6, "the sound does: {told}");
    // The clip itself is what is most like it.
    let nearest = answers[1]["nearest"].as_array().unwrap();
    assert_eq!((nearest.len(), nearest[0]["file"].as_str()), (3, clip.file_name().unwrap().to_str()), "{told}");
    assert!(nearest[0]["distance"].as_f64().unwrap() < 1e-3 && nearest[1]["distance"].as_f64().unwrap() > 1e-3);
    let table = succeed(&[&fixed[..], &[text(&half)]].concat());
    assert_eq!(table.lines().count(), 1 + 4 + 3, "{table}");
    assert!(table.contains("without 0:01.5 to 0:02.0") && table.contains("    like S"), "{table}");
}

#[test]
fn vectors_of_recordings() {
    let data = text(small_data());
    let embed =
        |more: &[&str]| succeed(&[&["embed", "--device", "cpu", "--model", text(model()), data], more].concat());
    let csv = embed(&[]);
    let head: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(&head[..4], ["file", "start", "end", "v0"]);
    let length = head.len() - 3;
    let of_csv: Vec<Vec<f32>> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(3).map(|number| number.parse().unwrap()).collect())
        .collect();
    assert!(of_csv.len() == 12 && of_csv.iter().all(|vector| vector.len() == length));
    assert!(of_csv[0] != of_csv[1] && of_csv.iter().flatten().all(|x| x.is_finite()));
    let lines = embed(&["--format", "jsonl"]);
    for (line, vector) in lines.lines().zip(&of_csv) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let numbers: Vec<f32> = row["vector"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!((&numbers, row["end"].as_f64()), (vector, Some(2.0)));
    }
    let out = scratch().join("vectors.npy");
    let names = embed(&["--out", text(&out)]);
    assert_eq!(names.lines().count(), 13, "{names}");
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    let said = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (12, {length}), }}");
    assert!(start % 64 == 0 && header.trim_end() == said && header.ends_with('\n'), "{header}");
    let numbers: Vec<f32> = bytes[start..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(numbers, of_csv.concat());
    let told = fail(2, &["embed", "--model", text(model()), data, "--format", "npy"]);
    assert!(told.contains("--format") && told.contains("--out"), "{told}");
    assert!(fail(2, &["embed", "--model", text(model()), data, "--out", text(&out)]).contains("there already"));
}
