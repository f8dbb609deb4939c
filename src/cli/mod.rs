//! The command line: one file per command, each with its arguments and `run`.

mod bench;
mod catalogue;
mod check;
mod check_page;
mod compare;
mod doctor;
mod embed;
mod evaluate;
mod export;
mod export_onnx;
mod flags;
mod folds;
mod identify;
mod image;
mod inspect;
mod manual;
mod melody_picture;
mod outcome;
mod pitch;
mod predict;
mod pretrain;
#[cfg(feature = "mpi")]
mod ranks;
mod serve;
mod signals;
mod spectrogram;
mod synth;
mod task;
mod terminal;
mod threads;
mod train;
pub mod web;

use crate::data::labels::ColumnNames;
use crate::data::progress;
use crate::device::DeviceChoice;
use crate::train::Recipe;
use crate::train::source::Reading;
use crate::train::suggest::{did_you_mean, nearest};
use crate::{Error, Result, vectors};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use flags::as_flags;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Names the song that somebody hums, sings or whistles.
#[derive(Debug, Parser)]
#[command(name = "humdinger", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    /// Say nothing but answers and errors: no progress, no notes, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also say how long it took, and how much memory; of `serve` every request
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the devices of this machine and check every kernel on them
    Doctor(doctor::Args),
    /// Draw the waveform and the spectrogram of a sound file
    Spectrogram(spectrogram::Args),
    Check(check::Args),
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Compare(compare::Args),
    Folds(folds::Args),
    Predict(Box<predict::Args>),
    Embed(embed::Args),
    Export(export::Args),
    Pretrain(pretrain::Args),
    Pitch(pitch::Args),
    Catalogue(catalogue::Args),
    Identify(identify::Args),
    Serve(serve::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    Completions(manual::Completions),
    Man(manual::Man),
    /// Make a data set of hummed and whistled public-domain tunes
    Synth(synth::Args),
}

/// Runs the command that the process was given; errors go to standard error. Exit code 2 for wrong usage, 1 for other
/// errors.
pub fn main() -> ExitCode {
    quiet_device_chooser();
    main_of(std::env::args_os().collect())
}

