//! Which files lie below a folder: each once, whatever links lead to it, and a reason for each that is no recording.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

pub use super::dataset::LeftOut;
use crate::audio::decode::{is_recording, names_sound, only_ffmpeg_reads};
use crate::{Error, Result};

/// Refuses what was left out, where it is not harmless: for those who want every recording read or none.
///
/// # Errors
/// Where a recording is among them; `path` is where they were looked for.
pub fn none_lost(path: &Path, left_out: &[LeftOut]) -> Result<()> {
    let lost: Vec<String> = left_out.iter().filter(|l| !l.harmless).map(ToString::to_string).collect();
    match lost[..] {
        [] => Ok(()),
        _ => Err(Error::file(
            path,
            format!("not everything in it can be read, as setting `strict` asks: {}", lost.join("; ")),
        )),
    }
}

/// The error of a folder in which no sound file was found, with what lies there instead.
pub fn no_sound(path: &Path, left_out: &[LeftOut]) -> Error {
    let why: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    let why = if why.is_empty() { String::new() } else { format!(" that can be used: {}", why.join("; ")) };
    Error::file(path, format!("holds no sound file{why}"))
}

/// Collects files left out, by reason.
#[derive(Debug, Default)]
pub(super) struct Excluded(BTreeMap<(String, bool), Vec<String>>);

impl Excluded {
    /// A recording that is lost.
    pub fn add(&mut self, reason: impl Into<String>, file: impl Into<String>) {
        self.0.entry((reason.into(), false)).or_default().push(file.into());
    }

    /// Something by which no recording is lost.
    pub fn harmless(&mut self, reason: impl Into<String>, file: impl Into<String>) {
        self.0.entry((reason.into(), true)).or_default().push(file.into());
    }

    /// What was left out elsewhere.
    pub fn again(&mut self, left_out: LeftOut) {
        self.0.entry((left_out.reason, left_out.harmless)).or_default().extend(left_out.files);
    }

    /// In order of reason.
    pub fn finish(self) -> Vec<LeftOut> {
        self.0
            .into_iter()
            .map(|((reason, harmless), mut files)| {
                files.sort();
                LeftOut { reason, files, harmless }
            })
            .collect()
    }
}

/// What tells a file from every other one, under whichever names it goes.
#[cfg(unix)]
type Identity = (u64, u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

/// The identity of a file or folder: device, inode and length, where there are such; else its path without links.
#[cfg(unix)]
pub(super) fn identity(_: &Path, meta: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    // A folder's length changes while others write into it.
    (meta.dev(), meta.ino(), if meta.is_dir() { 0 } else { meta.len() })
}
#[cfg(not(unix))]
pub(super) fn identity(path: &Path, _: &Metadata) -> Identity {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// What something is that is neither a file nor a folder, worded to follow "is".
pub fn special(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe, not a file");
        } else if kind.is_socket() {
            return Some("a socket, not a file");
        } else if kind.is_char_device() || kind.is_block_device() {
            return Some("a device, not a file");
        }
    }
    (!kind.is_file() && !kind.is_dir()).then_some("neither a file nor a folder")
}

/// The files below a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Paths below the folder of those whose ending is a sound file's, `/` between the parts, in order of name.
    pub sounds: Vec<String>,
    /// Names of the tables (CSV and the like) that lie in the folder itself, in order of name.
    pub tables: Vec<String>,
    /// Second names of sound files, by links: the name, and the one in [`Found::sounds`].
    pub again: Vec<(String, String)>,
    pub(super) excluded: Excluded,
}

impl Found {
    /// What was left out, the second names among it.
    pub fn left_out(mut self) -> (Vec<String>, Vec<LeftOut>) {
        for (name, first) in std::mem::take(&mut self.again) {
            self.excluded.harmless(AGAIN, format!("{name} is {first}"));
        }
        (self.sounds, self.excluded.finish())
    }
}

/// The reason given for a file's second name.
pub(super) const AGAIN: &str = "the same file under another name, counted once";

