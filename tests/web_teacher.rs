//! What a page teaches, driven here on the CPU, is what `train` teaches: the same model, bit for bit.

#![cfg(feature = "app")]
// What stands in `common` is not all used here.
#![allow(dead_code)]

#[path = "common/program.rs"]
mod program;

use humdinger::audio::decode::decode_file;
use humdinger::device::{Device, DeviceChoice};
use humdinger::train::base;
use humdinger::train::elsewhere::{Driver, Recording, Teacher};
use humdinger::train::model::{Header, Model};
use humdinger::{Error, Result};
use program::{scratch, succeed, text};

fn taught(given: Vec<Recording>, seed: u64, epochs: usize) -> Result<Model> {
    let teacher = Teacher::new(given, base::FILE, seed, Some(epochs))?;
    let mut driver = Driver::new(teacher, &Device::choose(DeviceChoice::Cpu)?)?;
    let mut told = Vec::new();
    while let Some(epoch) = driver.epoch(|| false)? {
        told.push((epoch.epoch, epoch.over));
    }
    let all: Vec<_> = (1..=epochs).map(|epoch| (epoch, epoch == epochs)).collect();
    assert_eq!(told, all);
    driver.finish()
}

#[test]
fn a_page_teaches_what_train_does() -> Result<()> {
    let folder = scratch().join("recordings");
    let tunes = ["Twinkle", "Greensleeves", "YankeeDoodle"];
    let sung = scratch().join("sung");
    let list = tunes.join(",");
    succeed(&["synth", "--out", text(&sung), "--singers", "3", "--seconds", "3", "--tunes", &list]);
    let mut files: Vec<_> = std::fs::read_dir(&sung).expect("recordings").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
    files.sort();
    let mut given = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let song = tunes.iter().find(|tune| name.contains(*tune)).map_or("another", |tune| tune).to_string();
        let to = folder.join(&song).join(format!("{number}.wav"));
        std::fs::create_dir_all(folder.join(&song)).expect("a folder");
        std::fs::copy(path, &to).expect("a copy");
        given.push(Recording { song, name: format!("{number}.wav"), audio: decode_file(&to)?, person: None });
    }
    assert_eq!(given.len(), 9, "{files:?}");
    let out = scratch().join("run");
    let (folder, epochs) = (text(&folder).to_string(), 3);
    succeed(&["train", "--device", "cpu", "--data", &folder, "--seed", "7", "--epochs", "3", "--out", text(&out)]);
    let theirs = Model::read(&out.join("model.safetensors"))?;
    let ours = taught(given, 7, epochs)?;
    // A model learns of this number when it is written.
    let usual_distance = ours.distribution.as_ref().map(|distribution| distribution.usual);
    assert_eq!(Header { usual_distance, ..ours.header.clone() }, theirs.header);
    assert_eq!(ours.distribution, theirs.distribution);
    assert_eq!(ours.weights.counts, theirs.weights.counts);
    for (name, tensor) in &theirs.weights.tensors {
        assert_eq!(Some(tensor), ours.weights.tensors.get(name), "{name}");
    }
    let bytes = ours.to_bytes()?;
    let file = std::fs::read(out.join("model.safetensors")).map_err(|e| Error::Data(e.to_string()))?;
    assert!(bytes == file, "the same file");
    Ok(())
}

#[test]
fn too_little_is_refused() {
    let hum = || humdinger::audio::Audio {
        channels: vec![(0..8000).map(|t| (t as f32 * 0.1).sin() * 0.2).collect()],
        sample_rate: 8000,
        warnings: vec![],
    };
    let given = |songs: &[(&str, &str)]| -> Vec<Recording> {
        songs
            .iter()
            .map(|(song, name)| Recording { song: (*song).into(), name: (*name).into(), audio: hum(), person: None })
            .collect()
    };
    let refused = |songs: &[(&str, &str)]| {
        Teacher::new(given(songs), base::FILE, 1, None).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused(&[]).contains("song"), "{}", refused(&[]));
    assert!(refused(&[("a", "1.wav"), ("a", "2.wav")]).contains("1 song"));
    assert!(refused(&[("a", "1.wav"), ("b", "1.wav")]).contains("b"), "{}", refused(&[("a", "1.wav"), ("b", "1.wav")]));
}
