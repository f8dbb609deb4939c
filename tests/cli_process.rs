//! The program as a process among others: signals, pipes, limits, and names that are no plain text.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::audio::Audio;
use humdinger::data::cache::{Cache, Key};
use humdinger::train::weights::Weights;
use program::{fail, humdinger, run, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The arguments of a run of one epoch or more.
fn training<'a>(epochs: &'a str, out: &'a Path) -> Vec<&'a str> {
    let data = text(small_data());
    let start = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", epochs, "--data", data];
    [&start[..], &["--out", text(out)]].concat()
}

/// A run folder that tests do not change.
fn trained() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let out = scratch().join("trained");
        succeed(&training("1", &out));
        out
    })
}

/// A copy of the trained model with other weights, and what `predict` says to it.
fn spoiled(name: &str, spoil: impl FnOnce(&mut Weights)) -> String {
    let mut weights = Weights::read(&trained().join("model.safetensors")).unwrap();
    spoil(&mut weights);
    let path = scratch().join(name);
    weights.write(&path).unwrap();
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    fail(1, &["predict", "--device", "cpu", "--model", text(&path), text(&clip)])
}

#[test]
fn a_model_that_can_only_give_nan_is_refused() {
    let told = spoiled("negative.safetensors", |weights| {
        weights.tensors.get_mut("bn1.running_var").unwrap().data_mut()[0] = -1.0;
    });
    assert!(told.contains("`bn1.running_var` holds negative variances"), "{told}");
    let told = spoiled("vast.safetensors", |weights| {
        weights.tensors.get_mut("lin.weight").unwrap().data_mut().fill(3e38);
    });
    assert!(told.contains("vast.safetensors") && told.contains("not finite"), "{told}");
}

#[test]
fn the_folder_of_a_run_stands_for_its_model() {
    let (run, data) = (trained(), text(small_data()));
    let model = run.join("model.safetensors");
    for command in [["predict", "--device", "cpu", "--model"], ["evaluate", "--device", "cpu", "--model"]] {
        let data: &[&str] = if command[0] == "evaluate" { &["--data", data] } else { &[data] };
        let said = |path: &Path| succeed(&[&command[..], &[text(path)], data].concat());
        assert_eq!(said(run), said(&model), "{}", command[0]);
    }
    assert_eq!(succeed(&["inspect", text(run)]), succeed(&["inspect", text(&model)]));
    let said: serde_json::Value = serde_json::from_str(&succeed(&["inspect", "--json", text(run)])).unwrap();
    let songs = said["songs"].as_array().unwrap();
    assert_eq!(
        (songs.len(), &said["recipe"], &said["front_end"]["sample_rate"]),
        (3, &"notebook".into(), &11_000.into())
    );
    // The shapes are those of the file.
    let weights = Weights::read(&model).unwrap();
    for tensor in said["tensors"].as_array().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
        let name = tensor["name"].as_str().unwrap();
        assert_eq!(weights.tensors[name].shape().dims(), shape, "{name}");
    }
    assert_eq!(said["tensors"].as_array().unwrap().len(), weights.tensors.len());
    let recipe: serde_json::Value =
        serde_json::from_str(&succeed(&["inspect", "--json", "--recipe", "melody"])).unwrap();
    assert!(recipe["parameters"].as_u64().is_some_and(|count| count > 1_000) && recipe.get("songs").is_none());
    let out = scratch().join("begun with a run");
    succeed(&[&training("1", &out)[..], &["--init", text(run)]].concat());
    let told = fail(1, &["predict", "--device", "cpu", "--model", data, data]);
    assert!(told.contains("without model.safetensors") && told.contains(data), "{told}");
}

#[test]
fn shells_and_man_know_all_commands_and_options() {
    let help = succeed(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.contains(&"train") && commands.contains(&"completions"), "{help}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeed(&["completions", shell]);
        assert!(commands.iter().all(|name| script.contains(name)), "{shell}");
        assert!(script.contains("learning-rate"), "{shell}");
    }
    let script = scratch().join("humdinger.bash");
    std::fs::write(&script, succeed(&["completions", "bash"])).unwrap();
    let complete = format!(
        "source '{}' && COMP_WORDS=(humdinger ser) && COMP_CWORD=1 && _humdinger humdinger ser humdinger && echo ${{COMPREPLY[@]}}",
        text(&script)
    );
    match std::process::Command::new("bash").args(["-c", &complete]).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "serve"),
        Err(_) => skipped("SKIPPED: bash is not installed, its completions were not tried"),
    }
    assert!(fail_of_clap(&["completions", "none"]).contains("bash"));

    let page = succeed(&["man"]);
    assert!(page.contains(".TH humdinger 1") && commands.iter().all(|name| page.contains(name)), "{page}");
    let page = succeed(&["man", "train"]);
    assert!(page.contains("\\-\\-learning\\-rate"), "{page}");
    assert!(fail(2, &["man", "nothing"]).contains("nothing"));
    let out = scratch().join("man1");
    succeed(&["man", "--out", text(&out)]);
    for name in commands {
        assert!(out.join(format!("humdinger-{name}.1")).exists(), "{name}");
    }
    assert!(out.join("humdinger.1").exists() && out.join("humdinger-catalogue-make.1").exists());
}

