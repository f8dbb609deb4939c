//! `humdinger predict` on long recordings, and on sound that comes through standard input.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, humdinger, run, scratch, small_data, succeed, text};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// A model of almost no training, whose windows are 4 s long, and which calls nothing unfamiliar.
fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let out = scratch().join("run");
        let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--val-fraction", "0"];
        succeed(&[&train[..], &["--data", text(small_data()), "--out", text(&out)]].concat());
        out.join("model.safetensors")
    })
}

/// Where somebody hums in [`recording`], in seconds.
const HUMS: [(f64, f64); 2] = [(20.0, 28.0), (44.0, 52.0)];
const RATE: u32 = 16_000;

/// A minute of 16 bits in which somebody hums twice, and which is silent otherwise.
fn recording() -> Vec<i16> {
    let clip = std::fs::read_dir(small_data()).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut file = hound::WavReader::open(clip).unwrap();
    let rate = f64::from(file.spec().sample_rate);
    let hum: Vec<i16> = file.samples::<i16>().map(Result::unwrap).collect();
    let at = |seconds: f64| {
        let inside = HUMS.iter().find(|(start, end)| (*start..*end).contains(&seconds));
        inside.map_or(0, |(start, _)| hum[((seconds - start) * rate) as usize % hum.len()])
    };
    (0..60 * RATE).map(|t| at(f64::from(t) / f64::from(RATE))).collect()
}

fn write_wav(path: &Path, samples: &[i16]) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| file.write_sample(sample).unwrap());
    file.finalize().unwrap();
}

/// The recording as a file.
fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = scratch().join("a long one.wav");
        write_wav(&path, &recording());
        path
    })
}

/// The options of every call: a threshold that the model reaches.
fn arguments<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed =
        ["predict", "--device", "cpu", "--all-windows", "--min-confidence", "0.3", "--model", text(model()), path];
    [&fixed[..], more].concat()
}

fn predict(more: &[&str]) -> String {
    succeed(&arguments(text(file()), more))
}

fn json(told: &str) -> serde_json::Value {
    serde_json::from_str(told).unwrap()
}

#[test]
fn passages_are_where_somebody_hums_in_every_form() {
    let answer = json(&predict(&["--format", "json"]))[0].clone();
    let passages = answer["passages"].as_array().unwrap();
    assert!(passages.len() >= 2 && answer["seconds"] == 60.0, "{answer}");
    let time = |passage: &serde_json::Value, key: &str| passage[key].as_f64().unwrap();
    for passage in passages {
        let (start, end) = (time(passage, "start"), time(passage, "end"));
        assert!(end - start >= 3.0, "{passage}");
        // Windows of 4 s show what is up to 4 s away.
        let near = HUMS.iter().any(|hum| start >= hum.0 - 4.0 && end <= hum.1 + 4.0);
        assert!(near, "{passage} is where nobody hums");
        assert!(passage["confidence"].as_f64().unwrap() >= 0.3 * 0.55 && passage["song"] != "unknown");
    }
    for hum in HUMS {
        let on = |passage: &&serde_json::Value| time(passage, "start") < hum.1 && time(passage, "end") > hum.0;
        assert!(passages.iter().any(|passage| on(&passage)), "{hum:?}: {answer}");
    }
    assert!(passages.is_sorted_by_key(|passage| (time(passage, "start") * 1000.0) as i64));
    assert_eq!(answer["decision"], "song");

    let csv = predict(&["--format", "csv"]);
    let rows: Vec<BTreeMap<String, String>> =
        csv::Reader::from_reader(csv.as_bytes()).deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), passages.len(), "{csv}");
    for (row, passage) in rows.iter().zip(passages) {
        assert_eq!(row["prediction"], passage["song"].as_str().unwrap());
        for (column, key) in [("start", "start"), ("end", "end"), ("confidence", "confidence")] {
            assert!((row[column].parse::<f64>().unwrap() - time(passage, key)).abs() < 1e-3, "{row:?}: {passage}");
        }
    }
    let labels = predict(&["--format", "audacity"]);
    assert_eq!(labels.lines().count(), passages.len(), "{labels}");
    assert!(!labels.contains("unknown") && labels.lines().all(|line| line.matches('\t').count() == 2), "{labels}");
    let table = predict(&[]);
    assert_eq!(table.lines().count(), passages.len(), "{table}");
    let song = passages[0]["song"].as_str().unwrap();
    assert!(table.starts_with(song) && table.contains(" to 0:") && table.contains("a long one.wav"), "{table}");
    // Each recording is an object in a line of its own.
    let lines = predict(&["--format", "jsonl"]);
    assert_eq!(json(lines.trim()), answer);
}

