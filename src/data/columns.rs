//! Which columns of a table are meant.

use serde::{Deserialize, Serialize};

/// The names of a table's columns, where somebody gives them; those that are not given are found by their usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNames {
    /// That of the sound files.
    pub file: Option<String>,
    /// That of the songs.
    pub song: Option<String>,
    /// That of the people who sing.
    pub person: Option<String>,
    /// That of the seconds at which a passage begins.
    pub start: Option<String>,
    /// That of the seconds at which it ends.
    pub end: Option<String>,
}

impl ColumnNames {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