/// Endings of tables that may list recordings.
const TABLES: &[&str] = &["csv", "tsv", "tab"];

/// Endings of sound that nothing reads, not even ffmpeg as it is called here.
const UNREAD: &[&str] = &["alac", "gsm", "raw", "sph"];

/// Endings of what often lies beside recordings, and is none.
const DOCUMENTS: &[&str] = &[
    "asd",
    "aup",
    "aup3",
    "bib",
    "bmp",
    "cfg",
    "conf",
    "css",
    "csv",
    "cue",
    "db",
    "doc",
    "docx",
    "gif",
    "heic",
    "htm",
    "html",
    "ini",
    "ipynb",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsonl",
    "lab",
    "lock",
    "log",
    "lrc",
    "m3u",
    "md",
    "mid",
    "midi",
    "musicxml",
    "npy",
    "npz",
    "ods",
    "odt",
    "pdf",
    "pkf",
    "pls",
    "png",
    "ps1",
    "py",
    "reapeaks",
    "rs",
    "rst",
    "rtf",
    "safetensors",
    "sfk",
    "sh",
    "svg",
    "tab",
    "textgrid",
    "tif",
    "tiff",
    "toml",
    "torrent",
    "tsv",
    "txt",
    "url",
    "webp",
    "xls",
    "xlsx",
    "xml",
    "yaml",
    "yml",
];

/// Folders, in small letters, in which file systems and archives keep what they delete or have no other place for.
const SYSTEM: &[&str] =
    &["__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information", "@eadir", "#recycle"];

/// Names without an ending of the same kind.
const PAPERS: &[&str] = &["readme", "license", "licence", "copying", "authors", "changelog", "makefile", "notice"];

fn ending(name: &str) -> Option<String> {
    Path::new(name).extension().map(|e| e.to_string_lossy().to_lowercase())
}

fn is_document(name: &str) -> bool {
    match ending(name) {
        Some(ending) => DOCUMENTS.contains(&ending.as_str()),
        None => PAPERS.contains(&name.to_lowercase().as_str()),
    }
}

/// Why a file that is not read is not, by its kind, and whether that is harmless.
fn unread(path: &Path, name: &str) -> (String, bool) {
    match ending(name) {
        Some(ending) if only_ffmpeg_reads(path) => (
            format!("sound or film that only ffmpeg reads (.{ending}); install it, or convert the file to WAV or FLAC"),
            false,
        ),
        Some(ending) if names_sound(path) || UNREAD.contains(&ending.as_str()) => {
            (format!("sound or film of a kind that is not read (.{ending}); convert it to WAV or FLAC"), false)
        }
        Some(ending) if is_document(name) => (format!("no recording (.{ending})"), true),
        None if is_document(name) => ("no recording (no ending)".into(), true),
        Some(ending) => (format!("not known to be a sound file (.{ending})"), false),
        None => ("not known to be a sound file (no ending)".into(), false),
    }
}

/// Finds the files below `root`. Links are followed, as people collect recordings with them, after everything that is no link: so
/// a file has its own name and not a link's, and no folder is searched twice. Hidden files and folders are left out.
///
/// # Errors
/// When `root` itself cannot be listed; a folder below it that cannot is left out, as a file is.
pub fn find(root: &Path) -> Result<Found> {
    find_kind(root, is_recording)
}

