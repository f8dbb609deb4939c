//! Every command in README.md and in the pages of docs/ that it leads to is run, in order, in a folder that holds what the text speaks of.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{humdinger, scratch, succeed, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The commands of the blocks fenced as `sh`.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(String::from).collect()
}

/// The pages whose commands belong together, in the order in which they are run.
const PAGES: [(&str, &str); 6] = [
    ("README.md", include_str!("../README.md")),
    ("docs/recordings.md", include_str!("../docs/recordings.md")),
    ("docs/song-book.md", include_str!("../docs/song-book.md")),
    ("docs/programs.md", include_str!("../docs/programs.md")),
    ("docs/recipes.md", include_str!("../docs/recipes.md")),
    ("docs/devices.md", include_str!("../docs/devices.md")),
];

/// Recordings as somebody might have them: a folder for each song.
fn make_songs(folder: &Path, first_person: &str) {
    let made = folder.with_extension("made");
    let arguments = ["synth", "--out", text(&made), "--singers", "4", "--seconds", "3", "--first-person", first_person];
    succeed(&[&arguments[..], &["--tunes", "Greensleeves,YankeeDoodle"]].concat());
    for file in std::fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let fields: Vec<&str> = name.split('_').collect();
        let to = folder.join(fields[3]);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(&file, to.join(format!("{}-{}.wav", fields[0], fields[1]))).unwrap();
    }
}

/// A song book: a tune in ABC, and one as a MIDI file of what somebody sings.
fn make_tunes(folder: &Path, clip: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let abc = "X:1\nT:Greensleeves\nM:6/8\nL:1/8\nK:Am\nA|c2d e>fe|d2B G>AB|c2A A>^GA|B2^G E2A|c2d e>fe|d2B G>AB|\n";
    std::fs::write(folder.join("greensleeves.abc"), abc).unwrap();
    succeed(&["pitch", text(clip), "--out", text(&folder.join("as-sung.mid"))]);
}

/// A run that was stopped. Of 200 epochs, so that it cannot be done before the kill arrives.
fn make_interrupted(folder: &Path, data: &Path) {
    let arguments = ["train", "--device", "cpu", "--recipe", "notebook", "--epochs", "200", "--data", text(data)];
    let mut command = humdinger();
    command.args([&arguments[..], &["--out", text(folder)]].concat()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let steps = || std::fs::read_to_string(folder.join("steps.csv")).map_or(0, |text| text.lines().count());
    while steps() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was finished before it could be stopped");
}

#[test]
fn every_command_works() {
    let folder = scratch().join("readme");
    std::fs::create_dir_all(folder.join("runs")).unwrap();
    make_songs(&folder.join("my-songs"), "1");
    make_songs(&folder.join("more-songs"), "20");
    let clip = std::fs::read_dir(folder.join("more-songs/Greensleeves")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(clip, folder.join("new-clip.wav")).unwrap();
    make_tunes(&folder.join("my-tunes"), &folder.join("new-clip.wav"));
    make_interrupted(&folder.join("runs/interrupted"), &folder.join("my-songs"));
    // What is on several pages is run once.
    let mut all: Vec<String> = Vec::new();
    for command in PAGES.iter().flat_map(|(_, page)| commands(page)) {
        if !all.contains(&command) {
            all.push(command);
        }
    }
    let commands = all;
    assert!(commands.len() > 20, "{commands:?}");
    run_all(&commands, &folder);
    for made in ["runs/mine/report.html", "runs/folds/folds.csv", "new-clip.png", "runs/finer/model.safetensors"] {
        assert!(folder.join(made).exists(), "{made}");
    }
}

/// Runs the commands as they stand, but for the length of the training; and on the CPU, whatever `auto` would find.
/// A server goes on until it is ended: it says where it listens, answers there, and ends when it is asked to.
fn serves(mut program: Command, command: &str) {
    let mut server = program.args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let place =
        line.trim().strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default().to_string();
    let answer = TcpStream::connect(&place).and_then(|mut stream| {
        write!(stream, "GET /health HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    let ended = Command::new("kill").arg(server.id().to_string()).status().unwrap().success();
    let status = server.wait().unwrap();
    assert!(answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200")), "{command}: {line}");
    assert!(ended && status.success(), "{command}: {status}");
}

fn run_all(commands: &[String], folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let arguments = match words[..] {
            // It runs this test.
            ["tools/test"] => {
                assert!(root.join("tools/test").is_file());
                continue;
            }
            ["cargo", "run", "--release", "--", ref rest @ ..] | ["humdinger", ref rest @ ..] => rest,
            _ => panic!("the test knows no way to run `{command}`"),
        };
        let mut program = humdinger();
        program.args(arguments).current_dir(folder);
        if arguments[0] == "train" && !arguments.contains(&"--resume") {
            program.args(["--device", "cpu"]);
            if !arguments.contains(&"--epochs") {
                program.args(["--epochs", "1"]);
            }
        }
        if arguments[0] == "serve" {
            serves(program, command);
            continue;
        }
        let output = program.output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty() || arguments.contains(&"--out"), "{command} says nothing");
    }
}

/// Half a minute and more in which somebody hums now and then.
fn make_evening(path: &Path, clip: &Path) {
    let mut clip = hound::WavReader::open(clip).unwrap();
    let (spec, hum) = (clip.spec(), clip.samples::<i16>().map(Result::unwrap).collect::<Vec<i16>>());
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for _ in 0..5 {
        let silence = vec![0; spec.sample_rate as usize * 5];
        hum.iter().chain(&silence).for_each(|&sample| file.write_sample(sample).unwrap());
    }
    file.finalize().unwrap();
}

#[test]
fn the_page_for_newcomers_works() {
    let folder = scratch().join("first steps");
    std::fs::create_dir_all(folder.join("new-recordings")).unwrap();
    make_songs(&folder.join("pupils"), "1");
    make_songs(&folder.join("more-pupils"), "20");
    // Named as the page says.
    for song in std::fs::read_dir(folder.join("pupils")).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(song).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            std::fs::rename(&file, file.with_file_name(name.replace("hum", "1").replace("whistle", "2"))).unwrap();
        }
    }
    let clips = std::fs::read_dir(folder.join("more-pupils/Greensleeves")).unwrap();
    let clip = clips.map(|entry| entry.unwrap().path()).min().unwrap();
    for name in ["who-is-it.wav", "another.wav"] {
        std::fs::copy(&clip, folder.join("new-recordings").join(name)).unwrap();
    }
    make_evening(&folder.join("evening.wav"), &clip);
    let commands = commands(include_str!("../docs/first-steps.md"));
    assert!(commands.len() >= 8, "{commands:?}");
    run_all(&commands, &folder);
    let answers = std::fs::read_to_string(folder.join("answers.csv")).unwrap();
    assert_eq!(answers.lines().count(), 3, "{answers}");
    for made in ["runs/pupils/report.html", "found"] {
        assert!(folder.join(made).exists(), "{made}");
    }
}

#[test]
fn everything_that_it_links_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, page) in PAGES {
        let folder = root.join(name).parent().unwrap().to_path_buf();
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            assert!(link.starts_with("http") || folder.join(file).exists(), "{name}: {link}");
        }
    }
}