/// Not through `eprintln`, which a test that passes keeps to itself.
fn skipped(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What clap says of wrong usage.
fn fail_of_clap(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn predict_keeps_decoded_recordings_only_where_asked() {
    let model = trained().join("model.safetensors");
    let cache = scratch().join("cache of predict");
    let entries = |more: &[&str]| {
        let arguments = ["predict", "--device", "cpu", "--model", text(&model), text(small_data())];
        let output = humdinger().env("HUMDINGER_CACHE", &cache).args(arguments).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_dir(cache.join("clips")).map_or(0, Iterator::count)
    };
    assert_eq!(entries(&[]), 0);
    assert_eq!(entries(&["--cache"]), 12);
    assert_eq!(run(&["predict", "--cache", "--no-cache", "--model", text(&model), "x.wav"]).status.code(), Some(2));
}

#[test]
fn a_cache_entry_under_another_name_is_not_believed() {
    let folder = scratch().join("renamed entries");
    let cache = Cache::open(&folder, 1 << 20).unwrap();
    let audio = Audio { sample_rate: 8000, channels: vec![vec![0.5; 100]], ..Audio::default() };
    let (first, second) = (Key::new(b"first", 8000), Key::new(b"second", 8000));
    let only = || std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    cache.store(second, &audio);
    let name_of_second = only();
    std::fs::remove_file(&name_of_second).unwrap();
    cache.store(first, &audio);
    std::fs::copy(only(), &name_of_second).unwrap();
    assert_eq!(cache.load(first).map(|audio| audio.frames()), Some(100));
    assert!(cache.load(second).is_none());
    assert!(!name_of_second.exists(), "it is of no use to anybody");
}

#[cfg(unix)]
#[test]
fn names_cannot_add_columns_or_command_the_terminal() {
    let model = trained().join("model.safetensors");
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    let folder = scratch().join("odd names");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["a\tb\n9.0\t9.5\tc.wav", "\u{1b}[31mred.wav"] {
        std::fs::copy(&clip, folder.join(name)).unwrap();
    }
    let predict = |format: &str| {
        succeed(&["predict", "--device", "cpu", "--model", text(&model), text(&folder), "--format", format])
    };
    let labels = predict("audacity");
    assert_eq!(labels.lines().count(), 2, "{labels:?}");
    assert!(labels.lines().all(|line| line.matches('\t').count() == 2) && !labels.contains('\u{1b}'), "{labels:?}");
    let table = predict("table");
    assert!(table.lines().count() == 2 && !table.contains(['\t', '\u{1b}']), "{table:?}");
    assert!(table.contains("\\tb\\n9.0") && table.contains("\\u{1b}[31mred.wav"), "{table:?}");
}

#[test]
fn where_there_is_no_terminal_progress_is_a_line_now_and_then() {
    let watch = |seconds: &str, epochs: &str, name: &str| {
        let out = scratch().join(name);
        let output = humdinger().env("HUMDINGER_PROGRESS", seconds).args(training(epochs, &out)).output().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines = told.lines().filter(|line| line.starts_with("epoch ") && line.contains(" clips, loss ")).count();
        (lines, output.stdout.len(), told)
    };
    let started = std::time::Instant::now();
    let (lines, _, told) = watch("1", "30", "lines");
    // A line a second at most.
    let most = started.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&lines) || most < 3, "{lines} lines in {most} s: {told}");
    assert!(!told.contains('\u{1b}') && !told.contains('\r'), "{told:?}");
    assert_eq!(watch("0", "1", "no lines").0, 0);
}

#[test]
fn it_says_as_much_as_is_wanted() {
    let (model, data) = (trained().join("model.safetensors"), text(small_data()));
    let predict = ["predict", "--device", "cpu", "--model", text(&model), data];
    let told = |arguments: &[&str]| {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), error)
    };
    // One of the recordings is clipped, of which is warned.
    let (_, answers, usual) = told(&predict);
    assert!(usual.contains("warning: "), "{usual}");
    for quiet in ["-q", "--quiet"] {
        assert_eq!(told(&[&[quiet], &predict[..]].concat()), (Some(0), answers.clone(), String::new()));
        assert_eq!(told(&[&predict[..], &[quiet]].concat()), (Some(0), answers.clone(), String::new()));
    }
    let (code, _, error) = told(&["predict", "-q", "missing.wav"]);
    assert!(code == Some(1) && error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    let (_, verbose, error) = told(&[&predict[..], &["-v"]].concat());
    assert_eq!(verbose, answers);
    assert!(error.lines().last().is_some_and(|line| line.starts_with("took ") && line.contains(" s")), "{error}");
    assert_eq!(told(&[&predict[..], &["-v", "-q"]].concat()).0, Some(2));
    let out = scratch().join("quiet");
    let (code, summary, error) = told(&[&training("1", &out)[..], &["-q"]].concat());
    assert!(code == Some(0) && error.is_empty() && summary.contains("accuracy"), "{error}");
    assert!(!summary.contains("1/1") && !summary.contains("batch size"), "{summary}");
}

