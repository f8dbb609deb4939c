//! Which files there are, what song each holds and who sings it: from file names, from folders, or from a CSV file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::audio::decode::is_sound_file;
use crate::{Error, Result};

/// One labelled sound file.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the data set's root with `/` between the parts: unique, and the same on every machine.
    pub id: String,
    /// The song.
    pub label: String,
    /// Who sings, where that is known.
    pub person: Option<String>,
    /// The CSV's other columns, by name.
    pub columns: BTreeMap<String, String>,
}

/// How the labels were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `S<person>_<hum|whistle>_<take>_<Song>.wav`
    Names,
    /// One folder per song.
    Folders,
    /// A CSV file.
    Csv,
}

/// Files left out for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Why, worded to follow "12 files: ".
    pub reason: String,
    /// The files' ids, in order of name.
    pub files: Vec<String>,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.files.len();
        write!(f, "{count} file{}: {}", if count == 1 { "" } else { "s" }, self.reason)?;
        let shown: Vec<&str> = self.files.iter().take(3).map(String::as_str).collect();
        write!(f, " ({}{})", shown.join(", "), if count > shown.len() { ", ..." } else { "" })
    }
}

/// The labelled files of a data set, in order of id, and what was left out.
#[derive(Debug, Clone)]
pub struct Listing {
    /// In order of id.
    pub files: Vec<Labelled>,
    /// Sorted by reason.
    pub left_out: Vec<LeftOut>,
    /// How the labels were found.
    pub source: Source,
}

/// Collects files left out, by reason.
#[derive(Debug, Default)]
pub(super) struct Excluded(BTreeMap<String, Vec<String>>);

impl Excluded {
    pub fn add(&mut self, reason: impl Into<String>, file: impl Into<String>) {
        self.0.entry(reason.into()).or_default().push(file.into());
    }

    pub fn finish(self) -> Vec<LeftOut> {
        self.0
            .into_iter()
            .map(|(reason, mut files)| {
                files.sort();
                LeftOut { reason, files }
            })
            .collect()
    }
}

/// Lists the labelled sound files under `path`.
///
/// - A CSV file, or a folder with exactly one CSV file that has a file and a song column: see [`list_csv`].
/// - Else a folder most of whose sound files have MLEnd names ([`parse_name`]), at any depth: labels from the names.
/// - Else a folder of folders: the first folder below `path` is the song; files directly in `path` are left out. Who sings is not
///   told, whatever files are called: see [`names`](mod@super::names).
///
/// # Errors
/// When `path` does not exist, holds no sound file, or no label can be found.
pub fn list(path: &Path) -> Result<Listing> {
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
        _ => Error::file(path, format!("cannot be read: {e}")),
    })?;
    if !meta.is_dir() {
        if meta.is_file() && has_extension(path, "csv") {
            return list_csv(path);
        }
        return Err(Error::file(path, "is neither a folder of recordings nor a CSV file that lists them"));
    }
    let mut found = Found::default();
    walk(path, &mut String::new(), 0, &mut found)?;
    found.sounds.sort();
    let usable: Vec<&String> = found.csv.iter().filter(|name| CsvColumns::read(&path.join(name)).is_ok()).collect();
    match usable[..] {
        [name] => return list_csv(&path.join(name)),
        [] => {}
        _ => {
            let names: Vec<&str> = usable.iter().map(|s| s.as_str()).collect();
            return Err(Error::file(
                path,
                format!("several CSV files list recordings ({}); name one", names.join(", ")),
            ));
        }
    }
    if found.sounds.is_empty() {
        return Err(Error::file(path, "holds no sound file"));
    }
    let named = found.sounds.iter().filter(|id| parse_name(file_name(id)).is_some()).count();
    if named * 2 > found.sounds.len() { Ok(by_names(path, found)) } else { by_folders(path, found) }
}

