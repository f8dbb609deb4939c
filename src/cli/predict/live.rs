//! Listening to a microphone: the options of it, and its sound.

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

    /// What can be said before anything is recorded.
    ///
    /// # Errors
    /// Where it cannot be done.
    pub fn check(&self) -> Result<()> {
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
            return Err(Error::usage(
                "--microphone",
                "this humdinger was built without microphones. Build it with `cargo build --release --features microphone` (on Linux after \
                 `apt-get install libasound2-dev`), or let another program record: `arecord -f S16_LE -r 16000 | humdinger predict -`",
            ));
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
        self.check().and(Err(Error::usage("--microphone", "is not asked for")))
    }
}
