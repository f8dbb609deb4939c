//! `humdinger identify -`: songs that are named while the sound comes.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, humdinger, scratch, succeed, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

/// The tunes that are sung, with their notes.
const TUNES: [(&str, &str); 3] = [
    ("Twinkle", "C2 C2 G2 G2 A2 A2 G4 F2 F2 E2 E2 D2 D2 C4"),
    ("Greensleeves", "A2 | c4 d2 e3 ^f e2 | d4 B2 G3 A B2 | c4 A2 A3 ^G A2 | B4 ^G2 E4"),
    ("Scale", "C4 D4 E4 F4 G4 A4 B4 c8"),
];

fn catalogue() -> &'static Path {
    static CATALOGUE: OnceLock<PathBuf> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let (songs, catalogue) = (scratch().join("songs"), scratch().join("songs.cat"));
        std::fs::create_dir_all(&songs).unwrap();
        for (name, notes) in TUNES {
            let abc = format!("X:1\nT:{name}\nL:1/8\nQ:1/4=120\nK:C\n{notes}\n");
            std::fs::write(songs.join(format!("{name}.abc")), abc).unwrap();
        }
        succeed(&["catalogue", "make", "--notes-alone", text(&songs), "--out", text(&catalogue)]);
        catalogue
    })
}

const RATE: u32 = 16_000;

/// Notes of 0.4 s, in semitones from A3, as a voice has them, at 16 bits.
fn sung(semitones: &[f64]) -> Vec<u8> {
    let length = RATE * 4 / 10;
    let sample = |i: u32| {
        let (note, within) = ((i / length) as usize, f64::from(i % length) / f64::from(length));
        let hz = 220.0 * (semitones[note] / 12.0).exp2();
        let voice = |h: f64| (std::f64::consts::TAU * h * hz * f64::from(i) / f64::from(RATE)).sin() / h;
        let fade = (20.0 * within.min(1.0 - within)).min(1.0);
        (6_000.0 * fade * (voice(1.0) + voice(2.0) + voice(3.0))) as i16
    };
    (0..length * semitones.len() as u32).flat_map(|i| sample(i).to_le_bytes()).collect()
}

fn silence(seconds: u32) -> Vec<u8> {
    vec![0; (2 * RATE * seconds) as usize]
}

const TWINKLE: [f64; 14] = [0.0, 0.0, 7.0, 7.0, 9.0, 9.0, 7.0, 7.0, 5.0, 5.0, 4.0, 4.0, 2.0, 2.0];
const SCALE: [f64; 8] = [3.0, 5.0, 7.0, 8.0, 10.0, 12.0, 14.0, 15.0];

fn start(more: &[&str]) -> Child {
    let mut command = humdinger();
    command.args(["identify", "--catalogue", text(catalogue()), "-"]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What it says of this input, and what it complains of.
fn answers(input: &[u8], more: &[&str]) -> (String, String) {
    let mut running = start(more);
    // Who refuses an option does not read; the answer shows it.
    let _ = running.stdin.take().unwrap().write_all(input);
    let output = running.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

const RAW: [&str; 4] = ["--raw", "s16le", "--rate", "16000"];

#[test]
fn each_stretch_of_a_stream_is_answered_when_it_is_over() {
    let mut running = start(&[&RAW[..], &["--format", "jsonl"]].concat());
    let mut input = running.stdin.take().unwrap();
    let mut output = BufReader::new(running.stdout.take().unwrap());
    input.write_all(&[silence(3), sung(&TWINKLE), silence(4)].concat()).unwrap();
    input.flush().unwrap();
    // The stream goes on: whoever waits for its end waits here for ever.
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let first: serde_json::Value = serde_json::from_str(&line).unwrap();
    input.write_all(&[sung(&SCALE), silence(1)].concat()).unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(running.wait().unwrap().success());
    let second: serde_json::Value = serde_json::from_str(rest.trim_end()).unwrap();
    for (answer, name, from, to) in [(&first, "Twinkle", 3.0, 8.6), (&second, "Scale", 12.6, 15.8)] {
        let (start, end) = (answer["start"].as_f64().unwrap(), answer["end"].as_f64().unwrap());
        assert!((start - from).abs() < 0.4 && (end - to).abs() < 0.4, "{answer}");
        assert!(answer["candidates"][0]["title"] == name && answer["file"] == "-", "{answer}");
    }
}

#[test]
fn a_stream_has_its_times_in_every_form_and_a_picture_for_each_stretch() {
    let input = [silence(1), sung(&TWINKLE), silence(3), sung(&SCALE)].concat();
    let pictures = scratch().join("pictures");
    let (table, complaint) = answers(&input, &[&RAW[..], &["--plot", text(&pictures)]].concat());
    assert!(table.contains("  -, 0.") && table.contains(" to 6.") && table.contains("Twinkle"), "{table}{complaint}");
    let drawn: Vec<_> = std::fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(drawn.len(), 2, "{drawn:?}");
    let (csv, _) = answers(&input, &[&RAW[..], &["--format", "csv", "--top", "1"]].concat());
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][10..], ["start", "end"], "{csv}");
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == 12), "{csv}");
    assert!(rows[2][4] == "Scale" && (rows[2][10].parse::<f64>().unwrap() - 9.4).abs() < 0.4, "{csv}");
    let (_, refused) = answers(&input, &[&RAW[..], &["--plot", "one.png"]].concat());
    assert!(refused.contains("--plot") && refused.contains("name a folder"), "{refused}");
    // Of what is no song there is one answer in the end.
    let (nothing, _) = answers(&silence(5), &[&RAW[..], &["--format", "jsonl"]].concat());
    assert_eq!(nothing.trim_end(), r#"{"candidates":[],"file":"-","unknown":true}"#);
}

#[test]
fn what_has_an_end_is_one_recording() {
    // A header that says how long it is, and that of a program which does not know.
    let sound = [sung(&TWINKLE[..7]), silence(3), sung(&TWINKLE[7..])].concat();
    let wav = |length: u32| {
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(RATE.to_le_bytes());
        bytes.extend((2 * RATE).to_le_bytes());
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend(length.to_le_bytes());
        [bytes, sound.clone()].concat()
    };
    let file = scratch().join("clip.wav");
    std::fs::write(&file, wav(sound.len() as u32)).unwrap();
    let of_file = succeed(&["identify", "--catalogue", text(catalogue()), "--format", "jsonl", text(&file)]);
    let (of_input, _) = answers(&wav(sound.len() as u32), &["--format", "jsonl"]);
    assert_eq!(of_input, of_file.replace(text(&file), "-"));
    let (of_stream, complaint) = answers(&wav(u32::MAX), &["--format", "jsonl"]);
    assert!(of_stream.lines().count() == 2 && of_stream.contains("\"start\":"), "{of_stream}{complaint}");
}

#[test]
fn options_of_streams_are_refused_where_there_is_none() {
    let refused = |more: &[&str]| fail(2, &[&["identify", "--catalogue", text(catalogue())], more].concat());
    assert!(refused(&["--raw", "s16le", "x.wav"]).contains("--raw"));
    assert!(refused(&["--seconds", "3", "x.wav"]).contains("--microphone"));
    assert!(refused(&["--microphone", "x.wav"]).contains("--microphone"));
    assert!(refused(&["--microphone", "--seconds", "0"]).contains("--seconds"));
    assert!(refused(&[]).contains("PATH"));
    if !cfg!(feature = "microphone") {
        let told = refused(&["--microphone"]);
        assert!(told.contains("--features microphone") && told.contains("humdinger identify"), "{told}");
    }
}