/// The same of a command that another program was given: its words, of which the first is the program's name.
pub fn main_of(words: Vec<OsString>) -> ExitCode {
    // Clap prints its own errors, and exits with 2.
    let command = words.get(1).and_then(|word| word.to_str()).map(String::from);
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| with_suggestion(error, command.as_deref()).exit());
    #[cfg(unix)]
    signals::survive_large_files();
    let started = Instant::now();
    VERBOSE.store(cli.verbose, Ordering::Relaxed);
    if cli.quiet {
        QUIET.store(true, Ordering::Relaxed);
        progress::hide();
    }
    threads::prepare();
    let result = match cli.command {
        Command::Spectrogram(arguments) => spectrogram::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Doctor(arguments) => doctor::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => check::run(arguments),
        Command::Train(arguments) => train::run_command(*arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Folds(arguments) => folds::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Compare(arguments) => compare::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Predict(arguments) => predict::run(*arguments).map(|()| ExitCode::SUCCESS),
        Command::Embed(arguments) => embed::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Export(arguments) => export::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Pretrain(arguments) => pretrain::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Pitch(arguments) => pitch::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Catalogue(arguments) => catalogue::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Identify(arguments) => identify::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Serve(arguments) => serve::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Bench(arguments) => bench::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Completions(arguments) => manual::completions(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Man(arguments) => manual::man(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Synth(arguments) => synth::run(arguments).map(|()| ExitCode::SUCCESS),
    };
    if cli.verbose {
        let memory =
            most_memory().map_or(String::new(), |bytes| format!(", at most {} MB of memory", bytes / 1_000_000));
        warn(&format!("took {:.2} s{memory}", started.elapsed().as_secs_f64()));
    }
    match result {
        Ok(code) => code,
        Err(error) => {
            let hint = if matches!(error, Error::Gpu(_)) { "; `--device cpu` computes on the CPU" } else { "" };
            tell_error(format!("{error}{hint}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Clap suggests flags by their letters alone, and for `--lr` comes upon `--val-fraction`; ours is the better guess.
fn with_suggestion(mut error: clap::Error, command: Option<&str>) -> clap::Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return error };
    let program = Cli::command();
    let command = command.and_then(|name| program.find_subcommand(name));
    let Some(command) = command.filter(|_| error.kind() == ErrorKind::UnknownArgument) else { return error };
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    if let Some(meant) = nearest(given.trim_start_matches('-'), &known) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{meant}")));
        // It would show the flag that clap had in mind.
        error.remove(ContextKind::Usage);
    }
    error
}

/// On Linux without a display, Mesa's layer that chooses devices prints complaints that look like errors of ours.
fn quiet_device_chooser() {
    let set = |name: &str| std::env::var_os(name).is_some();
    if cfg!(target_os = "linux") && !set("XDG_RUNTIME_DIR") && !set("NODEVICE_SELECT") {
        // SAFETY: this is the first thing that the process does, so there is no other thread to read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Prints a line. Where the reader has gone (`humdinger predict .. | head -1`) the process ends without complaint.
///
/// # Errors
/// Where standard output cannot be written to for another reason.
fn say(line: impl std::fmt::Display) -> Result<()> {
    print_line(&mut std::io::stdout(), line)
}

/// Whether the work goes on where the reader of standard output has gone.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// From now on a reader of standard output that goes away does not end the process: for commands whose lines only tell of
/// their work.
fn go_on_without_reader() {
    GOES_ON.store(true, Ordering::Relaxed);
}

/// [`say`] to another form of standard output.
fn print_line(to: &mut dyn Write, line: impl std::fmt::Display) -> Result<()> {
    match writeln!(to, "{line}") {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe && GOES_ON.load(Ordering::Relaxed) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Error::file("standard output", format!("cannot be written: {e}"))),
    }
}

/// Prints an error to standard error, also with `--quiet`.
fn tell_error(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "error: {}", as_flags(&text.to_string()));
}

/// Prints a line to standard error, where nothing can be done about failure; nothing with `--quiet`.
fn warn(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "{}", as_flags(line));
    }
}

/// Whether nothing is to be said but answers and errors, and whether more than usual.
static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// The most memory in bytes that the process has had, where the system tells.
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Text from outside (the name of a file or a song), with control characters escaped as in Rust's literals: a tab would
/// begin another column, and an escape sequence would be obeyed by the terminal. So would what turns the direction of text.
fn plain(text: &str) -> Cow<'_, str> {
    let unseen = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(unseen) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if unseen(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Nothing is written over what is there already unless asked for.
///
/// # Errors
/// Where there is something, and `force` is not set.
fn check_free(path: &std::path::Path, force: bool) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => Err(Error::file(path, "is a folder; name a file")),
        Ok(_) if !force => Err(Error::file(path, "exists already; name another file, or add --force to write over it")),
        _ => Ok(()),
    }
}

/// How recordings are read: flags that several commands have.
#[derive(Clone, Copy, Debug, clap::Args)]
struct ReadingArgs {
    /// Stop at a recording that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Decode every recording anew, and keep none of them decoded in the user's cache
    #[arg(long)]
    no_cache: bool,
}

impl From<ReadingArgs> for Reading {
    fn from(ReadingArgs { strict, no_cache }: ReadingArgs) -> Self {
        Self { strict, no_cache }
    }
}

/// Which columns of a table are meant: flags that several commands have. Usual names are found without them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Columns of a CSV file, where their names are unusual")]
struct ColumnArgs {
    /// The column that names the sound files
    #[arg(long, value_name = "NAME")]
    file_column: Option<String>,
    /// The column of the songs
    #[arg(long, value_name = "NAME")]
    song_column: Option<String>,
    /// The column of the people who sing
    #[arg(long, value_name = "NAME")]
    person_column: Option<String>,
    /// The column of the seconds at which a passage of a long recording begins
    #[arg(long, value_name = "NAME")]
    start_column: Option<String>,
    /// The column of the seconds at which it ends
    #[arg(long, value_name = "NAME")]
    end_column: Option<String>,
}

impl From<ColumnArgs> for ColumnNames {
    fn from(args: ColumnArgs) -> Self {
        let ColumnArgs { file_column, song_column, person_column, start_column, end_column } = args;
        Self { file: file_column, song: song_column, person: person_column, start: start_column, end: end_column }
    }
}

/// How wide the vectors of the CPU's kernels are: a flag that several commands have.
#[derive(Clone, Copy, Debug, clap::Args)]
struct VectorArgs {
    /// Bits of the vectors that the CPU's kernels use: as on a machine that has no wider ones [default: the widest]
    #[arg(long, value_name = "BITS", value_parser = whole::<usize>)]
    vectors: Option<usize>,
}

impl VectorArgs {
    /// Before anything is computed.
    fn choose(self) -> Result<()> {
        let Some(bits) = self.vectors else { return Ok(()) };
        vectors::choose(bits).map_err(|error| match error {
            Error::Value { detail, .. } => Error::usage("--vectors", detail),
            error => error,
        })
    }
}

/// What `--device` says.
fn device(text: &str) -> Result<DeviceChoice> {
    text.parse().map_err(|error| match error {
        Error::Usage { detail, .. } => Error::usage("--device", format!("{detail}; `humdinger doctor` lists them")),
        error => error,
    })
}

/// A whole number, for the command line.
fn whole<T: std::str::FromStr>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| "it must be a whole number, and not below 0 or too large to count with".into())
}

/// A recipe by name, for the command line.
fn recipe(text: &str) -> std::result::Result<Recipe, String> {
    let names = Recipe::ALL.map(Recipe::name);
    let known = Recipe::ALL.into_iter().find(|recipe| recipe.name() == text);
    known.ok_or_else(|| format!("there are {}{}", names.join(" and "), did_you_mean(text, &names)))
}
