//! What no decoder here reads goes to ffmpeg where one is installed, and is an error that says what to do where none is.

#![cfg(feature = "app")]
#![cfg(unix)]

#[path = "common/program.rs"]
mod program;

use program::{humdinger, scratch, text};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
