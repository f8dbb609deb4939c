//! The static files of the page: a list in memory, so that no name in a request can lead to a file.

use super::super::web::{self, Served, WebFile};
use super::api::There;
use crate::Result;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName};
use std::borrow::Cow;
use std::path::Path;

/// A file that is served.
pub(super) struct Page {
    pub path: String,
    /// Its media type.
    pub kind: &'static str,
    pub bytes: Bytes,
}

/// A page of its own for browsers that run no modules: it sends a recording here, and shows the answer.
const UPLOAD: [(&str, &str, &[u8]); 3] = [
    ("/upload.html", "text/html; charset=utf-8", include_bytes!("page/index.html")),
    ("/upload.js", "text/javascript; charset=utf-8", include_bytes!("page/upload.js")),
    ("/upload.css", "text/css; charset=utf-8", include_bytes!("page/upload.css")),
];

/// All files: those of the page that works in the browser, for this model, and those of the page that sends. The page may have songs
/// taught here, and recordings looked up in a catalogue, where those are there.
///
/// # Errors
/// As [`web::files`].
pub(super) fn files(model: Option<&Path>, there: There) -> Result<Vec<Page>> {
    let (train, identify) = (there.training.then_some("train"), there.catalogue.then_some("identify?top=5"));
    let served = Served { predict: "predict?top=5", train, identify };
    let mut files = Vec::new();
    for WebFile { name, content_type: kind, bytes } in web::files(model, Some(served))? {
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        if name == web::PAGE {
            files.push(Page { path: "/".into(), kind, bytes: bytes.clone() });
        }
        files.push(Page { path: format!("/{name}"), kind, bytes });
    }
    let upload = UPLOAD.map(|(path, kind, bytes)| Page { path: path.into(), kind, bytes: Bytes::from_static(bytes) });
    files.extend(upload);
    Ok(files)
}

/// The file of this name.
pub(super) fn find<'a>(files: &'a [Page], path: &str) -> Option<&'a Page> {
    files.iter().find(|file| file.path == path)
}

/// What every answer says to a browser: nothing comes from elsewhere, goes elsewhere, or is shown within another page.
pub(super) const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' blob: data:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];
