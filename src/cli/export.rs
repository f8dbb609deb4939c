//! `humdinger export`.

use super::web::{self, WebFile};
use super::{say, warn};
use crate::train::weights::UNFINISHED;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Write a page that names songs in a browser, for any web server, or an ONNX file for other programs
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("form").required(true).args(["web", "onnx"])))]
pub struct Args {
    /// The folder to write a page to
    #[arg(long, value_name = "FOLDER")]
    web: Option<PathBuf>,
    /// The ONNX file to write: samples in, probabilities out, the spectrogram included
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// The model file [default: the base model that comes with the program]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write over an ONNX file that is there already
    #[arg(long, requires = "onnx")]
    force: bool,
}

pub fn run(args: Args) -> Result<()> {
    match (args.web, args.onnx) {
        (Some(out), _) => page(&out, args.model.as_deref()),
        (None, Some(out)) => super::export_onnx::run(&out, args.model.as_deref(), args.force),
        // The command line does not let this through.
        (None, None) => Err(Error::usage("export", "what? Add --web FOLDER or --onnx FILE")),
    }
}

/// Writes a page.
fn page(out: &Path, model: Option<&Path>) -> Result<()> {
    let files = web::files(model, None)?;
    let there = what_is_there(out, &files)?;
    write(out, &files, there)?;
    if there {
        warn(&format!("{}: the page that was there before is replaced", out.display()));
    }
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    say(format!(
        "{}: {} files, {:.1} MB; put them on a web server, and open {}",
        out.display(),
        files.len(),
        bytes as f64 / 1e6,
        web::PAGE
    ))
}

/// Whether the folder holds such a page already; an error where it holds anything else.
fn what_is_there(out: &Path, files: &[WebFile]) -> Result<bool> {
    let entries = match std::fs::read_dir(out) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound && out.symlink_metadata().is_err() => return Ok(false),
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return Err(Error::file(out, "is a file, or lies below one; name a folder"));
        }
        Err(e) => return Err(Error::file(out, format!("cannot be read: {e}"))),
    };
    let entries: BTreeSet<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if entries.is_empty() {
        return Ok(true);
    }
    if !entries.contains(web::ABOUT) || !entries.contains(web::PAGE) {
        return Err(Error::file(out, "is there already and holds no page of this program; name another folder"));
    }
    // Other files beside the page are kept.
    match entries.iter().find(|name| !files.iter().any(|file| file.name == **name)) {
        Some(name) => {
            Err(Error::file(out, format!("holds `{name}` beside the page; move it away, or name another folder")))
        }
        None => Ok(true),
    }
}

/// Writes the files into a folder of another name beside it, and gives that the name; what is `there` is removed.
fn write(out: &Path, files: &[WebFile], there: bool) -> Result<()> {
    let failed = |e: std::io::Error| Error::file(out, format!("cannot be written: {e}"));
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let beside = || tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent).map_err(failed);
    let made = beside()?;
    for file in files {
        std::fs::write(made.path().join(file.name), &file.bytes).map_err(failed)?;
    }
    // A temporary folder is private to its owner; a web server often runs as another user.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let old = beside()?;
    if there {
        std::fs::rename(out, old.path().join("old")).map_err(failed)?;
    }
    std::fs::rename(made.path(), out).map_err(|e| {
        // As before, if that can be.
        if there {
            drop(std::fs::rename(old.path().join("old"), out));
        }
        failed(e)
    })
}