#[cfg(unix)]
#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let model = trained().join("model.safetensors");
    let arguments = ["predict", "--cache", "--device", "cpu", "--model", text(&model), text(small_data())];
    let predict = |cache: &Path| {
        let output = humdinger().env("HUMDINGER_CACHE", cache).args(arguments).output().unwrap();
        assert!(output.status.success());
        let kept = std::fs::read_dir(cache.join("clips")).map_or(0, Iterator::count);
        (kept, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let folder = |name: &str, mode: u32| {
        let folder = scratch().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        folder
    };
    let (kept, told) = predict(&folder("cache of my own", 0o755));
    assert!(kept == 12 && !told.contains("the cache folder"), "{kept} {told}");
    for mode in [0o777, 0o1777] {
        let open = folder(&format!("cache of {mode:o}"), mode);
        let (kept, told) = predict(&open);
        assert!(kept == 0 && told.contains(&format!("mode {mode:o}")) && told.contains(text(&open)), "{kept} {told}");
    }
    let within = folder("cache with open clips", 0o755);
    folder("cache with open clips/clips", 0o777);
    assert_eq!(predict(&within).0, 0);
    let others = folder("cache of somebody else", 0o755);
    match chown(&others, Some(63251), None) {
        Ok(()) => {
            let (kept, told) = predict(&others);
            assert!(kept == 0 && told.contains("another user (number 63251)"), "{kept} {told}");
        }
        Err(_) => skipped("SKIPPED: only root can make a folder of another user"),
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    /// The program, as a shell runs it after `first`.
    fn by_shell(first: &str, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_humdinger")]).args(arguments);
        shell.env("HUMDINGER_CACHE", scratch().join("cache")).current_dir(scratch()).stdin(Stdio::null());
        shell
    }

    fn signal(name: &str, id: u32) {
        assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
    }

    #[test]
    fn signals_that_were_ignored_stay_ignored() {
        let out = scratch().join("nohup");
        let mut shell = by_shell("trap '' HUP INT", &training("100000", &out));
        let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let epochs = || std::fs::read_to_string(out.join("epochs.csv")).map_or(0, |text| text.lines().count());
        let await_epochs = |least: usize| {
            while epochs() < least {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        await_epochs(1);
        signal("-HUP", child.id());
        signal("-INT", child.id());
        // A process that stops does so after the step in progress: this one goes on.
        let seen = epochs();
        let started = std::time::Instant::now();
        while epochs() < seen + 3 && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let went_on = epochs() >= seen + 3;
        signal("-TERM", child.id());
        let output = child.wait_with_output().unwrap();
        assert!(went_on, "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(130), "what was not ignored is heard");
    }

    #[test]
    fn training_goes_on_where_its_reader_goes() {
        let out = scratch().join("head");
        let mut child =
            humdinger().args(training("2", &out)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(out.join("report.html").exists(), "training was not done");
        let model = out.join("model.safetensors");
        let mut child = humdinger()
            .args(["predict", "--device", "cpu", "--model", text(&model), text(small_data())])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_file_that_may_not_grow_is_an_error_that_names_it() {
        // In blocks of 512 bytes: the model and the checkpoint are larger.
        let out = scratch().join("small files");
        let output = by_shell("ulimit -f 60", &training("1", &out)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("error: ") && error.contains(".safetensors") && error.contains("too large"), "{error}");
    }

    /// The same as a user that has no threads but the first: root is given as many as it wants.
    fn with_threads(count: usize, arguments: &[&str]) -> Option<std::process::Output> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let mut shell = if root {
            let mut other = Command::new("setpriv");
            other.args(["--reuid", "63251", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "bash"]);
            other
        } else {
            Command::new("bash")
        };
        shell.args(["-c", &format!("ulimit -u {count} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_humdinger")]);
        let output = shell.args(arguments).env("HUMDINGER_CACHE", "").stdin(Stdio::null()).output().ok()?;
        let unable = String::from_utf8_lossy(&output.stderr);
        (!["setpriv:", "Permission denied", "ulimit: "].iter().any(|text| unable.contains(text))).then_some(output)
    }

    #[test]
    fn few_threads_are_enough_or_an_error() {
        let model = trained().join("model.safetensors");
        let data = text(small_data());
        let predict = ["predict", "--device", "cpu", "--model", text(&model), data, "--format", "csv"];
        let expected = succeed(&predict);
        for count in [1, 2, 3] {
            for arguments in [&predict[..], &["check", data], &["serve", "--port", "0"]] {
                let Some(output) = with_threads(count, arguments) else {
                    skipped("SKIPPED: this test needs bash, for root setpriv, and a folder that others can read");
                    return;
                };
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(!error.contains("panicked") && matches!(output.status.code(), Some(0 | 1)), "{count}: {error}");
                if arguments[0] == "serve" {
                    assert!(output.status.code() == Some(1) && error.contains("thread"), "{error}");
                }
                if count == 1 {
                    assert!(error.contains("warning: the system gives"), "{error}");
                }
                if arguments[0] == "predict" {
                    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{count}");
                }
            }
        }
    }
}
