//! The crate's one error type. Every message names the file, option, operation or shape at fault and what to do about it.

use std::path::{Path, PathBuf};

/// Shorthand for results with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// "1 song", "2 songs": a count in a message.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whatever can go wrong, sorted by what the user has to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation was given shapes or parameters that it cannot work with.
    #[error("{op}: {detail}")]
    Op {
        /// The operation's name, for example `conv2d`.
        op: &'static str,
        /// What does not fit, with the shapes, and what would.
        detail: String,
    },

    /// A value that was fed to, or read from, a running plan does not fit the graph.
    #[error("`{name}`: {detail}")]
    Value {
        /// The name of the input or state.
        name: String,
        /// What does not fit, and what would.
        detail: String,
    },

    /// The device could not be had, was lost, or has too little memory.
    #[error("device: {0}")]
    Device(String),

    /// A GPU could not be had, was lost, or failed at something that the CPU may well do.
    #[error("device: {0}")]
    Gpu(String),

    /// A file or folder could not be read, written or understood.
    #[error("{}: {detail}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was wrong with it and what to do.
        detail: String,
    },

    /// A data set as a whole cannot be used: too few classes, nothing readable, an empty side of a split.
    #[error("{0}")]
    Data(String),

    /// A setting is wrong: a field of `train::Settings` or of other options, a key of a configuration file, or a flag of the command line. Exit code 2.
    #[error("{}: {detail}", setting(option))]
    Usage {
        /// The field's name, `val_fraction`, or what the command line calls it, `--val-fraction`.
        option: String,
        /// What is wrong with it and what is allowed.
        detail: String,
    },

    /// A rank failed, and the others with it, which all know.
    #[error("{}{message}", if *rank == 0 { String::new() } else { format!("rank {rank}: ") })]
    Rank {
        /// Which.
        rank: usize,
        /// What went wrong there.
        message: String,
        /// The exit code of its error.
        code: u8,
    },

    /// Training stopped because the loss was no longer finite.
    #[error("{0}")]
    NonFinite(String),
}

/// A setting's name in a message. Details that name other settings write them in this way, too (``setting `split` = `random` ``), and
/// the command line shows its flags instead.
fn setting(name: &str) -> String {
    let is_field = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_field { format!("setting `{name}`") } else { name.to_string() }
}

impl Error {
    /// An [`Error::Op`].
    pub fn op(op: &'static str, detail: impl Into<String>) -> Self {
        Self::Op { op, detail: detail.into() }
    }

    /// An [`Error::Value`].
    pub fn value(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Value { name: name.into(), detail: detail.into() }
    }

    /// An [`Error::File`].
    pub fn file(path: impl AsRef<Path>, detail: impl std::fmt::Display) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), detail: detail.to_string() }
    }

    /// An [`Error::Usage`].
    pub fn usage(option: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Usage { option: option.into(), detail: detail.into() }
    }

    /// The process's exit code for this error: 2 for wrong usage, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Rank { code, .. } => *code,
            _ => 1,
        }
    }
}
