//! Runs a teacher's plans on a session of this process, where training is to leave no files: the server trains so, and a page without WebGPU.

use super::{Epoch, Lesson, Teacher};
use crate::device::Device;
use crate::graph::{PlanId, Session, Target};
use crate::nn;
use crate::train::batch::{self, Batch};
use crate::train::model::Model;
use crate::{Error, Result, Tensor};
use std::collections::{BTreeMap, HashMap};

/// A teacher with a session that runs its plans. It gives the model that `train` gives on the same device, bit for bit.
pub struct Driver {
    teacher: Teacher,
    session: Box<dyn Session>,
    target: Target,
    plans: HashMap<(Lesson, usize), PlanId>,
    /// The states of the best epoch so far.
    best: BTreeMap<String, Tensor>,
    over: bool,
}

/// Values of several outputs, of one run after the other.
type Outputs<'a> = &'a mut [(&'static str, Vec<f32>)];

impl Driver {
    /// Takes the session's memory, and writes the states that training begins with.
    ///
    /// # Errors
    /// Where the device has too little memory.
    pub fn new(teacher: Teacher, device: &Device) -> Result<Self> {
        let mut session = device.session(teacher.network().states.clone())?;
        teacher.begin(&mut *session)?;
        let (target, plans, best) = (device.target(), HashMap::new(), BTreeMap::new());
        Ok(Self { teacher, session, target, plans, best, over: false })
    }

    /// What it drives.
    pub fn teacher(&self) -> &Teacher {
        &self.teacher
    }

    /// Trains for an epoch and validates. None where training is over, or where it is `stopped`, which is asked before every step: a
    /// stopped epoch counts for nothing, and none comes after it.
    ///
    /// # Errors
    /// Where the device fails, or the loss or a score is not finite.
    pub fn epoch(&mut self, stopped: impl Fn() -> bool) -> Result<Option<Epoch>> {
        if self.over {
            return Ok(None);
        }
        let mut trained = [("loss", vec![]), ("logits", vec![])];
        for step in self.teacher.epoch()? {
            if stopped() {
                self.over = true;
                return Ok(None);
            }
            self.run(Lesson::Train, step.batch, &step.numbers, &mut trained)?;
        }
        let mut checked = [("logits", vec![]), ("vectors", vec![])];
        for batch in self.teacher.validation() {
            self.run(Lesson::Validate, batch, &[], &mut checked)?;
        }
        let epoch = self.teacher.learnt(&trained[0].1, &trained[1].1, (&checked[0].1, &checked[1].1))?;
        if epoch.best {
            for name in self.teacher.kept() {
                let shape = self.teacher.network().states.get(&name)?.shape;
                let mut values = vec![0.0; shape.elements()];
                self.session.read_state(&name, &mut values)?;
                self.best.insert(name, Tensor::new(shape, values)?);
            }
        }
        self.over = epoch.over;
        Ok(Some(epoch))
    }

    /// The model of the best epoch.
    ///
    /// # Errors
    /// Where there was no epoch, or the device fails.
    pub fn finish(mut self) -> Result<Model> {
        let best = std::mem::take(&mut self.best);
        best.iter().try_for_each(|(name, tensor)| self.session.write_state(name, tensor.data()))?;
        let mut outputs = [("logits", vec![]), ("vectors", vec![])];
        for batch in self.teacher.all_augmented() {
            self.run(Lesson::Augmented, batch, &[], &mut outputs)?;
        }
        self.teacher.finish(best, &outputs[0].1, &outputs[1].1)
    }

    /// Runs the plan for a batch, and appends its outputs.
    fn run(&mut self, lesson: Lesson, batch: Batch, numbers: &[f32], outputs: Outputs<'_>) -> Result<()> {
        let key = (lesson, batch.count);
        let id = match self.plans.get(&key) {
            Some(&id) => id,
            None => {
                let id = self.session.add(self.teacher.plan_for(lesson, batch.count, self.target)?)?;
                self.plans.insert(key, id);
                id
            }
        };
        let mut parts = Vec::new();
        for (name, all) in outputs {
            let port = self.session.plan(id).outputs.iter().find(|port| port.name == *name);
            let port = port.ok_or_else(|| Error::value("outputs", format!("the plan has no {name}")))?;
            let from = all.len();
            all.resize(from + port.spec.shape.elements(), 0.0);
            parts.push((*name, &mut all[from..]));
        }
        let more: &[(&str, &[f32])] = if numbers.is_empty() { &[] } else { &[(nn::STEP, numbers)] };
        batch::run(&mut *self.session, id, &[batch], more, &mut parts)
    }
}