/// Somebody hums a song once, and before and after that it is heard twelve times with a pitch that wavers by two semitones, five times a second. The
/// windows name the song everywhere; held, as notes are, is its pitch in a twenty-fifth of the passage alone.
#[test]
fn a_hum_is_found_in_a_long_passage_that_is_none() {
    let folder = scratch().join("one singer");
    let synth = ["synth", "--singers", "1", "--tunes", "JingleBells", "--styles", "hum", "--channels", "mono"];
    succeed(&[&synth[..], &["--seed", "5", "--out", text(&folder)]].concat());
    let mut file = hound::WavReader::open(folder.join("S1_hum_1_JingleBells.wav")).unwrap();
    let rate = file.spec().sample_rate;
    let hum: Vec<f64> = file.samples::<i16>().map(|sample| f64::from(sample.unwrap())).collect();
    let turn = std::f64::consts::TAU * 5.0 / f64::from(rate);
    let wavering: Vec<f64> = (0..hum.len())
        .map(|t| {
            let at = t as f64 + (2f64.powf(2.0 / 12.0) - 1.0) / turn * (turn * t as f64).sin();
            let at = at.clamp(0.0, (hum.len() - 2) as f64);
            let (i, part) = (at as usize, at.fract());
            hum[i] * (1.0 - part) + hum[i + 1] * part
        })
        .collect();
    let all = [wavering.repeat(12), hum, wavering.repeat(12)].concat();
    let path = scratch().join("wavering.wav");
    let spec = hound::WavSpec { sample_rate: rate, ..file.spec() };
    let mut wav = hound::WavWriter::create(&path, spec).unwrap();
    all.iter().for_each(|&sample| wav.write_sample(sample as i16).unwrap());
    wav.finalize().unwrap();
    // With the base model.
    let command = ["predict", "--device", "cpu", "--format", "json"];
    let passages = json(&succeed(&[&command[..], &[text(&path)]].concat()))[0]["passages"].clone();
    let [passage] = &passages.as_array().unwrap()[..] else { panic!("{passages}") };
    let time = |key: &str| passage[key].as_f64().unwrap();
    assert_eq!(passage["song"], "JingleBells");
    assert!((time("start") - 96.0).abs() < 1.0 && (time("end") - 104.0).abs() < 1.0, "{passage}");
}

#[test]
fn options_of_passages() {
    let passages = |more: &[&str]| -> Vec<(f64, f64)> {
        let answer = json(&predict(&[&["--format", "json"], more].concat()))[0].clone();
        let of = |passage: &serde_json::Value, key: &str| passage[key].as_f64().unwrap();
        let all = answer["passages"].as_array().unwrap().iter();
        all.map(|passage| (of(passage, "start"), of(passage, "end"))).collect()
    };
    let usual = passages(&[]);
    // Windows that follow each other begin and end where the hums do. Those that overlap show what is around them, of which at most half a second
    // is kept on either side.
    let after_each_other = passages(&["--overlap", "0"]);
    let inside = |&(start, end): &(f64, f64)| HUMS.iter().any(|hum| start >= hum.0 && end <= hum.1);
    assert!(!after_each_other.is_empty() && after_each_other.iter().all(inside), "{after_each_other:?}");
    let about = |&(start, end): &(f64, f64)| HUMS.iter().any(|hum| start >= hum.0 - 0.6 && end <= hum.1 + 0.6);
    assert!(usual.iter().all(about) && !usual.iter().all(inside), "{usual:?}");
    let longest = usual.iter().map(|(start, end)| end - start).fold(0.0, f64::max);
    let least = format!("{}", longest + 0.5);
    assert!(passages(&["--min-duration", &least]).is_empty());
    let none = predict(&["--min-duration", &least]);
    assert!(none.starts_with("unknown") && none.contains("no song in 1:00.0"), "{none}");
    let none = predict(&["--min-duration", &least, "--format", "csv"]);
    assert!(none.lines().count() == 2 && none.contains(",unknown,") && none.contains(",0.000,60.000"), "{none}");
    assert!(predict(&["--min-duration", &least, "--format", "audacity"]).is_empty());
    // One answer for all, and the other way round.
    let one = json(&predict(&["--passages", "never", "--format", "json"]));
    assert!(one[0]["passages"].is_null() && one[0]["prediction"].is_string());
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    let short = json(&succeed(&arguments(text(&clip), &["--format", "json"])));
    assert!(short[0]["passages"].is_null() && short[0]["seconds"] == 2.0, "{short}");
    let forced = ["--passages", "always", "--min-duration", "1", "--format", "json"];
    let short = json(&succeed(&arguments(text(&clip), &forced)));
    assert_eq!(short[0]["passages"][0]["end"], 2.0, "{short}");
    // The notebook's recipe hears the beginning unless asked, and says so.
    let output = run(&["predict", "--device", "cpu", "--model", text(model()), text(file())]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("only its first 4.0 s are looked at") && told.contains("--all-windows"), "{told}");

    for (wrong, option) in [
        (&["--overlap", "1"][..], "--overlap"),
        (&["--overlap", "-0.1"], "--overlap"),
        (&["--min-duration", "-1"], "--min-duration"),
        (&["--cut", "x", "--passages", "never"], "--cut"),
        (&["--raw", "s16le"], "--raw"),
        (&["--rate", "8000"], "--raw"),
    ] {
        let told = fail(2, &arguments(text(file()), wrong));
        assert!(told.contains(option), "{wrong:?}: {told}");
    }
    assert!(fail(2, &arguments("-", &["--raw", "s17le"])).contains("s16le"), "it says what there is");
    assert!(fail(2, &arguments("-", &["-"])).contains("only once"));
}

