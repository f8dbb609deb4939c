//! The page that names songs in a browser: its files, made for one model. `humdinger export --web` writes them.

use crate::train::base;
use crate::train::elsewhere::RemotePredictor;
use crate::train::model::{Model, file_of};
use crate::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// One file of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct WebFile {
    /// Its name beside the others: there are no folders.
    pub name: &'static str,
    /// What HTTP calls its type.
    pub content_type: &'static str,
    /// What is in it.
    pub bytes: Cow<'static, [u8]>,
}

/// What the page may ask of the program that serves it, where the visitor wants that: addresses beside its own.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Takes a recording that the browser cannot read.
    pub predict: &'static str,
    /// Trains a model, where the program does that.
    pub train: Option<&'static str>,
    /// Looks a recording up in a catalogue, where the program has one.
    pub identify: Option<&'static str>,
}

/// The page itself.
pub const PAGE: &str = "index.html";
/// What says that a folder is such a page.
pub const ABOUT: &str = "about.json";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const BYTES: &str = "application/octet-stream";

macro_rules! fixed {
    ($name:literal, $type:expr) => {
        WebFile { name: $name, content_type: $type, bytes: Cow::Borrowed(include_bytes!(concat!("../../web/", $name))) }
    };
}

/// All files of the page for this model file; the base model where there is none. The first is [`PAGE`]. `served` is what the page may
/// ask of the program that serves it, where that is who serves it.
///
/// # Errors
/// Where the model cannot be read, or no plan can be made for it.
pub fn files(model: Option<&Path>, served: Option<Served>) -> Result<Vec<WebFile>> {
    let (bytes, path) = match model {
        None => (Cow::Borrowed(base::FILE), PathBuf::from(base::PATH)),
        Some(path) => {
            let path = file_of(path)?;
            let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read: {e}")))?;
            (Cow::Owned(bytes), path)
        }
    };
    let plan = RemotePredictor::new(Model::parse(&bytes, &path)?, &path)?.plan()?;
    let made = |name, content_type, bytes| WebFile { name, content_type, bytes };
    let json = |value: &serde_json::Value| Cow::Owned(value.to_string().into_bytes());
    let mut files = vec![
        fixed!("index.html", "text/html; charset=utf-8"),
        fixed!("example.html", "text/html; charset=utf-8"),
        fixed!("page.css", "text/css; charset=utf-8"),
        fixed!("page.js", JAVASCRIPT),
        fixed!("words.js", JAVASCRIPT),
        fixed!("core.js", JAVASCRIPT),
        fixed!("lesson.js", JAVASCRIPT),
        fixed!("picture.js", JAVASCRIPT),
        fixed!("sound.js", JAVASCRIPT),
        fixed!("capture.js", JAVASCRIPT),
        fixed!("store.js", JAVASCRIPT),
        fixed!("offline.js", JAVASCRIPT),
        fixed!("plan.js", JAVASCRIPT),
        fixed!("safetensors.js", JAVASCRIPT),
        fixed!("humdinger.wasm", "application/wasm"),
        made("plan.json", "application/json", json(&plan.export()?)),
        made("model.safetensors", BYTES, bytes),
    ];
    // The page teaches songs to the base model.
    let base = if model.is_some() { Some("base.safetensors") } else { None };
    files.extend(base.map(|name| made(name, BYTES, Cow::Borrowed(base::FILE))));
    let names: Vec<&str> = files.iter().map(|file| file.name).collect();
    let about = serde_json::json!({
        "format": "humdinger-page",
        "version": env!("CARGO_PKG_VERSION"),
        "files": names,
        "base": base,
        "predict": served.map(|served| served.predict),
        "train": served.and_then(|served| served.train),
        "identify": served.and_then(|served| served.identify),
    });
    files.push(made(ABOUT, "application/json", json(&about)));
    Ok(files)
}
