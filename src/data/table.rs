//! Labels from a table: a CSV file with a row for each recording, or for each passage of one.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use super::columns::ColumnNames;
use super::find::{Excluded, find, identity, special};
use super::labels::{Labelled, Listing, Source, file_name};
use super::split::{SPLIT_COLUMNS, column_key};
use super::stretch::{self, Stretch};
use super::text;
use crate::audio::decode::names_sound;
use crate::{Error, Result};

/// Whether a file is a table with a file and a song column.
pub fn lists_recordings(path: &Path, names: &ColumnNames) -> bool {
    CsvColumns::read(path, names).is_ok()
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
    // Raven's selection tables.
    "beginpath",
    "beginfile",
];
const LABEL_COLUMNS: &[&str] = &[
    "label",
    "song",
    "class",
    "target",
    "tune",
    "title",
    "labels",
    "melody",
    "songname",
    "annotation",
    "species",
    "commonname",
];
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

/// Seconds at which a passage begins and ends, or how long it is.
const START_COLUMNS: &[&str] =
    &["start", "starttime", "starts", "starttimes", "startseconds", "begin", "begintime", "begintimes", "onset"];
const END_COLUMNS: &[&str] = &["end", "endtime", "ends", "endtimes", "endseconds", "stop", "stoptime"];
const LENGTH_COLUMNS: &[&str] = &["duration", "durations", "durationseconds", "length"];
/// Ready-made folds of a cross-validation.
const FOLD_COLUMNS: &[&str] = &["fold", "folds", "foldid", "foldnumber"];

struct CsvColumns {
    reader: csv::Reader<std::io::Cursor<String>>,
    /// Where the table has none, that it has none.
    header: Vec<String>,
    /// None where the table lies beside the one recording that it is of.
    file: Option<usize>,
    label: usize,
    person: Option<usize>,
    times: Option<Times>,
    /// Of the text, where that is not UTF-8.
    encoding: Option<&'static str>,
    headless: bool,
}

/// The columns that say which part of a recording a row is about.
#[derive(Clone, Copy)]
struct Times {
    start: usize,
    end: Option<usize>,
    length: Option<usize>,
    /// Whether somebody has named them, so that they are what they are taken for.
    given: bool,
}

impl CsvColumns {
    fn read(path: &Path, names: &ColumnNames) -> Result<Self> {
        let (text, encoding) = text::read(path)?;
        let (delimiter, text) = (delimiter(&text), std::io::Cursor::new(text));
        let mut reader = csv::ReaderBuilder::new();
        reader.flexible(true).trim(csv::Trim::All).delimiter(delimiter);
        let mut reader = reader.from_reader(text);
        let header = reader.headers().map_err(|e| Error::file(path, format!("has no header line: {e}")))?;
        let header: Vec<String> = header.iter().map(str::to_string).collect();
        let keys: Vec<String> = header.iter().map(|h| column_key(h)).collect();
        let known = |names: &[&str]| names.iter().find_map(|name| keys.iter().position(|key| key == name));
        let columns = header.join(", ");
        // A column that somebody names is there exactly, or but for case and signs.
        let exact = |option: &str, name: &str| {
            let at = header.iter().position(|h| h == name);
            let at = at.or_else(|| keys.iter().position(|key| !key.is_empty() && *key == column_key(name)));
            at.ok_or_else(|| {
                Error::usage(option, format!("{} has no column `{name}`; it has {columns}", path.display()))
            })
        };
        let find = |option: &str, name: &Option<String>, usual: &[&str]| match name {
            Some(name) => exact(option, name).map(Some),
            None => Ok(known(usual)),
        };
        let missing = |what: &str, names: &[&str]| {
            Error::file(path, format!("has no {what} column; looked for {} among: {columns}", names.join(", ")))
        };
        let person = find("person_column", &names.person, PERSON_COLUMNS)?;
        let mut start = find("start_column", &names.start, START_COLUMNS)?;
        let end = find("end_column", &names.end, END_COLUMNS)?;
        let end = end.or_else(|| known(&["offset"]).filter(|_| known(&["onset"]).is_some()));
        let length = if end.is_none() { known(LENGTH_COLUMNS) } else { None };
        let given = names.start.is_some() || names.end.is_some();
        // One of the two alone may be anything.
        start = start.filter(|_| given || end.is_some() || length.is_some());
        let times = start.map(|start| Times { start, end, length, given });
        if names.end.is_some() && times.is_none() {
            let detail = "needs a column of where passages begin; setting `start_column` names it";
            return Err(Error::usage("end_column", detail));
        }
        let file = find("file_column", &names.file, FILE_COLUMNS)?;
        if file.is_none() && (times.is_none() || stretch::sound_beside(path).is_none()) {
            return Err(missing("file", FILE_COLUMNS));
        }
        let label = find("song_column", &names.song, LABEL_COLUMNS)?.ok_or_else(|| missing("song", LABEL_COLUMNS))?;
        Ok(Self { reader, header, file, label, person, times, encoding, headless: false })
    }

