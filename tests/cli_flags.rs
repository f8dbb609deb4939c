//! Every flag does what it says, on both recipes.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::train::tables::read_steps;
use humdinger::train::weights::Weights;
use program::{fail, humdinger, run, scratch, small_data, succeed, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const RECIPES: [&str; 2] = ["melody", "notebook"];

/// A run of one epoch in batches of 4, unless `more` says otherwise.
fn train(recipe: &str, more: &[&str]) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let out = scratch().join(format!("run {}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let data = text(small_data());
    let mut arguments = vec!["train", "--recipe", recipe, "--device", "cpu", "--out", text(&out)];
    for (flag, value) in [("--epochs", "1"), ("--batch-size", "4"), ("--data", data)] {
        if !more.contains(&flag) && !more.contains(&"--config") {
            arguments.extend([flag, value]);
        }
    }
    succeed(&[&arguments[..], more].concat());
    out
}

fn bytes(run: &Path, file: &str) -> Vec<u8> {
    std::fs::read(run.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

/// People in the predictions of the validation clips.
fn people(run: &Path) -> BTreeSet<String> {
    let rows = rows(&run.join("predictions.csv"));
    rows.iter().map(|row| row["file"].split('_').next().unwrap().to_string()).collect()
}

#[test]
fn epochs_batches_rates_and_shares() {
    for recipe in RECIPES {
        let run = train(recipe, &["--epochs", "3", "--batch-size", "5", "--learning-rate", "0.0025"]);
        let steps = read_steps(&run.join("steps.csv")).unwrap();
        let validation = rows(&run.join("predictions.csv")).len();
        assert_eq!(steps.len(), 3 * (12 - validation).div_ceil(5), "{recipe}");
        assert_eq!(rows(&run.join("epochs.csv")).len(), 3);
        // One cycle begins at a twenty-fifth of the highest rate.
        assert!((steps[0].learning_rate - 0.0001).abs() < 1e-9, "{recipe}: {:?}", steps[0]);
        for (share, clips) in [("0.25", 3), ("0.5", 6)] {
            let run = train(recipe, &["--val-fraction", share]);
            assert_eq!(rows(&run.join("predictions.csv")).len(), clips, "{recipe}: {share}");
        }
        let all = train(recipe, &["--val-fraction", "0"]);
        assert!(!all.join("predictions.csv").exists() && all.join("model.safetensors").exists());
        assert_eq!(rows(&all.join("epochs.csv"))[0]["val_loss"], "");
    }
}

#[test]
fn splits() {
    // The benchmark's own form of CSV, over recordings that lie beside it.
    let folder = scratch().join("benchmark");
    std::fs::create_dir_all(&folder).unwrap();
    let mut csv = "filename,Interpreter,Song,Interpretation,Benchmark_A,Benchmark_B\n".to_string();
    let mut files: Vec<PathBuf> = std::fs::read_dir(small_data()).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for (i, file) in files.iter().enumerate() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let fields: Vec<&str> = name.split('_').collect();
        std::fs::copy(file, folder.join(format!("{i:04}.wav"))).unwrap();
        let side = |test: bool| if test { "Test" } else { "Train" };
        let a = side(fields[0] == "S2");
        csv += &format!("{i:04}.wav,{},{},{},{a},{}\n", &fields[0][1..], fields[3], fields[1], side(i >= 6));
    }
    std::fs::write(folder.join("MLEndHWD.csv"), csv).unwrap();
    let data = text(&folder);
    for recipe in RECIPES {
        let by_column = |column: &str| -> Vec<String> {
            let run = train(recipe, &["--data", data, "--split", column]);
            rows(&run.join("predictions.csv")).iter().map(|row| row["file"].clone()).collect()
        };
        let of_two =
            files.iter().enumerate().filter(|(_, file)| file.file_name().unwrap().to_str().unwrap().starts_with("S2_"));
        assert_eq!(by_column("column:Benchmark_A"), of_two.map(|(i, _)| format!("{i:04}.wav")).collect::<Vec<_>>());
        assert_eq!(by_column("column:benchmark_b").len(), 6);
        // Whoever validates is heard in no other clip; at random, somebody is on both sides.
        assert_eq!(people(&train(recipe, &["--split", "person"])).len(), 1, "{recipe}: three clips, all of one person");
        assert!(people(&train(recipe, &["--split", "random"])).len() > 1, "{recipe}");
    }
    // A folder for each song: names are gone by where they are asked for, and pointed out where they are not.
    let folders = scratch().join("folders");
    for file in &files {
        let fields: Vec<&str> = file.file_stem().unwrap().to_str().unwrap().split('_').collect();
        std::fs::create_dir_all(folders.join(fields[3])).unwrap();
        std::fs::copy(file, folders.join(fields[3]).join(format!("{}-{}.wav", fields[0], fields[2]))).unwrap();
    }
    let run = train("notebook", &["--data", text(&folders), "--split", "name"]);
    let names: BTreeSet<String> = rows(&run.join("predictions.csv"))
        .iter()
        .map(|row| row["file"].split(['/', '-']).nth(1).unwrap().to_string())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let noted = |more: &[&str]| {
        let out = scratch().join(format!("noted {}", more.len()));
        let fixed = ["train", "--device", "cpu", "--epochs", "1", "--data", text(&folders), "--out", text(&out)];
        String::from_utf8(program::run(&[&fixed[..], more].concat()).stderr).unwrap()
    };
    assert!(noted(&[]).contains("4 names (s1, s2, s3, ...): if these are people, --split name"));
    assert!(!noted(&["--split", "random"]).contains("--split name"));
    let wrong = |more: &[&str]| fail(2, &[&["train", "--data", data], more].concat());
    assert!(wrong(&["--split", "column:Benchmark_C"]).contains("Benchmark_A"));
    assert!(wrong(&["--split", "column:Benchmark_A", "--val-fraction", "0.3"]).contains("--val-fraction"));
    assert!(wrong(&["--split", "column:Benchmark_A", "--folds", "3"]).contains("--folds"));
}

/// Once augmentation and order are fixed and the weights given, nothing random is left: the seed makes no difference.
#[test]
fn augmentation_order_and_seed() {
    for recipe in RECIPES {
        let first = train(recipe, &["--seed", "5"]);
        assert!(bytes(&first, "steps.csv") == bytes(&train(recipe, &["--seed", "5"]), "steps.csv"));
        let weights = first.join("model.safetensors");
        let steps = |seed: &str, more: &[&str]| {
            let fixed = ["--init", text(&weights), "--val-fraction", "0", "--seed", seed];
            bytes(&train(recipe, &[&fixed[..], more].concat()), "steps.csv")
        };
        let both = ["--no-augment", "--no-shuffle"];
        let plain = steps("1", &both);
        assert!(plain == steps("2", &both), "{recipe}: something random is left");
        assert!(
            steps("1", &both[..1]) != steps("2", &both[..1]),
            "{recipe}: --no-augment alone leaves the order to chance"
        );
        assert!(
            steps("1", &both[1..]) != steps("2", &both[1..]),
            "{recipe}: --no-shuffle alone leaves the draws to chance"
        );
    }
}

/// Each kind of variation makes a difference of its own, and without any of them nothing is left to chance.
#[test]
fn variations() {
    // Long enough for parts of them to be heard.
    let data = scratch().join("six seconds");
    succeed(&["synth", "--out", text(&data), "--singers", "3", "--seconds", "6", "--tunes", "Twinkle,Greensleeves"]);
    let data = ["--data", text(&data)];
    let weights = train("melody", &data).join("model.safetensors");
    let steps = |seed: &str, without: &[&str]| {
        let fixed = ["--init", text(&weights), "--val-fraction", "0", "--no-shuffle", "--seed", seed, data[0], data[1]];
        bytes(&train("melody", &[&fixed[..], without].concat()), "steps.csv")
    };
    let mut seen = vec![steps("1", &[])];
    for kind in ["key", "tempo", "masks", "parts", "key,tempo,masks,parts"] {
        seen.push(steps("1", &["--without", kind]));
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 6);
    assert!(seen[5] == steps("2", &["--without", "key,tempo,masks,parts"]));
}

#[test]
fn outputs() {
    for recipe in RECIPES {
        let run = train(recipe, &["--outputs", "10"]);
        let weights = Weights::read(&run.join("model.safetensors")).unwrap();
        assert_eq!(weights.tensors["lin.weight"].shape()[0], 10, "{recipe}");
        assert!(rows(&run.join("predictions.csv"))[0].contains_key("output 9"));
    }
}

/// A configuration file is a run's own, flags stand above it, and its two keys without a flag count.
#[test]
fn configuration_files() {
    for recipe in RECIPES {
        let first = train(recipe, &["--seed", "3", "--learning-rate", "0.002", "--split", "random"]);
        let config = first.join("config.toml");
        let again = train(recipe, &["--config", text(&config)]);
        for file in ["config.toml", "steps.csv", "model.safetensors"] {
            assert!(bytes(&first, file) == bytes(&again, file), "{recipe}: {file}");
        }
        let longer = train(recipe, &["--config", text(&config), "--epochs", "2"]);
        assert_eq!(rows(&longer.join("epochs.csv")).len(), 2);
        assert!(String::from_utf8(bytes(&longer, "config.toml")).unwrap().contains("seed = 3"));
        let written = std::fs::read_to_string(&config).unwrap();
        for key in ["weight_decay", "label_smoothing"] {
            let line = written.lines().find(|line| line.starts_with(key)).unwrap();
            let changed = scratch().join("changed.toml");
            std::fs::write(&changed, written.replace(line, &format!("{key} = 0.3"))).unwrap();
            let run = train(recipe, &["--config", text(&changed)]);
            assert!(bytes(&run, "model.safetensors") != bytes(&first, "model.safetensors"), "{recipe}: {key}");
        }
        let folds = scratch().join("folds.toml");
        std::fs::write(&folds, format!("{written}folds = 3\n")).unwrap();
        assert!(train(recipe, &["--config", text(&folds)]).join("folds.csv").exists());
        let one = train(recipe, &["--config", text(&folds), "--val-fraction", "0.25"]);
        assert!(!one.join("folds.csv").exists(), "{recipe}: --val-fraction stands above the file's folds");
    }
}

#[test]
fn reading_recordings() {
    let folder = scratch().join("one unreadable");
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(small_data()).unwrap().map(|e| e.unwrap().path()) {
        std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.join("S9_hum_1_Noise.wav"), b"no sound").unwrap();
    let data = text(&folder);
    let run_folder = train("notebook", &["--data", data]);
    let model = run_folder.join("model.safetensors");
    assert!(String::from_utf8(bytes(&run_folder, "report.html")).unwrap().contains("S9_hum_1_Noise.wav"));
    let never = scratch().join("strict");
    let message = fail(1, &["train", "--data", data, "--strict", "--out", text(&never)]);
    assert!(message.contains("S9_hum_1_Noise.wav") && !never.exists(), "{message}");
    let evaluate = ["evaluate", "--model", text(&model), "--data", data];
    assert!(String::from_utf8(run(&evaluate).stderr).unwrap().contains("left out: 1 file"));
    assert!(fail(1, &[&evaluate[..], &["--strict"]].concat()).contains("S9_hum_1_Noise.wav"));
    // What lies in a folder is left out, with a word; with --strict it is an error.
    let predict = ["predict", "--model", text(&model), data, "--format", "csv"];
    let output = run(&predict);
    assert!(output.status.success() && String::from_utf8(output.stderr).unwrap().contains("S9_hum_1_Noise.wav"));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 14, "a row for each, and a head");
    assert!(fail(1, &[&predict[..], &["--strict"]].concat()).contains("S9_hum_1_Noise.wav"));

    // The cache stays as empty as it was.
    let cache = scratch().join("empty cache");
    let clips = || std::fs::read_dir(cache.join("clips")).map_or(0, Iterator::count);
    let go = |arguments: &[&str]| {
        let output = humdinger().env("HUMDINGER_CACHE", &cache).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let out = scratch().join("uncached");
    go(&[
        &["train", "--no-cache", "--recipe", "notebook", "--epochs", "1", "--data", data],
        &["--out", text(&out)][..],
    ]
    .concat());
    go(&[&evaluate[..], &["--no-cache"]].concat());
    go(&[&predict[..], &["--no-cache"]].concat());
    assert_eq!(clips(), 0);
    // Prediction keeps recordings only where it is asked to.
    go(&predict);
    assert_eq!(clips(), 0);
    go(&[&predict[..], &["--cache"]].concat());
    assert_eq!(clips(), 12);
}

#[test]
fn predictions() {
    let long = scratch().join("long");
    let arguments = ["synth", "--out", text(&long), "--singers", "2", "--seconds", "10", "--rate", "11000"];
    let names = succeed(&["synth", "--list"]);
    let tunes: Vec<&str> = names.lines().take(3).collect();
    succeed(&[&arguments[..], &["--tunes", &tunes.join(",")]].concat());
    for recipe in RECIPES {
        let run = train(recipe, &["--epochs", "2"]);
        let model = run.join("model.safetensors");
        let predict = |more: &[&str]| {
            let fixed = ["predict", "--model", text(&model), text(&long), "--device", "cpu"];
            succeed(&[&fixed[..], more].concat())
        };
        let json = |more: &[&str]| -> serde_json::Value {
            serde_json::from_str(&predict(&[&["--format", "json"], more].concat())).unwrap()
        };
        assert_eq!(json(&["--top", "2"])[0]["top"].as_array().unwrap().len(), 2);
        assert_eq!(json(&["--min-confidence", "1"])[0]["prediction"], "unknown");
        assert_ne!(json(&["--min-confidence", "0"])[0]["prediction"], "unknown");
        let labels = predict(&["--format", "audacity", "--top", "3"]);
        assert!(labels.lines().all(|line| line.matches(" %").count() == 4), "{labels}");
        // Ten seconds are one window and a part of the melody's eight, and several of the notebook's four.
        let windows = |more: &[&str]| predict(&[&["--format", "audacity"], more].concat()).lines().count();
        let all = windows(&["--all-windows"]);
        assert!(all >= 12, "{recipe}: {all} windows in 6 clips");
        assert_eq!(windows(&[]), if recipe == "notebook" { 6 } else { all });
        let loss = |more: &[&str]| {
            let fixed = ["evaluate", "--model", text(&model), "--data", text(&long), "--device", "cpu", "--json"];
            let json: serde_json::Value = serde_json::from_str(&succeed(&[&fixed[..], more].concat())).unwrap();
            json["loss"].as_f64().unwrap()
        };
        assert_eq!(loss(&[]) == loss(&["--all-windows"]), recipe == "melody", "the melody hears all of it anyway");
    }
    // The header comes first even where the first file cannot be read.
    let model = train("notebook", &[]).join("model.safetensors");
    let broken = scratch().join("aaa.wav");
    std::fs::write(&broken, b"no sound").unwrap();
    let output = run(&["predict", "--model", text(&model), text(&broken), text(&long), "--format", "csv"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("file,prediction,confidence") && table.matches("confidence").count() == 1, "{table}");
    assert_eq!(output.status.code(), Some(1), "a file that was named could not be read");
}

#[test]
fn a_gpu_gives_the_same_answers() {
    if humdinger::gpu::adapters().is_empty() {
        assert!(std::env::var_os("CI").is_none(), "no GPU adapter, not even a software one");
        eprintln!("SKIPPED: no GPU adapter on this machine");
        return;
    }
    for recipe in RECIPES {
        let model = train(recipe, &[]).join("model.safetensors");
        let loss = |device: &str| {
            let data = text(small_data());
            let told = succeed(&["evaluate", "--model", text(&model), "--data", data, "--json", "--device", device]);
            serde_json::from_str::<serde_json::Value>(&told).unwrap()["loss"].as_f64().unwrap()
        };
        let (cpu, gpu) = (loss("cpu"), loss("gpu:0"));
        assert!((cpu - gpu).abs() < 1e-5 * cpu, "{recipe}: {cpu} against {gpu}");
        let probabilities = |device: &str| -> Vec<BTreeMap<String, f64>> {
            let fixed = ["predict", "--model", text(&model), text(small_data()), "--format", "json", "--top", "3"];
            let told = succeed(&[&fixed[..], &["--device", device]].concat());
            let answers: Vec<serde_json::Value> = serde_json::from_str(&told).unwrap();
            let entry = |place: &serde_json::Value| {
                (place["song"].as_str().unwrap().to_string(), place["probability"].as_f64().unwrap())
            };
            answers.iter().map(|answer| answer["top"].as_array().unwrap().iter().map(entry).collect()).collect()
        };
        for (cpu, gpu) in probabilities("cpu").iter().zip(&probabilities("gpu")) {
            assert!(cpu.len() == 3 && cpu.iter().all(|(song, p)| (p - gpu[song]).abs() < 1e-5), "{cpu:?}, {gpu:?}");
        }
    }
    assert!(fail(1, &["train", "--data", text(small_data()), "--device", "gpu:99"]).contains("no gpu:99"));
}

/// Where there is no adapter at all, `gpu` is an error that says what to do, and `auto` the CPU.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_a_gpu() {
    let without = |arguments: &[&str]| {
        let mut command = humdinger();
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent").args(arguments);
        command.output().unwrap()
    };
    let data = text(small_data());
    for device in ["gpu", "gpu:1"] {
        let output = without(&["train", "--data", data, "--device", device]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("no GPU") && error.contains("--device cpu"), "{error}");
    }
    let out = scratch().join("no gpu");
    let output = without(&["train", "--data", data, "--recipe", "notebook", "--epochs", "1", "--out", text(&out)]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("no GPU found"), "{told}");
}

#[test]
fn inspections_and_the_doctor() {
    for recipe in RECIPES {
        let told = succeed(&["inspect", "--recipe", recipe, "--batch-size", "7", "--outputs", "23", "--target", "cpu"]);
        assert!(told.contains("23 outputs") && told.contains("training step, batch 7"), "{told}");
        for word in ["conv1.weight", "parameters", "MB in f32"] {
            assert!(told.contains(word), "{recipe}: {word} is not in: {told}");
        }
        assert!(succeed(&["inspect", "--recipe", recipe]).contains("launches"));
    }
    let told = succeed(&["doctor", "--device", "cpu", "--op", "max_pool"]);
    assert!(told.contains("max_pool2d") && told.contains("auto") && !told.contains("conv2d"), "{told}");
    assert!(fail(2, &["doctor", "--op", "no such"]).contains("--op"));
    let told = succeed(&["doctor", "--device", "cpu", "--op", "max_pool", "--vectors", "32"]);
    assert!(told.contains("vectors of 32 bits") && told.contains("max_pool2d"), "{told}");
    assert!(fail(2, &["doctor", "--vectors", "33"]).contains("this machine has vectors of"));
}

#[test]
fn invented_singers() {
    let make = |name: &str, more: &[&str]| -> Vec<(String, hound::WavSpec, u32)> {
        let out = scratch().join(name);
        let fixed =
            ["synth", "--out", text(&out), "--singers", "2", "--seconds", "1", "--tunes", "Twinkle,Greensleeves"];
        let fixed: Vec<&str> = fixed.into_iter().collect();
        let kept = |flag: &str| !more.contains(&flag);
        let pairs = fixed[1..].chunks(2).filter(|pair| kept(pair[0])).flatten().copied();
        let output = run(&std::iter::once("synth").chain(pairs).chain(more.iter().copied()).collect::<Vec<_>>());
        // No bar where nobody looks at it.
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut files: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let open = |path: &PathBuf| {
            let reader = hound::WavReader::open(path).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_string(), reader.spec(), reader.duration())
        };
        files.iter().map(open).collect()
    };
    let bytes = |name: &str| {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(scratch().join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(make("plain", &[]).len(), 4);
    make("the same", &[]);
    make("other seed", &["--seed", "2"]);
    assert!(bytes("plain") == bytes("the same") && bytes("plain") != bytes("other seed"));
    assert!(
        make("people", &["--first-person", "7"])
            .iter()
            .all(|(name, ..)| name.starts_with("S7_") || name.starts_with("S8_"))
    );
    assert_eq!(make("takes", &["--takes", "3"]).len(), 12);
    assert!(make("hums", &["--styles", "hum"]).iter().all(|(name, ..)| name.contains("_hum_")));
    assert!(make("whistles", &["--styles", "whistle"]).iter().all(|(name, ..)| name.contains("_whistle_")));
    assert!(make("stereo", &["--channels", "stereo"]).iter().all(|(_, spec, _)| spec.channels == 2));
    assert!(make("mono", &["--channels", "mono"]).iter().all(|(_, spec, _)| spec.channels == 1));
    let fast = make("fast", &["--rate", "22050", "--seconds", "2"]);
    assert!(fast.iter().all(|(_, spec, length)| spec.sample_rate == 22_050 && *length == 44_100));
    make("anywhere", &["--anywhere", "1"]);
    assert!(bytes("anywhere") != bytes("plain"));
    assert!(fail(1, &["synth", "--out", text(&scratch().join("plain"))]).contains("not empty"));
}

#[test]
fn pictures() {
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    let draw = |name: &str, more: &[&str]| -> Vec<u8> {
        let out = scratch().join(name);
        succeed(&[&["spectrogram", text(&clip), "--out", text(&out)], more].concat());
        std::fs::read(out).unwrap()
    };
    let plain = draw("plain.png", &[]);
    let wide = draw("wide.png", &["--width", "777", "--height", "555"]);
    let size = |png: &[u8], at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((size(&wide, 16), size(&wide, 20)), (777, 555));
    assert!(plain != draw("linear.png", &["--scale", "linear"]) && plain != draw("top.png", &["--top", "1500"]));
    assert!(fail(2, &["spectrogram", text(&clip), "--top", "99999"]).contains("--top"));
    assert!(fail(1, &["spectrogram", "nothing.wav"]).contains("nothing.wav"));
    let drawn = String::from_utf8(draw("plain.svg", &[])).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.contains("<image ") && drawn.contains(">seconds</text>"));
    // What is there stays, unless it is asked for.
    let there = scratch().join("there.png");
    std::fs::write(&there, "a letter").unwrap();
    let again = ["spectrogram", text(&clip), "--out", text(&there)];
    let message = fail(1, &again);
    assert!(message.contains("there.png") && message.contains("--force"), "{message}");
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "a letter");
    succeed(&[&again[..], &["--force"]].concat());
    assert!(std::fs::read(&there).unwrap() == plain);
    assert!(fail(2, &["spectrogram", text(&clip), "--out", "x.jpg"]).contains(".svg"));
}
