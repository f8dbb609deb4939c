//! Sound that is answered while it comes: the options of samples on standard input, and of a microphone, and its sound.

use super::long::Raw;
use crate::audio::stream::RAW_FORMATS;
use crate::{Error, Result};
use std::io::Read;

/// Sound from a microphone.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Microphone")]
pub struct Live {
    /// Listen to a microphone instead of files: to the one that the system records with, or to the one of this name. Ctrl-C ends it
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, conflicts_with = "paths")]
    microphone: Option<Option<String>>,
    /// Seconds after which the microphone is let go [default: at Ctrl-C]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    seconds: Option<f64>,
}

/// Sound as it is recorded, as samples of `f32le`, with its rate and number of channels.
pub type Recorded = (Box<dyn Read>, u32, usize);

impl Live {
    /// Whether a microphone is listened to.
    pub fn is_wanted(&self) -> bool {
        self.microphone.is_some()
    }

    /// What can be said before anything is recorded, for this command.
    ///
    /// # Errors
    /// Where it cannot be done.
    pub fn check(&self, command: &str) -> Result<()> {
        if let Some(seconds) = self.seconds.filter(|seconds| !(*seconds > 0.0 && seconds.is_finite())) {
            return Err(Error::usage("--seconds", format!("{seconds} is no number of seconds to listen for")));
        }
        if self.seconds.is_some() && !self.is_wanted() {
            return Err(Error::usage(
                "--seconds",
                "says how long to listen with --microphone; files are read to their end",
            ));
        }
        if self.is_wanted() && !cfg!(feature = "microphone") {
            let detail = format!(
                "this humdinger was built without microphones. Build it with `cargo build --release --features microphone` (on Linux after \
                 `apt-get install libasound2-dev`), or let another program record: `arecord -f S16_LE -r 16000 | humdinger {command} -`"
            );
            return Err(Error::usage("--microphone", detail));
        }
        Ok(())
    }

    /// Begins to record, says so, and ends at Ctrl-C.
    ///
    /// # Errors
    /// Where there is no such microphone, or it cannot be recorded from.
    #[cfg(feature = "microphone")]
    pub fn open(&self) -> Result<Recorded> {
        use crate::cli::{is_quiet, plain, signals, warn};
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        signals::on_end(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })?;
        let wanted = self.microphone.as_ref().and_then(|name| name.as_deref());
        let told = |text: &str| warn(&plain(&format!("warning: microphone: {text}")));
        let microphone = crate::audio::live::Microphone::open(wanted, self.seconds, stop, told)?;
        let (rate, channels) = (microphone.sample_rate, microphone.channels);
        if !is_quiet() {
            let until = self.seconds.map_or_else(|| "Ctrl-C ends it".into(), |seconds| format!("for {seconds} s"));
            let name = plain(&microphone.name).into_owned();
            warn(&format!("listening to {name}, {rate} Hz, {channels} channels; {until}"));
        }
        Ok((Box::new(microphone), rate, channels))
    }

    /// What is refused by [`Live::check`].
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "microphone"))]
    pub fn open(&self) -> Result<Recorded> {
        self.check("").and(Err(Error::usage("--microphone", "is not asked for")))
    }
}

/// Samples without a header on standard input.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Raw samples on standard input")]
pub struct RawArgs {
    /// Standard input is samples of this format, without a header
    #[arg(long, value_name = "FORMAT", value_parser = clap::builder::PossibleValuesParser::new(RAW_FORMATS))]
    raw: Option<String>,
    /// Samples a second
    #[arg(long, value_name = "HZ", requires = "raw", value_parser = crate::cli::whole::<u32>, default_value_t = 44_100)]
    rate: u32,
    /// Channels, whose samples take turns
    #[arg(long, value_name = "N", requires = "raw", value_parser = crate::cli::whole::<usize>, default_value_t = 1)]
    channels: usize,
}

impl RawArgs {
    /// How samples without a header lie, where there are any.
    pub(in crate::cli) fn get(&self) -> Option<Raw> {
        self.raw.clone().map(|format| (format, self.rate, self.channels))
    }

    /// What can be said before anything is read; whether standard input is.
    ///
    /// # Errors
    /// Where it is not, and samples on it are described.
    pub fn check(&self, reads_input: bool) -> Result<()> {
        match &self.raw {
            Some(_) if !reads_input => {
                Err(Error::usage("--raw", "says how samples lie on standard input; give - as the path"))
            }
            _ => Ok(()),
        }
    }
}
