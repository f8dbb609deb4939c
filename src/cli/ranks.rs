//! `humdinger train` as one of several processes that MPI has started together.

use super::train::{Args, Begun, Planned, go, read_together};
use super::{tell_error, warn};
use crate::device::{Device, DeviceChoice};
use crate::ranks::{Communicator, Mpi};
use crate::{Error, Result};
use std::process::ExitCode;
use std::sync::Arc;

/// Trains as one of several ranks; `None` where this process was started alone.
///
/// # Errors
/// If MPI cannot be started. Later failures are reported here, once.
pub(super) fn run(args: &Args) -> Result<Option<ExitCode>> {
    // MPI takes its time to start, and looks around: not for nothing.
    let launched = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "PMI_RANK", "MPI_LOCALNRANKS"];
    if launched.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok(None);
    }
    let mpi = Arc::new(Mpi::start()?);
    if mpi.size() == 1 {
        return Ok(None);
    }
    match together(args, &mpi) {
        Ok(code) => Ok(Some(code)),
        // All ranks end with it.
        Err(error @ Error::Rank { .. }) => {
            if mpi.rank() == 0 {
                tell_error(&error);
            }
            Ok(Some(ExitCode::from(error.exit_code())))
        }
        // The others do not know, and would wait for ever.
        Err(error) => {
            tell_error(format!("rank {}: {error}", mpi.rank()));
            mpi.abort(error.exit_code())
        }
    }
}

fn together(args: &Args, mpi: &Arc<Mpi>) -> Result<ExitCode> {
    let (ranks, first): (&dyn Communicator, bool) = (&**mpi, mpi.rank() == 0);
    let (threads, [local, here]) = (mpi.threads(), mpi.on_machine());
    let choose = |choice| {
        let device = match choice {
            DeviceChoice::Gpu(None) => {
                let (device, adapters) = Device::gpu_of(local)?;
                if first && adapters < here {
                    let gpus = crate::error::counted(adapters, "GPU");
                    warn(&format!("note: {here} processes of this machine share its {gpus}"));
                }
                device
            }
            DeviceChoice::Gpu(_) => Device::choose(choice)?,
            // Of machines that may have different ones, or none.
            DeviceChoice::Auto | DeviceChoice::Cpu => Device::with_threads(threads),
        };
        Ok(device.among(mpi.clone()))
    };
    if !first {
        // One of all tells how far reading has come.
        crate::data::progress::hide();
    }
    // Rank 0 alone need see the run folder. What it tells is the same for all.
    let tell = |text: Result<String>| ranks.first(ranks.agree(text)?.as_bytes());
    let mut planned = None;
    let text = tell(match first {
        true => Planned::new(args).and_then(|new| planned.insert(new).to_text()),
        false => Ok(String::new()),
    })?;
    let data = ranks.agree(read_together(&text, args, ranks))?;
    let mut begun = None;
    match planned {
        Some(planned) => {
            tell(planned.begin(args, data, choose).and_then(|new| begun.insert(new).to_text()))?;
            ranks.agree(Ok(()))?;
        }
        None => {
            let other = Begun::of_another(&tell(Ok(String::new()))?, data, choose);
            ranks.agree(other.map(|other| begun = Some(other)))?;
        }
    }
    let Some(begun) = begun else { return Ok(ExitCode::FAILURE) };
    // Each knows its own GPU alone. Among CPUs there is nothing to tell apart.
    let own = begun.gpu().map_or(String::new(), |gpu| format!("{gpu}, machine {}", mpi.machine()));
    let each = ranks.gather(own.as_bytes())?.into_iter().map(|on| String::from_utf8_lossy(&on).into_owned());
    let each: Vec<String> = each.filter(|on| !on.is_empty()).collect();
    go(&begun.with_ranks(each), !first)
}