    /// [`CsvColumns::read`], also where there is no header: two columns, one of which names a sound file in its first row.
    fn read_any(path: &Path, names: &ColumnNames) -> Result<Self> {
        let refused = match Self::read(path, names) {
            Ok(columns) => return Ok(columns),
            // Whoever names columns has a header.
            Err(error) if !names.is_empty() => return Err(error),
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
            .map(|cell| names_sound(Path::new(cell)))
            .collect();
        let file = match first[..] {
            [true, false] => 0,
            [false, true] => 1,
            _ => return Err(refused),
        };
        let header = vec!["first column".to_string(), "second column".to_string()];
        let (label, person) = (1 - file, None);
        Ok(Self { reader, header, file: Some(file), label, person, times: None, encoding, headless: true })
    }

    /// Where labels come from, and which columns are there in vain.
    fn tell(&self, path: &Path) -> (String, Vec<String>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let column = |at: usize| format!("`{}`", self.header[at]);
        let person = self.person.map_or_else(|| "people unknown".into(), |at| format!("people in {}", column(at)));
        let files = match self.file {
            Some(at) => format!("files in its column {}", column(at)),
            None => "of the recording of its name".into(),
        };
        let passages = self.times.map_or(String::new(), |Times { start, end, length, .. }| match end.or(length) {
            Some(end) => format!(", passages in {} and {}", column(start), column(end)),
            None => format!(", passages from {} on", column(start)),
        });
        let from = format!("the CSV file {name}: {files}, songs in {}, {person}{passages}", column(self.label));
        let mut notes = Vec::new();
        if let Some(encoding) = self.encoding {
            notes.push(format!("{name} is not UTF-8; read as {encoding}"));
        }
        if self.headless {
            notes.push(format!("{name} has no header line; its first line is a recording like the others"));
        }
        let times = self.times.iter().flat_map(|times| [Some(times.start), times.end, times.length]);
        let used: Vec<usize> = [self.file, Some(self.label), self.person].into_iter().chain(times).flatten().collect();
        let among = |at: usize, names: &[&str]| names.contains(&column_key(&self.header[at]).as_str());
        let (split, unused): (Vec<usize>, Vec<usize>) =
            (0..self.header.len()).filter(|at| !used.contains(at)).partition(|&at| among(at, SPLIT_COLUMNS));
        let names = |columns: &[usize]| columns.iter().map(|&at| column(at)).collect::<Vec<_>>().join(", ");
        if !split.is_empty() {
            let which = names(&split);
            notes.push(format!(
                "{which} of {name} says which recordings validate, where it can and setting `split` does not"
            ));
        }
        if !unused.is_empty() {
            let folds = unused.iter().find(|&&at| among(at, FOLD_COLUMNS));
            let folds = folds.map(|&at| {
                format!("; setting `split` = `column:{}` with setting `folds` = `N` validates by it", self.header[at])
            });
            let folds = folds.unwrap_or_default();
            notes.push(format!("columns of {name} that are not used: {}{folds}", names(&unused)));
        }
        (from, notes)
    }

    /// The part of a recording that a row is about; the error is why the row cannot be used.
    fn stretch(&self, record: &csv::StringRecord) -> std::result::Result<Option<Stretch>, &'static str> {
        let Some(Times { start, end, length, .. }) = self.times else { return Ok(None) };
        let cell = |at: usize| record.get(at).unwrap_or("").trim();
        let cells = [Some(start), end, length].map(|at| at.map_or("", cell));
        if cells.iter().all(|cell| cell.is_empty()) {
            return Ok(None);
        }
        let time = |text: &str| match text {
            "" => Ok(None),
            text => stretch::seconds(text).map(Some).ok_or("its start or its end is no time in seconds"),
        };
        let [start, end, length] = [time(cells[0])?, time(cells[1])?, time(cells[2])?];
        let start = start.unwrap_or(0.0);
        Stretch::new(start, end.or(length.map(|length| start + length))).map(Some)
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
/// the text is UTF-8, UTF-16 or Latin-1. Without a header line there are two columns. With a start and an end (or a duration) a row is
/// about that passage of a recording, and is a clip of its own: so are Raven's selection tables. All further columns are kept for
/// [`super::split::SplitBy::Column`]. The MLEnd benchmark CSV works as it is.
///
/// A file is looked for where the path says, relative to the CSV's folder; else by its name alone anywhere below that folder.
///
/// # Errors
/// When the CSV cannot be read, has no file or song column, or none of its files exists.
pub fn list_csv(path: &Path, names: &ColumnNames) -> Result<Listing> {
    let mut columns = CsvColumns::read_any(path, names)?;
    let root = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut below: Option<HashMap<String, Vec<String>>> = None;
    let mut excluded = Excluded::default();
    let mut files = BTreeMap::<String, Labelled>::new();
    let mut ids = HashMap::new();
    let records = columns.reader.records().collect::<std::result::Result<Vec<_>, _>>();
    let records = records.map_err(|e| Error::file(path, format!("cannot be read as CSV: {e}")))?;
    let mut more_notes = Vec::new();
    let told = columns.times.is_none_or(|times| times.given || records.iter().any(|row| columns.stretch(row).is_ok()));
    if !told {
        columns.times = None;
        more_notes.push("the columns that could tell passages hold no times in seconds".to_string());
    }
    let beside = if columns.file.is_none() { stretch::sound_beside(path) } else { None };
    let rows = records.len();
    for (row, record) in records.iter().enumerate() {
        let row = row + if columns.headless { 1 } else { 2 };
        let field = |at: usize| record.get(at).unwrap_or("").trim();
        let name = columns.file.map_or_else(|| beside.clone().unwrap_or_default(), |at| field(at).replace('\\', "/"));
        let label = field(columns.label);
        if name.is_empty() {
            excluded.add("the CSV names no file", format!("row {row}"));
            continue;
        }
        if label.is_empty() {
            excluded.add("the CSV gives no song", name);
            continue;
        }
        let stretch = match columns.stretch(record) {
            Ok(stretch) => stretch,
            Err(why) => {
                excluded.add(why, format!("{name}, row {row}"));
                continue;
            }
        };
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
        let others = others.filter(|(at, _)| Some(*at) != columns.file && *at != columns.label);
        let others = others.map(|(at, name)| (name.clone(), field(at).to_string())).collect();
        // One file may go under several names, by links or by a detour.
        let path_to = root.join(&id);
        let meta = std::fs::metadata(&path_to);
        let meta = meta.map_err(|e| Error::file(&path_to, format!("cannot be opened: {e}")))?;
        let sound = ids.entry(identity(&path_to, &meta)).or_insert(id).clone();
        let id = stretch.map_or_else(|| sound.clone(), |stretch| format!("{sound}{stretch}"));
        let path_to = root.join(&sound);
        let labelled =
            Labelled { path: path_to, id: id.clone(), stretch, label: label.to_string(), person, columns: others };
        if let Some(first) = files.get(&id) {
            // Raven has a row for every view of a passage.
            let same = *first == labelled || stretch.is_some() && first.label == label;
            if !same {
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
    let (labels_from, mut notes) = columns.tell(path);
    notes.extend(more_notes);
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
