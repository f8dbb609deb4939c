//! The static files of the page: a list in memory, so that no name in a request can lead to a file.

use hyper::body::Bytes;
use hyper::header::{self, HeaderName};

/// A file that is served.
pub(super) struct Page {
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    pub bytes: Bytes,
}

const FILES: [(&str, &str, &[u8]); 3] = [
    ("/", "text/html; charset=utf-8", include_bytes!("page/index.html")),
    ("/upload.js", "text/javascript; charset=utf-8", include_bytes!("page/upload.js")),
    ("/upload.css", "text/css; charset=utf-8", include_bytes!("page/upload.css")),
];

/// The file of this name.
pub(super) fn find(path: &str) -> Option<Page> {
    let (path, kind, bytes) = FILES.into_iter().find(|(known, ..)| *known == path)?;
    Some(Page { path, kind, bytes: Bytes::from_static(bytes) })
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
