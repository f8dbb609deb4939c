//! What the ranks of a run settle with each other beside the sums of a batch. One process alone settles nothing.
//!
//! Every rank goes through the same training, and knows the same numbers. Rank 0 alone reads and writes the run folder. Where a
//! rank fails at something of its own, such as writing a file, the others learn of it where all meet next, and all end
//! with that error ([`Error::Rank`]).

use super::checkpoint::Progress;
use crate::graph::{Communicator, Session, State};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where a run begins.
#[derive(Serialize, Deserialize)]
struct Begun {
    resumed: bool,
    progress: Progress,
}

/// See the top of this file.
pub(super) struct Together<'a> {
    ranks: Option<&'a dyn Communicator>,
    /// What went wrong here since all met last.
    failed: Option<Error>,
}

impl<'a> Together<'a> {
    pub fn new(ranks: Option<&'a dyn Communicator>) -> Self {
        Self { ranks, failed: None }
    }

    /// Whether this process is the one that reads and writes the run folder.
    pub fn writes(&self) -> bool {
        self.ranks.is_none_or(|ranks| ranks.rank() == 0)
    }

    /// The result of what a rank did alone: if it failed, the others learn it when all meet next.
    pub fn own(&mut self, result: Result<()>) -> Result<()> {
        match (result, self.ranks) {
            (Err(error), Some(_)) => {
                self.failed.get_or_insert(error);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// The ranks meet: an error of one is an error of all.
    pub fn meet(&mut self) -> Result<()> {
        let failed = self.failed.take().map_or(Ok(()), Err);
        self.ranks.map_or(Ok(()), |ranks| ranks.agree(failed))
    }

    /// They meet, and stop where one of them was asked to.
    pub fn stop(&mut self, asked: bool) -> Result<bool> {
        self.meet()?;
        match self.ranks {
            None => Ok(asked),
            Some(ranks) => Ok(ranks.gather(&[u8::from(asked)])?.concat().contains(&1)),
        }
    }

    /// An error that every rank has come upon.
    pub fn all(&mut self, error: Error) -> Error {
        self.own(Err(error)).and_then(|()| self.meet()).err().unwrap_or_else(|| unreachable!("it was an error"))
    }

    /// Whether all ranks were given the same of something; `what` names it.
    pub fn same(&self, what: &str, own: &str) -> Result<()> {
        let Some(ranks) = self.ranks else { return Ok(()) };
        let differs = ranks.gather(own.as_bytes())?.iter().any(|other| other != own.as_bytes());
        let message = format!("the ranks have {what} that differ; all must be given the same");
        ranks.agree(if differs { Err(Error::Data(message)) } else { Ok(()) })
    }

    /// Where a run begins: what rank 0 knows of it, and the weights and moments that it has.
    pub fn begin(&self, begun: Option<(bool, Progress)>, session: &mut dyn Session) -> Result<(bool, Progress)> {
        let Some(ranks) = self.ranks else { return Ok(begun.unwrap_or_default()) };
        let bad = |e: &dyn std::fmt::Display| Error::Device(format!("ranks cannot begin together: {e}"));
        // TOML, whose numbers come back to the bit.
        let text = match &begun {
            Some((resumed, progress)) => toml::to_string(&Begun { resumed: *resumed, progress: progress.clone() }),
            None => Ok(String::new()),
        };
        let first = ranks.first(text.map_err(|e| bad(&e))?.as_bytes())?;
        let Begun { resumed, progress } = toml::from_slice(&first).map_err(|e| bad(&e))?;
        self.weights(session)?;
        Ok((resumed, progress))
    }

    /// Gives all ranks the states that rank 0 has.
    pub fn weights(&self, session: &mut dyn Session) -> Result<()> {
        let Some(ranks) = self.ranks else { return Ok(()) };
        let states: Vec<State> = session.states().kept().cloned().collect();
        for state in states {
            let mut values = vec![0.0; state.shape.elements()];
            session.read_state(&state.name, &mut values)?;
            let first = ranks.first(bytemuck::cast_slice(&values))?;
            if ranks.rank() > 0 {
                session.write_state(&state.name, &bytemuck::pod_collect_to_vec::<u8, f32>(&first))?;
            }
        }
        Ok(())
    }
}