#[test]
fn passages_are_cut_out_as_they_were_recorded() {
    let folder = scratch().join("cut");
    let folder_text = text(&folder);
    let passages = json(&predict(&["--format", "json", "--cut", folder_text]))[0]["passages"].clone();
    let whole = recording();
    for passage in passages.as_array().unwrap() {
        let (start, end) = (passage["start"].as_f64().unwrap(), passage["end"].as_f64().unwrap());
        let name = format!("a long one-{start:07.1}s.wav");
        let path = folder.join(passage["song"].as_str().unwrap()).join(name);
        let mut file = hound::WavReader::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(file.spec().sample_rate, RATE);
        let samples: Vec<i16> = file.samples().map(Result::unwrap).collect();
        let part = &whole[(start * f64::from(RATE)) as usize..(end * f64::from(RATE)) as usize];
        assert!(samples == part, "{}", path.display());
    }
    // A folder for each song, as `train` takes it.
    let checked = json(&succeed(&["check", folder_text, "--json"]));
    assert!(checked.to_string().contains(passages[0]["song"].as_str().unwrap()), "{checked}");
    let told = fail(2, &arguments(text(file()), &["--cut", folder_text]));
    assert!(told.contains("--cut") && told.contains("not empty"), "{told}");
}

/// What the program says to this standard input.
fn through_a_pipe(bytes: &[u8], more: &[&str]) -> String {
    let mut command = humdinger();
    command.args(arguments("-", more)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn standard_input_says_what_the_file_says() {
    let of_file = json(&predict(&["--format", "json"]))[0]["passages"].clone();
    let passages = |told: &str| json(told)[0]["passages"].clone();
    let wav = std::fs::read(file()).unwrap();
    // The sums of the resampler are rounded otherwise at most in their last bits.
    let alike = |a: &serde_json::Value, b: &serde_json::Value| {
        let (a, b) = (a.as_array().unwrap(), b.as_array().unwrap());
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a["song"] == b["song"] && a["start"] == b["start"])
    };
    let piped = passages(&through_a_pipe(&wav, &["--format", "json"]));
    assert!(alike(&piped, &of_file), "{piped}, {of_file}");
    let samples = recording();
    let little: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let float: Vec<u8> = samples.iter().flat_map(|&sample| (f32::from(sample) / 32_768.0).to_be_bytes()).collect();
    let stereo: Vec<u8> =
        samples.iter().flat_map(|sample| [sample.to_le_bytes(), sample.to_le_bytes()].concat()).collect();
    for (bytes, format, channels) in [(little, "s16le", "1"), (float, "f32be", "1"), (stereo, "s16le", "2")] {
        let raw = ["--raw", format, "--rate", "16000", "--channels", channels, "--format", "json"];
        let told = passages(&through_a_pipe(&bytes, &raw));
        assert!(alike(&told, &of_file), "{format}: {told}, {of_file}");
    }
    // In the form of lines, a line for each passage.
    let lines = through_a_pipe(&wav, &["--format", "jsonl"]);
    assert_eq!(lines.lines().count(), of_file.as_array().unwrap().len(), "{lines}");
    let folder = scratch().join("cut from a pipe");
    through_a_pipe(&wav, &["--cut", text(&folder)]);
    assert!(std::fs::read_dir(&folder).unwrap().count() > 0);
}

#[test]
fn a_stream_is_answered_while_it_comes() {
    let samples = recording();
    let mut command = humdinger();
    let raw = ["--raw", "s16le", "--rate", "16000", "--format", "jsonl"];
    command.args(arguments("-", &raw)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        BufReader::new(output).lines().for_each(|line| sender.send(line.unwrap()).unwrap());
    });
    let bytes = |from: u32, to: u32| -> Vec<u8> {
        samples[(from * RATE) as usize..(to * RATE) as usize].iter().flat_map(|sample| sample.to_le_bytes()).collect()
    };
    // Up to some seconds after the first hum; then nothing comes, and the pipe stays open.
    for second in 0..40 {
        input.write_all(&bytes(second, second + 1)).unwrap();
        input.flush().unwrap();
    }
    let first = lines.recv_timeout(Duration::from_secs(120)).expect("an answer before the end");
    let first = json(&first);
    assert!(first["end"].as_f64().unwrap() <= 32.0 && first["file"] == "-", "{first}");
    input.write_all(&bytes(40, 60)).unwrap();
    drop(input);
    let second = lines.recv_timeout(Duration::from_secs(120)).expect("an answer at the end");
    assert!(json(&second)["start"].as_f64().unwrap() > first["start"].as_f64().unwrap());
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn a_large_file_is_heard_piece_by_piece() {
    // 34 MB of 8 bits at the model's rate: silence, and a hum near the end.
    let path = scratch().join("large.wav");
    let count = 34 << 20;
    let mut bytes =
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xf8\x2a\0\0\xf8\x2a\0\0\x01\0\x08\0data".to_vec();
    bytes.extend((count as u32).to_le_bytes());
    bytes.resize(bytes.len() + count, 128);
    let hum = recording();
    let at = 3_000.0;
    for t in 0..8 * 11_000 {
        let sample = hum[(20.0 * f64::from(RATE) + t as f64 * f64::from(RATE) / 11_000.0) as usize];
        bytes[44 + (at * 11_000.0) as usize + t] = (i32::from(sample) / 256 + 128) as u8;
    }
    std::fs::write(&path, bytes).unwrap();
    let begun = std::time::Instant::now();
    let mut command = humdinger();
    let output = command.env("HUMDINGER_PROGRESS", "1").args(arguments(text(&path), &["--format", "json"])).output();
    let output = output.unwrap();
    let took = begun.elapsed().as_secs();
    let told = String::from_utf8_lossy(&output.stderr);
    // How far it is, and how long it still takes.
    let progress = told.lines().filter(|line| line.starts_with("large.wav: ") && line.ends_with(" left")).count();
    assert!(progress > 0 || took < 4, "{progress} lines in {took} s: {told}");
    let answer = json(&String::from_utf8(output.stdout).unwrap())[0].clone();
    let passages = answer["passages"].as_array().unwrap();
    assert!(!passages.is_empty(), "{answer}");
    for passage in passages {
        let (start, end) = (passage["start"].as_f64().unwrap(), passage["end"].as_f64().unwrap());
        assert!(start >= at - 4.0 && end <= at + 12.0, "{passage}");
    }
    assert!((answer["seconds"].as_f64().unwrap() - count as f64 / 11_000.0).abs() < 1e-3, "{answer}");
}

#[test]
fn a_microphone_is_listened_to_where_there_is_one_and_else_it_says_what_to_do() {
    let microphone = |more: &[&str]| {
        let fixed = ["predict", "--device", "cpu", "--model", text(model()), "--microphone"];
        fail(2, &[&fixed[..], more].concat())
    };
    assert!(microphone(&["--seconds", "0"]).contains("--seconds"));
    assert!(microphone(&["--shard", "1/2"]).contains("--shard"));
    assert!(microphone(&["--passages", "never"]).contains("--microphone"));
    assert!(microphone(&["x.wav"]).contains("--microphone"));
    assert!(fail(2, &["predict", "--seconds", "3", "x.wav"]).contains("--microphone"));
    if cfg!(feature = "microphone") {
        // tests/microphone.rs listens to one.
        assert!(microphone(&["--microphone=no such microphone"]).contains("--microphone"));
    } else {
        let told = microphone(&[]);
        assert!(told.contains("--features microphone") && told.contains("humdinger predict -"), "{told}");
    }
}

/// A pipe gives its sound once; whoever decodes it a second time waits for ever.
#[cfg(unix)]
#[test]
fn what_is_cut_is_decoded_once() {
    let pipe = scratch().join("a pipe.wav");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (sound, to) = (std::fs::read(file()).unwrap(), pipe.clone());
    let writer = std::thread::spawn(move || std::fs::write(to, sound));
    let folder = scratch().join("cut from a named pipe");
    let of_pipe = succeed(&arguments(text(&pipe), &["--format", "json", "--cut", text(&folder)]));
    writer.join().unwrap().unwrap();
    assert_eq!(json(&of_pipe)[0]["passages"], json(&predict(&["--format", "json"]))[0]["passages"]);
    assert!(std::fs::read_dir(&folder).unwrap().count() > 0);
}