/// Splits an MLEnd file name, `S<person>_<hum|whistle>_<take>_<Song>.<ending>`, into person (`S3`) and song.
pub fn parse_name(name: &str) -> Option<(&str, &str)> {
    let (stem, _) = name.rsplit_once('.')?;
    let mut fields = stem.split('_');
    let (person, way, take, song) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let good = person.strip_prefix('S').is_some_and(digits)
        && matches!(way.to_ascii_lowercase().as_str(), "hum" | "whistle")
        && digits(take)
        && !song.is_empty()
        && fields.next().is_none();
    good.then_some((person, song))
}

fn by_names(root: &Path, found: Found) -> Listing {
    let mut excluded = found.excluded;
    let mut files = Vec::new();
    for id in found.sounds {
        match parse_name(file_name(&id)) {
            Some((person, song)) => {
                let (person, label) = (Some(person.to_string()), song.to_string());
                files.push(Labelled { path: root.join(&id), label, person, columns: BTreeMap::new(), id });
            }
            None => excluded.add("the name is not of the form S<person>_<hum|whistle>_<take>_<Song>", id),
        }
    }
    Listing { files, left_out: excluded.finish(), source: Source::Names }
}

fn by_folders(root: &Path, found: Found) -> Result<Listing> {
    let mut excluded = found.excluded;
    let mut files = Vec::new();
    for id in found.sounds {
        match id.split_once('/') {
            Some((folder, _)) => {
                let label = folder.to_string();
                files.push(Labelled { path: root.join(&id), label, person: None, columns: BTreeMap::new(), id });
            }
            None => excluded.add("not in a song's folder, and the name does not tell the song", id),
        }
    }
    if files.is_empty() {
        return Err(Error::file(
            root,
            "has no labels: neither file names of the form S<person>_<hum|whistle>_<take>_<Song>.wav, nor a folder per song, \
             nor a CSV file with the columns `path` and `label`",
        ));
    }
    Ok(Listing { files, left_out: excluded.finish(), source: Source::Folders })
}

#[derive(Default)]
struct Found {
    /// Ids of sound files.
    sounds: Vec<String>,
    /// Names of CSV files at the top.
    csv: Vec<String>,
    excluded: Excluded,
}

/// Folders deeper than this are not searched (links can go in circles).
const DEEPEST: usize = 16;

fn walk(folder: &Path, prefix: &mut String, depth: usize, found: &mut Found) -> Result<()> {
    let unreadable = |e: std::io::Error| Error::file(folder, format!("cannot be listed: {e}"));
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_string) else {
            found
                .excluded
                .add("the name is not valid Unicode", format!("{prefix}{}", entry.file_name().to_string_lossy()));
            continue;
        };
        // Follows links, as people collect recordings with them.
        let Ok(meta) = std::fs::metadata(&path) else {
            if is_sound_file(&path) {
                found.excluded.add("cannot be opened", format!("{prefix}{name}"));
            }
            continue;
        };
        if name.starts_with('.') {
            if meta.is_file() && is_sound_file(&path) {
                found.excluded.add("hidden file", format!("{prefix}{name}"));
            }
        } else if meta.is_dir() {
            if depth < DEEPEST {
                let length = prefix.len();
                prefix.push_str(&name);
                prefix.push('/');
                walk(&path, prefix, depth + 1, found)?;
                prefix.truncate(length);
            }
        } else if is_sound_file(&path) {
            found.sounds.push(format!("{prefix}{name}"));
        } else if depth == 0 && has_extension(&path, "csv") {
            found.csv.push(name);
        }
    }
    Ok(())
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

fn file_name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// Names that a column may have, compared without case, spaces, `_` and `-`.
const FILE_COLUMNS: &[&str] = &["path", "filename", "filepath", "file", "audio", "wav", "clip", "fileid"];
const LABEL_COLUMNS: &[&str] = &["label", "song", "class", "target", "tune", "title"];
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

