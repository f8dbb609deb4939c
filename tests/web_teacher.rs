//! What a page teaches, driven here on the CPU, is what `train` teaches: the same model, bit for bit.

#![cfg(feature = "app")]
// What stands in `common` is not all used here.
#![allow(dead_code)]

#[path = "common/program.rs"]
mod program;

use humdinger::audio::decode::decode_file;
use humdinger::device::{Device, DeviceChoice};
use humdinger::graph::{PlanId, Session, Target};
use humdinger::nn;
use humdinger::train::base;
use humdinger::train::batch::{Batch, run};
use humdinger::train::elsewhere::{Lesson, Recording, Teacher};
use humdinger::train::model::{Header, Model};
use humdinger::train::network::Mode;
use humdinger::{Error, Result, Tensor};
use program::{scratch, succeed, text};
use std::collections::{BTreeMap, HashMap};

/// Runs the teacher's plans on a session of the CPU.
struct Here {
    session: Box<dyn Session>,
    plans: HashMap<(Mode, usize), PlanId>,
}

impl Here {
    fn run(
        &mut self,
        teacher: &Teacher,
        lesson: Lesson,
        batch: Batch,
        numbers: &[f32],
        outputs: &mut [(&str, &mut Vec<f32>)],
    ) -> Result<()> {
        let network = teacher.network();
        let mode = match lesson {
            Lesson::Train => Mode::train(teacher.config()),
            Lesson::Hear => Mode::Evaluate,
            Lesson::Views => network.evaluation(),
        };
        let id = match self.plans.get(&(mode, batch.count)) {
            Some(&id) => id,
            None => {
                let id = self.session.add(teacher.plan_for(lesson, batch.count, Target::Cpu)?)?;
                self.plans.insert((mode, batch.count), id);
                id
            }
        };
        let lengths: Vec<usize> = outputs
            .iter()
            .map(|(name, _)| {
                let port = self.session.plan(id).outputs.iter().find(|port| port.name == *name);
                port.map_or(0, |port| port.spec.shape.elements())
            })
            .collect();
        let mut read: Vec<Vec<f32>> = lengths.into_iter().map(|length| vec![0.0; length]).collect();
        let more: &[(&str, &[f32])] = if numbers.is_empty() { &[] } else { &[(nn::STEP, numbers)] };
        let mut into: Vec<(&str, &mut [f32])> =
            outputs.iter().zip(&mut read).map(|((name, _), values)| (*name, &mut values[..])).collect();
        run(&mut *self.session, id, &[batch], more, &mut into)?;
        outputs.iter_mut().zip(read).for_each(|((_, all), values)| all.extend(values));
        Ok(())
    }
}

fn taught(given: Vec<Recording>, seed: u64, epochs: usize) -> Result<Model> {
    let mut teacher = Teacher::new(given, base::FILE, seed, Some(epochs))?;
    let session = Device::choose(DeviceChoice::Cpu)?.session(teacher.network().states.clone())?;
    let mut here = Here { session, plans: HashMap::new() };
    teacher.begin(&mut *here.session)?;
    let mut kept = BTreeMap::new();
    loop {
        let (mut losses, mut steps, mut logits, mut vectors) = (vec![], vec![], vec![], vec![]);
        for step in teacher.epoch()? {
            let outputs = &mut [("loss", &mut losses), ("logits", &mut steps)];
            here.run(&teacher, Lesson::Train, step.batch, &step.numbers, outputs)?;
        }
        for batch in teacher.validation() {
            here.run(&teacher, Lesson::Hear, batch, &[], &mut [("logits", &mut logits), ("vectors", &mut vectors)])?;
        }
        let epoch = teacher.learnt(&losses, &steps, (&logits, &vectors))?;
        if epoch.best {
            for name in teacher.kept() {
                let shape = teacher.network().states.get(&name)?.shape;
                let mut values = vec![0.0; shape.elements()];
                here.session.read_state(&name, &mut values)?;
                kept.insert(name, Tensor::new(shape, values)?);
            }
        }
        if epoch.over {
            break;
        }
    }
    kept.iter().try_for_each(|(name, tensor): (&String, &Tensor)| here.session.write_state(name, tensor.data()))?;
    let (mut logits, mut vectors) = (vec![], vec![]);
    for batch in teacher.all_views() {
        here.run(&teacher, Lesson::Views, batch, &[], &mut [("logits", &mut logits), ("vectors", &mut vectors)])?;
    }
    teacher.finish(kept, &logits, &vectors)
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
        given.push(Recording { song, name: format!("{number}.wav"), audio: decode_file(&to)? });
    }
    assert_eq!(given.len(), 9, "{files:?}");
    let out = scratch().join("run");
    let (folder, epochs) = (text(&folder).to_string(), 3);
    succeed(&["train", "--device", "cpu", "--data", &folder, "--seed", "7", "--epochs", "3", "--out", text(&out)]);
    let theirs = Model::read(&out.join("model.safetensors"))?;
    let ours = taught(given, 7, epochs)?;
    // A model learns of this number when it is written.
    let usual_distance = ours.familiar.as_ref().map(|familiar| familiar.usual);
    assert_eq!(Header { usual_distance, ..ours.header.clone() }, theirs.header);
    assert_eq!(ours.familiar, theirs.familiar);
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
            .map(|(song, name)| Recording { song: (*song).into(), name: (*name).into(), audio: hum() })
            .collect()
    };
    let refused = |songs: &[(&str, &str)]| {
        Teacher::new(given(songs), base::FILE, 1, None).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused(&[]).contains("song"), "{}", refused(&[]));
    assert!(refused(&[("a", "1.wav"), ("a", "2.wav")]).contains("1 song"));
    assert!(refused(&[("a", "1.wav"), ("b", "1.wav")]).contains("b"), "{}", refused(&[("a", "1.wav"), ("b", "1.wav")]));
}