/// [`find`] for files of another kind: those of which `wanted` says so by their name.
///
/// # Errors
/// As there.
pub fn find_kind(root: &Path, wanted: fn(&Path) -> bool) -> Result<Found> {
    let unreadable = |e: std::io::Error| Error::file(root, format!("cannot be listed: {e}"));
    let meta = std::fs::metadata(root).map_err(unreadable)?;
    let mut search = Search {
        wanted,
        found: Found::default(),
        queue: VecDeque::new(),
        links: Vec::new(),
        folders: HashSet::new(),
        sounds: HashMap::new(),
    };
    search.folders.insert(identity(root, &meta));
    search.list(root, "").map_err(unreadable)?;
    loop {
        while let Some((path, id)) = search.queue.pop_front() {
            if let Err(e) = search.list(&path, &format!("{id}/")) {
                search.found.excluded.add(format!("a folder that cannot be listed: {e}"), format!("{id}/"));
            }
        }
        if search.links.is_empty() {
            break;
        }
        let mut links = std::mem::take(&mut search.links);
        links.sort_by(|a, b| a.id.cmp(&b.id));
        links.into_iter().for_each(|link| search.entry(link));
    }
    let mut found = search.found;
    found.sounds.sort();
    found.tables.sort();
    Ok(found)
}

/// A search in progress.
struct Search {
    wanted: fn(&Path) -> bool,
    found: Found,
    /// Folders that are still to be listed, with their ids.
    queue: VecDeque<(PathBuf, String)>,
    /// Links, whose turn comes after all that is no link.
    links: Vec<Entry>,
    folders: HashSet<Identity>,
    sounds: HashMap<Identity, String>,
}

/// Something in a folder.
struct Entry {
    path: PathBuf,
    id: String,
    link: bool,
    /// Of what a link leads to.
    meta: Metadata,
}

impl Search {
    fn list(&mut self, folder: &Path, prefix: &str) -> std::io::Result<()> {
        let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        // The system's order is any order.
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let shown = name.to_string_lossy();
            let id = format!("{prefix}{shown}");
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let meta = match std::fs::metadata(&path) {
                Ok(meta) => meta,
                Err(_) if shown.starts_with('.') || is_document(&shown) => {
                    self.found.excluded.harmless("cannot be opened", id);
                    continue;
                }
                Err(_) if link => {
                    self.found.excluded.add("a link that leads nowhere", id);
                    continue;
                }
                Err(e) => {
                    self.found.excluded.add(format!("cannot be opened: {e}"), id);
                    continue;
                }
            };
            if shown.starts_with('.') {
                match () {
                    () if meta.is_dir() => self.found.excluded.harmless("hidden folder", format!("{id}/")),
                    // macOS keeps what other file systems have no place for in files of this name.
                    () if shown.starts_with("._") || !(self.wanted)(&path) => {
                        self.found.excluded.harmless("hidden file", id);
                    }
                    () => self.found.excluded.add("hidden file", id),
                }
            } else if name.to_str().is_none() {
                self.found.excluded.add("the name is not valid Unicode", id);
            } else if link {
                self.links.push(Entry { path, id, link, meta });
            } else {
                self.entry(Entry { path, id, link, meta });
            }
        }
        Ok(())
    }

    fn entry(&mut self, Entry { path, id, link, meta }: Entry) {
        let name = id.rsplit('/').next().unwrap_or(&id);
        if let Some(kind) = special(&meta) {
            self.found.excluded.add(kind, id);
        } else if meta.is_dir() && SYSTEM.contains(&name.to_lowercase().as_str()) {
            self.found.excluded.harmless("a folder of the file system's own", format!("{id}/"));
        } else if meta.is_dir() {
            if self.folders.insert(identity(&path, &meta)) {
                self.queue.push_back((path, id));
            } else if link {
                self.found.excluded.harmless("a link to a folder that is searched anyway", format!("{id}/"));
            }
        } else if (self.wanted)(&path) {
            let identity = identity(&path, &meta);
            match self.sounds.get(&identity) {
                Some(first) => self.found.again.push((id, first.clone())),
                None => {
                    self.sounds.insert(identity, id.clone());
                    self.found.sounds.push(id);
                }
            }
        } else {
            if id == name && ending(name).is_some_and(|e| TABLES.contains(&e.as_str())) {
                // Whoever goes by none of them says so.
                self.found.tables.push(id);
                return;
            }
            let (reason, harmless) = unread(&path, name);
            match harmless {
                true => self.found.excluded.harmless(reason, id),
                false => self.found.excluded.add(reason, id),
            }
        }
    }
}
