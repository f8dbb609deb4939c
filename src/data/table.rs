//! Labels from a table: a CSV file with a row for each recording.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use super::find::{Excluded, find, identity, special};
use super::labels::{Labelled, Listing, Source, file_name};
use super::split::{SPLIT_COLUMNS, column_key};
use super::text;
use crate::audio::decode::is_sound_file;
use crate::{Error, Result};

/// Whether a file is a table with a file and a song column.
pub fn lists_recordings(path: &Path) -> bool {
    CsvColumns::read(path).is_ok()
}

/// Names that a column may have, compared without case, spaces, `_` and `-`.
const FILE_COLUMNS: &[&str] = &[
    "path",
    "filename",
    "filepath",
    "file",
    "audio",
    "wav",
    "clip",
    "fileid",
    "fname",
    "audiofile",
    "audiopath",
    "recording",
];
const LABEL_COLUMNS: &[&str] = &["label", "song", "class", "target", "tune", "title", "labels", "melody", "songname"];
const PERSON_COLUMNS: &[&str] = &[
    "person",
    "interpreter",
    "singer",
    "participant",
    "speaker",
    "subject",
    "performer",
    "user",
    "personid",
    "singerid",
];

struct CsvColumns {
    reader: csv::Reader<std::io::Cursor<String>>,
    /// Where the table has none, that it has none.
    header: Vec<String>,
    file: usize,
    label: usize,
    person: Option<usize>,
    /// Of the text, where that is not UTF-8.
    encoding: Option<&'static str>,
    headless: bool,
}

impl CsvColumns {
    fn read(path: &Path) -> Result<Self> {
        let (text, encoding) = text::read(path)?;
        let (delimiter, text) = (delimiter(&text), std::io::Cursor::new(text));
        let mut reader = csv::ReaderBuilder::new();
        reader.flexible(true).trim(csv::Trim::All).delimiter(delimiter);
        let mut reader = reader.from_reader(text);
        let header = reader.headers().map_err(|e| Error::file(path, format!("has no header line: {e}")))?;
        let header: Vec<String> = header.iter().map(str::to_string).collect();
        let keys: Vec<String> = header.iter().map(|h| column_key(h)).collect();
        let find = |names: &[&str]| names.iter().find_map(|name| keys.iter().position(|key| key == name));
        let missing = |what: &str, names: &[&str]| {
            let columns = header.join(", ");
            Error::file(path, format!("has no {what} column; looked for {} among: {columns}", names.join(", ")))
        };
        let file = find(FILE_COLUMNS).ok_or_else(|| missing("file", FILE_COLUMNS))?;
        let label = find(LABEL_COLUMNS).ok_or_else(|| missing("song", LABEL_COLUMNS))?;
        let person = find(PERSON_COLUMNS);
        Ok(Self { reader, header, file, label, person, encoding, headless: false })
    }

    /// [`CsvColumns::read`], also where there is no header: two columns, one of which names a sound file in its first row.
    fn read_any(path: &Path) -> Result<Self> {
        let refused = match Self::read(path) {
            Ok(columns) => return Ok(columns),
            Err(error) => error,
        };
        let (text, encoding) = text::read(path)?;
        let (delimiter, text) = (delimiter(&text), std::io::Cursor::new(text));
        let mut reader = csv::ReaderBuilder::new();
        reader.flexible(true).trim(csv::Trim::All).delimiter(delimiter).has_headers(false);
        let mut reader = reader.from_reader(text);
        // Without headers this is the first row, and comes again as a record.
        let first: Vec<bool> = reader
            .headers()
            .map_err(|e| Error::file(path, format!("cannot be read as CSV: {e}")))?
            .iter()
            .map(|cell| is_sound_file(Path::new(cell)))
            .collect();
        let file = match first[..] {
            [true, false] => 0,
            [false, true] => 1,
            _ => return Err(refused),
        };
        let header = vec!["first column".to_string(), "second column".to_string()];
        Ok(Self { reader, header, file, label: 1 - file, person: None, encoding, headless: true })
    }

    /// Where labels come from, and which columns are there in vain.
    fn tell(&self, path: &Path) -> (String, Vec<String>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let column = |at: usize| format!("`{}`", self.header[at]);
        let person = self.person.map_or_else(|| "people unknown".into(), |at| format!("people in {}", column(at)));
        let from = format!(
            "the CSV file {name}: files in its column {}, songs in {}, {person}",
            column(self.file),
            column(self.label)
        );
        let mut notes = Vec::new();
        if let Some(encoding) = self.encoding {
            notes.push(format!("{name} is not UTF-8; read as {encoding}"));
        }
        if self.headless {
            notes.push(format!("{name} has no header line; its first line is a recording like the others"));
        }
        let used = |at: &usize| *at == self.file || *at == self.label || Some(*at) == self.person;
        let (split, unused): (Vec<usize>, Vec<usize>) = (0..self.header.len())
            .filter(|at| !used(at))
            .partition(|&at| SPLIT_COLUMNS.contains(&column_key(&self.header[at]).as_str()));
        let names = |columns: Vec<usize>| columns.into_iter().map(column).collect::<Vec<_>>().join(", ");
        if !split.is_empty() {
            let which = names(split);
            notes.push(format!("{which} of {name} says which recordings validate, where it can and --split does not"));
        }
        if !unused.is_empty() {
            notes.push(format!("columns of {name} that are not used: {}", names(unused)));
        }
        (from, notes)
    }
}

