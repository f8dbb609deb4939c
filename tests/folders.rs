//! What lies in the folders that people have: each recording counts once, and whatever is left out has a reason.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use humdinger::data::dataset::{Dataset, LoadOptions};
use humdinger::data::labels::{Listing, list};
use program::{fail, run, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use wav::write_wav;

/// A recording unlike every other `seed`'s.
fn clip(path: &Path, seed: u32) {
    write_wav(path, 8_000, (0..800).map(|i| (i * (seed + 3) % 200) as i16 * 50));
}

/// Songs A and B with `per` recordings each, in a folder of that name.
fn songs(name: &str, per: u32) -> PathBuf {
    let folder = scratch().join(name);
    for (k, song) in ["A", "B"].iter().enumerate() {
        (0..per).for_each(|i| clip(&folder.join(format!("{song}/{i}.wav")), i + 100 * k as u32));
    }
    folder
}

fn ids(listing: &Listing) -> Vec<&str> {
    listing.files.iter().map(|f| f.id.as_str()).collect()
}

fn reasons(listing: &Listing) -> String {
    listing.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A model to predict with, of almost no training.
#[cfg(unix)]
fn model() -> &'static Path {
    static MODEL: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    MODEL.get_or_init(|| {
        let run = scratch().join("a model");
        let data = text(small_data());
        succeed(&["train", "--data", data, "--epochs", "1", "--device", "cpu", "--out", text(&run)]);
        run.join("model.safetensors")
    })
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_recordings() {
    let folder = songs("special", 2);
    let made = std::process::Command::new("mkfifo").arg(folder.join("A/pipe.wav")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("B/socket.wav")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("B/zero.wav")).unwrap();
    std::os::unix::fs::symlink("pipe.wav", folder.join("A/to pipe.wav")).unwrap();
    std::os::unix::fs::symlink("nowhere.wav", folder.join("A/broken.wav")).unwrap();
    let listing = list(&folder).unwrap();
    assert_eq!(ids(&listing), ["A/0.wav", "A/1.wav", "B/0.wav", "B/1.wav"]);
    let why = reasons(&listing);
    assert!(why.contains("2 files: a pipe, not a file (A/pipe.wav, A/to pipe.wav)"), "{why}");
    assert!(why.contains("1 file: a device, not a file (B/zero.wav)"), "{why}");
    assert!(why.contains("1 file: a socket, not a file (B/socket.wav)"), "{why}");
    assert!(why.contains("1 file: a link that leads nowhere (A/broken.wav)"), "{why}");
    // A CSV file may name them, and so may somebody who asks.
    std::fs::write(folder.join("l.csv"), "file,song\nA/0.wav,A\nA/pipe.wav,A\nB/zero.wav,B\nB/0.wav,B\n").unwrap();
    let listing = list(&folder.join("l.csv")).unwrap();
    assert_eq!(ids(&listing), ["A/0.wav", "B/0.wav"]);
    assert!(reasons(&listing).contains("named by the CSV, but a pipe"), "{}", reasons(&listing));
    let error = fail(1, &["predict", "--model", text(model()), text(&folder.join("B/zero.wav"))]);
    assert!(error.contains("zero.wav: is a device"), "{error}");
    let told = run(&["predict", "--model", text(model()), text(&folder)]);
    let (answers, told) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    let unread = answers.lines().filter(|line| line.starts_with("not read")).count();
    assert_eq!((answers.lines().count() - unread, unread), (4, 5), "{answers}{told}");
    assert!(told.contains("left out: 2 files: a pipe"), "{told}");
}

#[cfg(unix)]
#[test]
fn each_file_counts_once() {
    let folder = songs("circle", 4);
    std::os::unix::fs::symlink("..", folder.join("A/again")).unwrap();
    for name in ["x", "y", "z"] {
        std::os::unix::fs::symlink(".", folder.join("B").join(name)).unwrap();
    }
    // Comes before what it leads to in order of name.
    std::os::unix::fs::symlink("../B", folder.join("A/0-other")).unwrap();
    std::fs::hard_link(folder.join("B/0.wav"), folder.join("B/00.wav")).unwrap();
    std::os::unix::fs::symlink("../A/1.wav", folder.join("B/a link.wav")).unwrap();
    let listing = list(&folder).unwrap();
    let labels: Vec<(&str, &str)> = listing.files.iter().map(|f| (f.id.as_str(), f.label.as_str())).collect();
    let b = |id| (id, "B");
    let a = ["A/0.wav", "A/1.wav", "A/2.wav", "A/3.wav"].map(|id| (id, "A"));
    assert_eq!(labels, [&a[..], &[b("B/0.wav"), b("B/1.wav"), b("B/2.wav"), b("B/3.wav")]].concat());
    let why = reasons(&listing);
    assert!(
        why.contains("5 files: a link to a folder that is searched anyway (A/0-other/, A/again/, B/x/, ...)"),
        "{why}"
    );
    assert!(why.contains("(B/00.wav is B/0.wav)"), "{why}");
    // One recording as two songs is no trifle.
    assert!(why.contains("one of another song, counted as that one (B/a link.wav is A/1.wav)"), "{why}");
    let error = Dataset::load(&folder, &LoadOptions { strict: true, ..Default::default() }).unwrap_err().to_string();
    assert!(error.contains("another song") && !error.contains("searched anyway"), "{error}");
}

#[test]
fn a_csv_that_names_a_file_twice_means_one() {
    let folder = songs("spellings", 2);
    let csv = folder.join("l.csv");
    std::fs::write(&csv, "file,song\nA/0.wav,A\nA/./0.wav,A\nA/../A/0.wav,A\n./B/0.wav,B\nB//0.wav,B\n").unwrap();
    let listing = list(&csv).unwrap();
    assert_eq!(ids(&listing), ["A/0.wav", "B/0.wav"]);
    assert!(reasons(&listing).contains("3 files: named twice by the CSV"), "{}", reasons(&listing));
    std::fs::write(&csv, "file,song\nA/0.wav,A\nA/./0.wav,B\n").unwrap();
    let error = list(&csv).unwrap_err().to_string();
    assert!(error.contains("names A/0.wav twice, as A and as B"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_left_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = songs("closed", 2);
    let closed = folder.join("B/closed");
    std::fs::create_dir_all(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();
    let listing = list(&folder);
    let open_to_all = std::fs::read_dir(&closed).is_ok();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
    let listing = listing.unwrap();
    assert_eq!(listing.files.len(), 4);
    if open_to_all {
        eprintln!("SKIPPED: this user may read everything, so no folder is closed to it");
        return;
    }
    assert!(reasons(&listing).contains("a folder that cannot be listed: Permission denied"), "{}", reasons(&listing));
}

#[test]
fn every_file_that_is_not_read_is_named() {
    let folder = songs("kinds", 4);
    for name in ["A/x.wma", "A/y.WMA", "B/x.avi", "B/what", "B/readme.txt", "B/._0.wav", "B/.hidden.wav", "cover.jpg"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    let listing = list(&folder).unwrap();
    let told: Vec<(String, bool)> = listing.left_out.iter().map(|l| (l.to_string(), l.harmless)).collect();
    let told: Vec<(&str, bool)> = told.iter().map(|(text, harmless)| (text.as_str(), *harmless)).collect();
    let unread = |kind: &str| format!("sound or film of a kind that is not read (.{kind}); convert it to WAV or FLAC");
    assert_eq!(
        told,
        [
            ("1 file: hidden file (B/.hidden.wav)", false),
            ("1 file: hidden file (B/._0.wav)", true),
            ("1 file: hidden folder (.git/)", true),
            ("1 file: no recording (.jpg) (cover.jpg)", true),
            ("1 file: no recording (.txt) (B/readme.txt)", true),
            ("1 file: not known to be a sound file (no ending) (B/what)", false),
            (&format!("1 file: {} (B/x.avi)", unread("avi")), false),
            (&format!("2 files: {} (A/x.wma, A/y.WMA)", unread("wma")), false),
        ]
    );
    let out = scratch().join("kinds-run");
    let arguments = ["train", "--data", text(&folder), "--epochs", "1", "--device", "cpu", "--out", text(&out)];
    let error = fail(1, &[&arguments[..], &["--strict"]].concat());
    assert!(error.contains("x.wma") && error.contains("what") && !error.contains("readme"), "{error}");
    assert!(!out.exists());
    succeed(&arguments);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for name in ["A/x.wma", "A/y.WMA", "B/x.avi", "B/what", "B/readme.txt", "cover.jpg"] {
        assert!(report.contains(name), "{name}");
    }
    assert!(!report.contains("No file was left out"));
    // What `train` skips, `predict` skips.
    let told = run(&["predict", "--model", text(&out.join("model.safetensors")), text(&folder)]);
    let (answers, told) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(answers.lines().filter(|line| !line.starts_with("not read")).count(), 8, "{answers}{told}");
    assert!(answers.lines().any(|line| line.starts_with("not read") && line.contains("x.wma")), "{answers}");
    assert!(told.contains("x.wma") && told.contains(".hidden.wav") && !told.contains("readme"), "{told}");
    fail(1, &["predict", "--strict", "--model", text(&out.join("model.safetensors")), text(&folder)]);
}
