//! What no decoder here reads goes to ffmpeg where one is installed, and is an error that says what to do where none is.

#![cfg(feature = "app")]
#![cfg(unix)]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use program::{humdinger, scratch, text};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use wav::write_wav;

/// A WAV file of GSM 6.10, whose two blocks are of no use to anybody.
fn gsm(name: &str) -> PathBuf {
    let path = scratch().join(name);
    let mut bytes =
        b"RIFF\x98\0\0\0WAVEfmt \x14\0\0\0\x31\0\x01\0\x40\x1f\0\0\x59\x06\0\0\x41\0\0\0\x02\0\x40\x01data\x82\0\0\0"
            .to_vec();
    bytes.resize(bytes.len() + 130, 0);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A program that stands for ffmpeg.
fn stand_in(name: &str, script: &str) -> PathBuf {
    let path = scratch().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Draws a file with this ffmpeg; the exit code and all that was said.
fn draw(file: &Path, ffmpeg: &str) -> (Option<i32>, String) {
    let picture = scratch().join("picture.png");
    let output = humdinger()
        .args(["spectrogram", text(file), "--out", text(&picture), "--force"])
        .env("HUMDINGER_FFMPEG", ffmpeg)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn without_ffmpeg_the_codec_and_the_command_are_named() {
    let (code, said) = draw(&gsm("it's.wav"), "");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("GSM 6.10") && said.contains(r"ffmpeg -i 'it'\''s.wav' 'it'\''s-pcm.wav'"), "{said}");
    // A file that is no sound of any kind is not worth a command; one of a few bytes even less.
    let few = scratch().join("few.wav");
    std::fs::write(&few, "RIFF").unwrap();
    assert!(!draw(&few, "").1.contains("ffmpeg -i"));
    let (code, said) = draw(&gsm("gone.wav"), "/nowhere/ffmpeg");
    assert!(code == Some(1) && said.contains("/nowhere/ffmpeg cannot be started"), "{said}");
}

#[test]
fn frames_of_mpeg_in_another_kinds_data_are_no_sound() {
    // Other formats' data holds such frames by chance, and a minute of noise was made of those in a WavPack file.
    let mpeg = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds/loud.mp3")).unwrap();
    for (name, head, kind) in [
        ("x.wv", &b"wvpk"[..], "WavPack"),
        ("x.ape", b"MAC ", "Monkey's Audio"),
        ("x.mp3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
        ("x.mpg", b"\x00\x00\x01\xba", "an MPEG film"),
    ] {
        let file = scratch().join(name);
        std::fs::write(&file, [head, &[0; 40], &mpeg].concat()).unwrap();
        let (code, said) = draw(&file, "");
        assert!(code == Some(1) && said.contains(&format!("is {kind}, which is no sound file")), "{said}");
        assert!(said.contains("ffmpeg -i"), "{said}");
    }
}

#[test]
fn what_ffmpeg_gives_is_read_within_bounds() {
    // A second of a square wave, as ffmpeg writes to a pipe: the head says no length.
    let mut wav =
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x03\0\x01\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x20\0data\xff\xff\xff\xff"
            .to_vec();
    wav.extend((0..8_000).flat_map(|t| (if t / 20 % 2 == 0 { 0.05f32 } else { -0.05 }).to_le_bytes()));
    let made = scratch().join("made.wav");
    std::fs::write(&made, wav).unwrap();
    let says = "echo '  Stream #0:0: Audio: gsm_ms (1[0][0][0]), 8000 Hz' >&2";
    let good =
        stand_in("good", &format!("{says}\necho \"$@\" > '{}/arguments'\ncat '{}'", text(scratch()), text(&made)));
    let file = gsm("through ffmpeg.wav");
    let (code, said) = draw(&file, text(&good));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("1.0 s at 8000 Hz") && said.contains("read by ffmpeg, as it is in the encoding GSM"),
        "{said}"
    );
    let arguments = std::fs::read_to_string(scratch().join("arguments")).unwrap();
    assert!(arguments.contains(&format!("-i file:{}", text(&file))), "{arguments}");
    assert!(arguments.contains("-protocol_whitelist file") && arguments.contains("-format_whitelist"), "{arguments}");
    // It may fail at the end, at the beginning, or never come to an end.
    let (code, said) =
        draw(&file, text(&stand_in("failing", &format!("cat '{}'; echo broken >&2; exit 1", text(&made)))));
    assert!(code == Some(0) && said.contains("ends early: ffmpeg says: broken"), "{said}");
    let (code, said) = draw(&file, text(&stand_in("refusing", "echo 'no such codec' >&2; exit 1")));
    assert!(code == Some(1) && said.contains("nor can ffmpeg read it: no such codec"), "{said}");
    let endless = stand_in("endless", &format!("cat '{}'; exec cat /dev/zero", text(&made)));
    let (code, said) = draw(&file, text(&endless));
    assert!(code == Some(0) && said.contains("out of proportion"), "{said}");
}

#[test]
fn the_real_ffmpeg_reads_windows_media() {
    let file = scratch().join("sine.wma");
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:duration=1",
            "-c:a",
            "wmav2",
        ])
        .arg(&file)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no ffmpeg that makes WMA");
        return;
    }
    let (code, said) = draw(&file, "ffmpeg");
    assert!(code == Some(0) && said.contains("read by ffmpeg"), "{said}");
    // A list of other files is no sound, whatever it is called.
    let list = scratch().join("list.wav");
    std::fs::write(&list, format!("#EXTM3U\n#EXTINF:1,\n{}\n", text(&file))).unwrap();
    let (code, said) = draw(&list, "ffmpeg");
    assert!(code == Some(1) && said.contains("nor can ffmpeg read it"), "{said}");
}

