//! A thread that has what must stay on the thread that made it, such as a session on a device, and works for all others.

use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

type Task<T> = Box<dyn FnOnce(&mut T) + Send>;

/// See the top of this file. The thread ends when this is dropped.
pub struct Worker<T> {
    tasks: Sender<Task<T>>,
    name: &'static str,
}

impl<T: 'static> Worker<T> {
    /// Starts a thread of this name with what `make` gives there.
    ///
    /// # Errors
    /// What `make` fails with, or where there can be no thread.
    pub fn start(name: &'static str, make: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Self> {
        let (tasks, given) = channel::<Task<T>>();
        let (ready, made) = channel();
        let work = move || {
            let mut own = match make() {
                Ok(own) => own,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(())));
            for task in given {
                // A fault in one is not to be the end of all; whoever waits for it finds out.
                drop(catch_unwind(AssertUnwindSafe(|| task(&mut own))));
            }
        };
        let failed = |e: std::io::Error| Error::Data(format!("no thread can be started for the {name}: {e}"));
        Builder::new().name(name.into()).spawn(work).map_err(failed)?;
        made.recv().map_err(|_| Error::Data(format!("the {name} could not be made")))??;
        Ok(Self { tasks, name })
    }

    /// What a task makes of it, which is waited for. Tasks are done one after the other.
    ///
    /// # Errors
    /// Where the thread has ended, or the task failed at a fault of its own.
    pub fn ask<R: Send + 'static>(&self, task: impl FnOnce(&mut T) -> R + Send + 'static) -> Result<R> {
        let (reply, answer) = channel();
        // Whoever asked may not wait any more.
        let task: Task<T> = Box::new(move |own| drop(reply.send(task(own))));
        let gone = || Error::Data(format!("the thread of the {} is gone", self.name));
        self.tasks.send(task).map_err(|_| gone())?;
        answer.recv().map_err(|_| Error::Data("the answer could not be computed".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_ask_what_only_one_has_and_a_fault_is_not_the_end() -> Result<()> {
        // Neither sent nor shared.
        let worker = Worker::start("counter", || Ok(std::rc::Rc::new(std::cell::Cell::new(0))))?;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).try_for_each(|_| worker.ask(|count| count.set(count.get() + 1))));
            }
        });
        assert!(worker.ask(|_| -> u32 { panic!("a fault, on purpose") }).is_err());
        assert_eq!(worker.ask(|count| count.get())?, 40);
        let refused = Worker::<u32>::start("nothing", || Err(Error::Data("no".into())));
        assert_eq!(refused.err().map(|error| error.to_string()), Some("no".into()));
        Ok(())
    }
}
