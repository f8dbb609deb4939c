//! The lines of README's table "Use it from", as they stand there. Those for Python are run by python/tests/test_readme.py, those for ONNX
//! by tools/onnx_export.py, those for a browser by tools/web/readme.mjs.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{humdinger, scratch, succeed, text};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The lines of one row.
fn lines(row: &str) -> Vec<String> {
    let page = include_str!("../README.md").split("## Use it from").nth(1).unwrap();
    let start = format!("| {row} | ");
    let found: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect();
    let [found] = found[..] else { panic!("README has {} rows `{row}`", found.len()) };
    let lines: Vec<String> =
        found.split(" | ").next().unwrap().split("<br>").map(|line| line.trim_matches('`').into()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    lines
}

/// A folder with what the lines speak of: `my-songs` and `D` with recordings of two songs, `new-clip.wav`, `songs.cat`.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch().join("use it");
        for name in ["my-songs", "D"] {
            let to = folder.join(name);
            let options = ["--singers", "5", "--takes", "1", "--seconds", "3", "--tunes", "Greensleeves,YankeeDoodle"];
            succeed(&[&["synth", "--out", text(&to)], &options[..]].concat());
        }
        let clip = std::fs::read_dir(folder.join("D")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        std::fs::copy(clip, folder.join("new-clip.wav")).unwrap();
        let tune =
            "1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- | 5 5 4 4 3 3 2- | 5 5 4 4 3 3 2- | 1 1 5 5 6 6 5- | 4 4 3 3 2 2 1-";
        let [book, catalogue] = ["Twinkle.jianpu", "songs.cat"].map(|name| folder.join(name));
        std::fs::write(&book, tune).unwrap();
        succeed(&["catalogue", "make", "--notes-alone", text(&book), "--out", text(&catalogue)]);
        folder
    })
}

/// Runs a line of the command, for as short a time as training takes; its standard output.
fn run(line: &str, environment: &[(&str, &str)]) -> String {
    let words: Vec<&str> = line.strip_prefix("humdinger ").unwrap_or_else(|| panic!("`{line}`")).split(' ').collect();
    let mut program = humdinger();
    program.args(&words).current_dir(folder()).envs(environment.iter().copied());
    if words[0] == "train" {
        program.args(["--epochs", "1", "--device", "cpu"]);
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn from_the_command_line() {
    let said: Vec<String> = lines("the command line").iter().map(|line| run(line, &[])).collect();
    assert!(folder().join("runs/mine/report.html").exists());
    assert!(said[1].contains("new-clip.wav") && said[2].contains("new-clip.wav"), "{said:?}");
}

#[test]
fn from_a_cluster() {
    let [send, merge, predict] = &lines("a cluster")[..] else { unreachable!() };
    // What Slurm makes of it; tools/cluster has one to send it to.
    let wrapped = send.strip_prefix("sbatch --array=1-5 --wrap \"").and_then(|rest| rest.strip_suffix('"')).unwrap();
    for task in 1..=5 {
        run(wrapped, &[("SLURM_ARRAY_TASK_ID", &task.to_string())]);
    }
    run(merge, &[]);
    assert!(folder().join("cv/folds.csv").exists());
    run(predict, &[("JOB_COMPLETION_INDEX", "0")]);
    assert!(!std::fs::read_to_string(folder().join("part.jsonl")).unwrap().is_empty());
}

#[test]
fn over_http() {
    let [serve, ask @ ..] = &lines("HTTP")[..] else { unreachable!() };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base.safetensors");
    std::fs::copy(model, folder().join("songs.safetensors")).unwrap();
    let words: Vec<&str> = serve.strip_prefix("humdinger ").unwrap().split(' ').collect();
    let mut server = humdinger();
    // Any port that is free.
    server.args(words).args(["--port", "0", "--device", "cpu"]).current_dir(folder());
    let mut server = server.stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let answers = ask.iter().map(|line| {
        let line = line.replace("http://127.0.0.1:8765/", address.trim());
        let curl: Vec<&str> = line.split(' ').collect();
        assert_eq!(curl[0], "curl", "{line}");
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail"])
            .args(&curl[1..])
            .current_dir(folder())
            .output()
    });
    let answers: Vec<_> = answers.collect();
    server.kill().unwrap();
    server.wait().unwrap();
    for (line, answer) in ask.iter().zip(answers) {
        let answer = answer.unwrap_or_else(|e| panic!("{line} (is curl installed?): {e}"));
        let said = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success(), "{line}: {}", String::from_utf8_lossy(&answer.stderr));
        assert!(said.contains(if line.ends_with("/model") { "Twinkle" } else { "probability" }), "{line}: {said}");
    }
}

#[test]
fn from_rust() {
    let program = include_str!("use_from_rust.txt").replace("LINES", &lines("Rust").join("\n    "));
    let work = scratch().join("rust");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("main.rs"), program).unwrap();
    // This very crate as it was built for this test; others of its name were built with other features, or before.
    let built = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let mut crates: Vec<PathBuf> = std::fs::read_dir(&built).unwrap().map(|entry| entry.unwrap().path()).collect();
    crates.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libhumdinger-") && name.ends_with(".rlib")
    });
    crates.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().modified().unwrap()));
    let compile = |with: &PathBuf| {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "-C", "debuginfo=0", "-L"]).arg(format!("dependency={}", text(&built)));
        rustc.arg("--extern").arg(format!("humdinger={}", text(with))).args(["-o", "program", "main.rs"]);
        let output = rustc.current_dir(&work).output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    let mut faults = crates.iter().map(compile);
    let first = faults.next().expect("the crate lies beside its tests");
    first.or_else(|fault| faults.find(Result::is_ok).unwrap_or(Err(fault))).unwrap_or_else(|fault| panic!("{fault}"));
    if cfg!(debug_assertions) {
        eprintln!("NOT RUN without optimisation, which would take minutes: the lines for Rust were compiled alone");
        return;
    }
    let output = Command::new(work.join("program")).current_dir(&work).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let model = humdinger::train::Model::read(&work.join("songs.safetensors")).unwrap();
    assert_eq!(model.header.classes, ["high", "low"]);
}