#[test]
fn in_folders_what_only_ffmpeg_reads_is_a_recording() {
    let folder = scratch().join("folder");
    for song in ["A", "B"] {
        for clip in 0..2 {
            let samples = (0..8_000).map(|t| ((t * (clip + 3)) % 50) as i16 * 200 - 5_000);
            write_wav(&folder.join(song).join(format!("{clip}.wav")), 8_000, samples);
        }
    }
    std::fs::write(folder.join("A/voice.AMR"), b"#!AMR\n and then speech").unwrap();
    std::fs::write(folder.join("A/other.amr"), b"neither speech nor song").unwrap();
    std::fs::write(folder.join("B/film.ts"), [&[0x47; 4 * 188][..], b"and so on"].concat()).unwrap();
    std::fs::write(folder.join("B/program.ts"), "const tune = 'of a program, and of no film at all'").unwrap();
    // To open it would be to wait for ever.
    assert!(Command::new("mkfifo").arg(folder.join("B/.pipe.wma")).status().unwrap().success());
    let made = scratch().join("amr.wav");
    std::fs::copy(folder.join("A/0.wav"), &made).unwrap();
    let says = "echo '  Stream #0:0: Audio: amr_nb (samr / 0x726D6173), 8000 Hz' >&2";
    let ffmpeg = stand_in("for folders", &format!("{says}\nexec cat '{}'", text(&made)));
    let checked = |ffmpeg: &str, data: &Path| -> serde_json::Value {
        let output =
            humdinger().args(["check", "--json", text(data)]).env("HUMDINGER_FFMPEG", ffmpeg).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let file = |report: &serde_json::Value, path: &str| -> serde_json::Value {
        let files = report["files"].as_array().unwrap();
        files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{path}: {report}")).clone()
    };
    let with = checked(text(&ffmpeg), &folder);
    for path in ["A/voice.AMR", "B/film.ts"] {
        let read = file(&with, path);
        assert!(read["left_out"].is_null() && read["codec"] == "amr_nb" && read["seconds"] == 1.0, "{read}");
        assert!(read["warnings"].to_string().contains("read by ffmpeg"), "{read}");
    }
    assert_eq!(with["songs"], serde_json::json!({"A": 3, "B": 3}));
    let without = checked("", &folder);
    for (path, ending) in [("A/voice.AMR", ".amr"), ("B/film.ts", ".ts")] {
        let why = file(&without, path)["left_out"].to_string();
        assert!(why.contains(&format!("only ffmpeg reads ({ending}); install it")), "{why}");
    }
    for report in [&with, &without] {
        for path in ["A/other.amr", "B/program.ts"] {
            let why = file(report, path)["left_out"].to_string();
            assert!(why.contains("of a kind that is not read"), "{why}");
        }
    }
    // A table without a header is known by the names in it.
    std::fs::remove_file(folder.join("B/.pipe.wma")).unwrap();
    std::fs::write(folder.join("songs.csv"), "A/voice.AMR,one\nB/1.wav,two\n").unwrap();
    let table = checked(text(&ffmpeg), &folder.join("songs.csv"));
    assert_eq!(table["songs"], serde_json::json!({"one": 1, "two": 1}));
}
