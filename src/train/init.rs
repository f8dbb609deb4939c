//! The weights that a run begins with.

use super::base;
use std::path::PathBuf;

/// The weights that a run begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Init {
    /// Freshly drawn ones.
    #[default]
    Fresh,
    /// Those of the base model that comes with the program.
    Base,
    /// Those of a file.
    File(PathBuf),
}

/// What stands for freshly drawn weights on the command line and in files. A file of this name is `./none`.
pub const FRESH: &str = "none";

impl Init {
    /// What a word or a path on the command line or in a file means.
    pub fn of(path: PathBuf) -> Self {
        match path.to_str() {
            Some(FRESH) => Self::Fresh,
            Some(base::NAME) => Self::Base,
            _ => Self::File(path),
        }
    }

    /// The word or the path that means it.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Fresh => FRESH.into(),
            Self::Base => base::NAME.into(),
            Self::File(path) => path.clone(),
        }
    }

    /// What model files say of it: not where a file lies.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            known => known.describe(),
        }
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Fresh => "none: freshly drawn weights".into(),
            Self::Base => base::described(base::FILE),
            Self::File(path) => path.display().to_string(),
        }
    }
}