/// The separator that the first line uses most: comma, semicolon, tab or bar.
fn delimiter(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default();
    let count = |byte: u8| line.bytes().filter(|&b| b == byte).count();
    // Of equals the last wins, so the comma comes last.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|&byte| count(byte)).unwrap_or(b',')
}

/// Lists the sound files that a CSV file names: a file column (`path`, `filename`, ...), a song column (`label`, `song`, ...),
/// optionally a person column (`person`, `Interpreter`, `singer`, ...). Columns are separated by commas, semicolons, tabs or bars, and
/// the text is UTF-8, UTF-16 or Latin-1. Without a header line there are two columns. All further columns are kept for
/// [`super::split::SplitBy::Column`]. The MLEnd benchmark CSV works as it is.
///
/// A file is looked for where the path says, relative to the CSV's folder; else by its name alone anywhere below that folder.
///
/// # Errors
/// When the CSV cannot be read, has no file or song column, or none of its files exists.
pub fn list_csv(path: &Path) -> Result<Listing> {
    let mut columns = CsvColumns::read_any(path)?;
    let root = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut below: Option<HashMap<String, Vec<String>>> = None;
    let mut excluded = Excluded::default();
    let mut files = BTreeMap::<String, Labelled>::new();
    let mut ids = HashMap::new();
    let mut rows = 0usize;
    for record in columns.reader.records() {
        let record = record.map_err(|e| Error::file(path, format!("cannot be read as CSV: {e}")))?;
        rows += 1;
        let field = |at: usize| record.get(at).unwrap_or("").trim();
        let (name, label) = (field(columns.file).replace('\\', "/"), field(columns.label));
        if name.is_empty() {
            excluded.add("the CSV names no file", format!("row {}", rows + 1));
            continue;
        }
        if label.is_empty() {
            excluded.add("the CSV gives no song", name);
            continue;
        }
        let there = std::fs::metadata(root.join(&name)).ok();
        if let Some(kind) = there.as_ref().and_then(special) {
            excluded.add(format!("named by the CSV, but {kind}"), name);
            continue;
        }
        let id = if there.is_some_and(|meta| meta.is_file()) {
            without_detours(&name)
        } else {
            let below = match &mut below {
                Some(below) => below,
                None => below.insert(index_by_name(&root)?),
            };
            match below.get(file_name(&name)).map(Vec::as_slice) {
                Some([only]) => only.clone(),
                Some(_) => {
                    excluded.add("named by the CSV without its folder, and found in several", name);
                    continue;
                }
                None => {
                    excluded.add("named by the CSV, but not there", name);
                    continue;
                }
            }
        };
        let person = columns.person.map(|at| field(at).to_string()).filter(|p| !p.is_empty());
        let others = columns.header.iter().enumerate();
        let others = others.filter(|(at, _)| *at != columns.file && *at != columns.label);
        let others = others.map(|(at, name)| (name.clone(), field(at).to_string())).collect();
        // One file may go under several names, by links or by a detour.
        let path_to = root.join(&id);
        let meta = std::fs::metadata(&path_to);
        let meta = meta.map_err(|e| Error::file(&path_to, format!("cannot be opened: {e}")))?;
        let id = ids.entry(identity(&path_to, &meta)).or_insert(id).clone();
        let labelled =
            Labelled { path: root.join(&id), id: id.clone(), label: label.to_string(), person, columns: others };
        if let Some(first) = files.get(&id) {
            if *first != labelled {
                let detail = if first.label == label {
                    format!("names {id} twice, for the same song but with other entries beside it")
                } else {
                    format!("names {id} twice, as {} and as {label}", first.label)
                };
                return Err(Error::file(path, detail));
            }
            excluded.harmless("named twice by the CSV; counted once", id);
            continue;
        }
        files.insert(id, labelled);
    }
    if files.is_empty() {
        let reasons: Vec<String> = excluded.finish().iter().map(ToString::to_string).collect();
        let why = if rows == 0 { "it has no rows".to_string() } else { reasons.join("; ") };
        return Err(Error::file(path, format!("lists no sound file that exists: {why}")));
    }
    let (labels_from, notes) = columns.tell(path);
    let files = files.into_values().collect();
    Ok(Listing { files, left_out: excluded.finish(), source: Source::Csv, labels_from, notes })
}

/// A path without detours: no `.` and no doubled `/`.
fn without_detours(name: &str) -> String {
    let parts = Path::new(name).components().filter(|part| !matches!(part, Component::CurDir));
    parts.collect::<PathBuf>().to_str().map_or_else(|| name.to_string(), |text| text.replace('\\', "/"))
}

fn index_by_name(root: &Path) -> Result<HashMap<String, Vec<String>>> {
    let mut index = HashMap::<String, Vec<String>>::new();
    for id in find(root)?.sounds {
        index.entry(file_name(&id).to_string()).or_default().push(id);
    }
    Ok(index)
}