fn column_key(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

struct CsvColumns {
    reader: csv::Reader<std::fs::File>,
    header: Vec<String>,
    file: usize,
    label: usize,
    person: Option<usize>,
}

impl CsvColumns {
    fn read(path: &Path) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(delimiter(path)?)
            .from_path(path)
            .map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let header = reader.headers().map_err(|e| Error::file(path, format!("has no header line: {e}")))?;
        let header: Vec<String> = header.iter().map(|h| h.trim_start_matches('\u{feff}').to_string()).collect();
        let keys: Vec<String> = header.iter().map(|h| column_key(h)).collect();
        let find = |names: &[&str]| names.iter().find_map(|name| keys.iter().position(|key| key == name));
        let missing = |what: &str, names: &[&str]| {
            let columns = header.join(", ");
            Error::file(path, format!("has no {what} column; looked for {} among: {columns}", names.join(", ")))
        };
        let file = find(FILE_COLUMNS).ok_or_else(|| missing("file", FILE_COLUMNS))?;
        let label = find(LABEL_COLUMNS).ok_or_else(|| missing("song", LABEL_COLUMNS))?;
        let person = find(PERSON_COLUMNS);
        Ok(Self { reader, header, file, label, person })
    }
}

/// The separator that the header line uses most: comma, semicolon or tab.
fn delimiter(path: &Path) -> Result<u8> {
    use std::io::BufRead;
    let file = std::fs::File::open(path).map_err(|e| Error::file(path, format!("cannot be opened: {e}")))?;
    let mut line = Vec::new();
    let mut limited = std::io::BufReader::new(std::io::Read::take(file, 1 << 16));
    limited.read_until(b'\n', &mut line).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
    let count = |byte: u8| line.iter().filter(|&&b| b == byte).count();
    // Of equals the last wins, so the comma comes last.
    Ok([b'\t', b';', b','].into_iter().max_by_key(|&byte| count(byte)).unwrap_or(b','))
}

/// Lists the sound files that a CSV file names: a file column (`path`, `filename`, ...), a song column (`label`, `song`, ...),
/// optionally a person column (`person`, `Interpreter`, `singer`, ...). All further columns are kept for
/// [`super::split::SplitBy::Column`]. The MLEnd benchmark CSV works as it is.
///
/// A file is looked for where the path says, relative to the CSV's folder; else by its name alone anywhere below that folder.
///
/// # Errors
/// When the CSV cannot be read, has no file or song column, or none of its files exists.
pub fn list_csv(path: &Path) -> Result<Listing> {
    let mut columns = CsvColumns::read(path)?;
    let root = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut below: Option<HashMap<String, Vec<String>>> = None;
    let mut excluded = Excluded::default();
    let mut files = BTreeMap::new();
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
        let id = if root.join(&name).is_file() {
            name
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
        let labelled =
            Labelled { path: root.join(&id), id: id.clone(), label: label.to_string(), person, columns: others };
        if let Some(first) = files.get(&id) {
            if *first != labelled {
                let first: &Labelled = first;
                let detail = format!("names {id} twice, as {} and as {label}", first.label);
                return Err(Error::file(path, detail));
            }
            excluded.add("named twice by the CSV; counted once", id);
            continue;
        }
        files.insert(id, labelled);
    }
    if files.is_empty() {
        let reasons: Vec<String> = excluded.finish().iter().map(ToString::to_string).collect();
        let why = if rows == 0 { "it has no rows".to_string() } else { reasons.join("; ") };
        return Err(Error::file(path, format!("lists no sound file that exists: {why}")));
    }
    Ok(Listing { files: files.into_values().collect(), left_out: excluded.finish(), source: Source::Csv })
}

fn index_by_name(root: &Path) -> Result<HashMap<String, Vec<String>>> {
    let mut found = Found::default();
    walk(root, &mut String::new(), 0, &mut found)?;
    let mut index = HashMap::<String, Vec<String>>::new();
    for id in found.sounds {
        index.entry(file_name(&id).to_string()).or_default().push(id);
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse_name("S3_whistle_1_Panther.wav"), Some(("S3", "Panther")));
        assert_eq!(parse_name("S102_hum_12_Twinkle.WAV"), Some(("S102", "Twinkle")));
        for bad in [
            "S3_whistle_1_Panther",
            "3_hum_1_Rain.wav",
            "S_hum_1_Rain.wav",
            "S3_sing_1_Rain.wav",
            "S3_hum_x_Rain.wav",
            "S3_hum_1_.wav",
            "S3_hum_1_Star_Wars.wav",
            "S3_hum_1.wav",
            ".wav",
            "",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}
