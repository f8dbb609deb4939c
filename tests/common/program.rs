//! Running the built program, with data and a cache of its own.

// Each test file uses a part of this.
#![allow(dead_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A folder for the whole test binary, below cargo's own for such things. It is kept, to be looked at, until the same tests
/// run again; tests that run a second time meanwhile get another one.
pub fn scratch() -> &'static Path {
    static FOLDER: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _) = FOLDER.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        // Without the hash that cargo appends.
        let name = program.file_stem().unwrap().to_str().unwrap().rsplit_once('-').unwrap().0.to_string();
        let claim = |number: usize| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{number}"));
            let lock = File::create(folder.with_extension("lock")).unwrap();
            lock.try_lock().ok()?;
            if folder.exists() {
                std::fs::remove_dir_all(&folder).unwrap();
            }
            std::fs::create_dir_all(&folder).unwrap();
            Some((folder, lock))
        };
        (1..100).find_map(claim).expect("a folder that nobody uses")
    });
    folder
}

/// The program, away from the user's cache.
pub fn humdinger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_humdinger"));
    command.env("HUMDINGER_CACHE", scratch().join("cache")).current_dir(scratch()).stdin(Stdio::null());
    command
}

/// Runs it with these arguments.
pub fn run(arguments: &[&str]) -> Output {
    humdinger().args(arguments).output().unwrap()
}

/// Runs it, expecting success; its standard output.
pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "humdinger {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, expecting this exit code and one clear message; the message.
pub fn fail(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "humdinger {}: {error}", arguments.join(" "));
    assert!(error.matches("error:").count() == 1, "one message: {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// Four people, three tunes, two seconds each: 12 clips.
pub fn small_data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = scratch().join("small data");
        let folder_text = folder.to_str().unwrap();
        let names = succeed(&["synth", "--list"]);
        let tunes: Vec<&str> = names.lines().take(3).collect();
        succeed(&["synth", "--out", folder_text, "--singers", "4", "--seconds", "2", "--tunes", &tunes.join(",")]);
        folder
    })
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
