//! The choice between the CPU and a GPU, with its reason.

use crate::cpu::{CpuSession, Pool};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{Gpu, GpuSession, adapters};
use crate::graph::{Communicator, Parallel, Session, States, Target};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What somebody asked for: `auto`, `cpu`, `gpu` or `gpu:<n>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU where there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The adapter of this number, or the first; a software one too.
    Gpu(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| digits.parse().ok().map(|n| Self::Gpu(Some(n)));
        let choice = match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "gpu" => Some(Self::Gpu(None)),
            other => other.strip_prefix("gpu:").and_then(number),
        };
        let detail = || {
            format!("`{text}` is no device; use auto, cpu, gpu, or gpu:<number> of the adapters that there are, from 0")
        };
        choice.ok_or_else(|| Error::usage("device", detail()))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

/// Samples that a GPU may hold: 1 GiB of them, nine hours at 8 kHz.
#[cfg(feature = "gpu")]
const GPU_ROOM: usize = 1 << 28;

/// A device that sessions can be made on.
pub struct Device {
    kind: Kind,
    reason: String,
    /// Those among which sessions share out their batches.
    ranks: Option<Arc<dyn Communicator>>,
}

enum Kind {
    Cpu(Arc<Pool>),
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

impl Device {
    /// Turns a choice into a device.
    ///
    /// # Errors
    /// Where the GPU that was asked for does not exist or cannot be opened, or the crate was built without its feature `gpu`. `auto`
    /// always finds the CPU.
    #[cfg(not(feature = "gpu"))]
    pub fn choose(choice: DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu("asked for")),
            DeviceChoice::Auto => Ok(Self::cpu("built without the feature `gpu`")),
            DeviceChoice::Gpu(_) => {
                Err(Error::Gpu(format!("`{choice}` needs humdinger to be built with its feature `gpu`; use cpu")))
            }
        }
    }

    /// Turns a choice into a device.
    ///
    /// # Errors
    /// Where the GPU that was asked for does not exist or cannot be opened. `auto` always finds the CPU.
    #[cfg(feature = "gpu")]
    pub fn choose(choice: DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu("asked for")),
            DeviceChoice::Gpu(number) => {
                let gpu = Gpu::open(number)?;
                let software = if gpu.adapter().is_software() { "; a software one, slower than the CPU" } else { "" };
                Ok(Self { reason: format!("asked for{software}"), kind: Kind::Gpu(gpu), ranks: None })
            }
            DeviceChoice::Auto => {
                let (software, real): (Vec<_>, Vec<_>) = adapters().into_iter().partition(|a| a.is_software());
                let Some(best) = real.into_iter().next() else {
                    let found = software.first().map_or("no GPU found".into(), |adapter| {
                        format!("no GPU but {}, which is software and slower", adapter.name())
                    });
                    return Ok(Self::cpu(&found));
                };
                Ok(match Gpu::open_adapter(best) {
                    Ok(gpu) => {
                        Self { kind: Kind::Gpu(gpu), reason: "the first GPU of this machine".into(), ranks: None }
                    }
                    Err(error) => Self::cpu(&error.to_string()),
                })
            }
        }
    }

    /// The GPU for the process of this number among those of this machine, and how many there are: each takes another, as far as they go,
    /// and software ones only where there are no others.
    ///
    /// # Errors
    /// Where there is none, or it cannot be opened.
    #[cfg(feature = "gpu")]
    pub fn gpu_of(process: usize) -> Result<(Self, usize)> {
        let (software, real): (Vec<_>, Vec<_>) = adapters().into_iter().partition(|a| a.is_software());
        let all = if real.is_empty() { software } else { real };
        // Without any, this says what is missing.
        let number = all.get(process % all.len().max(1)).map(|adapter| adapter.number);
        Ok((Self::choose(DeviceChoice::Gpu(number))?, all.len()))
    }

    /// Without the feature `gpu` there is none.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu_of(_: usize) -> Result<(Self, usize)> {
        Ok((Self::choose(DeviceChoice::Gpu(None))?, 0))
    }

    /// The same for work that is over before a GPU is opened, such as a few predictions: `auto` is the CPU, without a look at
    /// what else there is.
    ///
    /// # Errors
    /// As [`Device::choose`].
    pub fn choose_for_little(choice: DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Auto => Ok(Self::cpu("done before a GPU is opened")),
            choice => Self::choose(choice),
        }
    }

    /// The CPU with all its cores.
    fn cpu(reason: &str) -> Self {
        Self { kind: Kind::Cpu(Arc::new(Pool::of_machine())), reason: reason.into(), ranks: None }
    }

    /// The CPU with this many threads, the calling one included.
    pub fn with_threads(threads: usize) -> Self {
        Self { kind: Kind::Cpu(Arc::new(Pool::new(threads))), reason: "asked for".into(), ranks: None }
    }

    /// The same as one of several ranks, of which all are CPUs or all are GPUs. Sessions on CPUs share out the batches of plans with inputs
    /// [by item](crate::graph::Graph::by_item), to the bit; those on GPUs are given a [part](crate::ops::Part) each.
    #[must_use]
    pub fn among(self, ranks: Arc<dyn Communicator>) -> Self {
        Self { ranks: (ranks.size() > 1).then_some(ranks), ..self }
    }

    /// The ranks, where there are several.
    pub fn ranks(&self) -> Option<&Arc<dyn Communicator>> {
        self.ranks.as_ref()
    }

    /// What plans for this device must be made for.
    pub fn target(&self) -> Target {
        match self.kind {
            Kind::Cpu(_) => Target::Cpu,
            #[cfg(feature = "gpu")]
            Kind::Gpu(_) => Target::Gpu,
        }
    }

    /// Why it was chosen.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The GPU, where it is one.
    #[cfg(feature = "gpu")]
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.kind {
            Kind::Cpu(_) => None,
            Kind::Gpu(gpu) => Some(gpu),
        }
    }

    /// How many samples of recordings a session may hold: as many as fit a GPU's largest buffer, but no more than leave room for
    /// the rest. The CPU reads them where they are.
    pub fn room(&self) -> usize {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.gpu() {
            return GPU_ROOM.min((gpu.largest_buffer() / 4) as usize);
        }
        usize::MAX
    }

    /// A session, computing in f32, with the initial values of these states.
    ///
    /// # Errors
    /// Where the device has too little memory.
    pub fn session(&self, states: Arc<States>) -> Result<Box<dyn Session>> {
        Ok(match &self.kind {
            Kind::Cpu(pool) => {
                let session = CpuSession::<f32>::new(states, pool.clone())?;
                Box::new(match &self.ranks {
                    Some(ranks) => session.among(ranks.clone()),
                    None => session,
                })
            }
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => {
                let session = GpuSession::new(gpu.clone(), states)?;
                Box::new(match &self.ranks {
                    Some(ranks) => session.among(ranks.clone()),
                    None => session,
                })
            }
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Cpu(pool) => {
                let each = threads(pool.workers());
                match &self.ranks {
                    Some(ranks) => write!(f, "CPU, {} ranks, the first with {each}", ranks.size()),
                    None => write!(f, "CPU, {each} ({})", self.reason),
                }
            }
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => match &self.ranks {
                Some(ranks) => {
                    write!(f, "{} ranks on GPUs, the first on {} ({})", ranks.size(), gpu.adapter(), self.reason)
                }
                None => write!(f, "{} ({})", gpu.adapter(), self.reason),
            },
        }
    }
}

/// "1 thread", "2 threads".
pub(crate) fn threads(count: usize) -> String {
    crate::error::counted(count, "thread")
}
