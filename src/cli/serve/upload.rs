//! Taking a recording that comes: so large at most, so long at most, and so much of all together.

use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Uploads of the largest size that are in memory together.
const TOGETHER: usize = 4;
/// Recordings that one request may train on.
const MOST_RECORDINGS: usize = 1000;
/// Bytes that memory is counted in.
const UNIT: usize = 4096;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub text: String,
    /// The methods that there are instead.
    pub allowed: Option<String>,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), allowed: None }
    }

    pub fn not_allowed(allowed: String) -> Self {
        let text = format!("this can be asked for by {allowed} alone");
        Self { allowed: Some(allowed), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too much to do; ask again in a moment")
    }
}

/// What uploads may take.
pub(super) struct Limits {
    /// Bytes of one.
    most: usize,
    /// From its first byte to its last.
    longest: Duration,
    /// The memory of all together, in units.
    memory: Arc<Semaphore>,
}

impl Limits {
    pub fn new(most: usize, longest: Duration) -> Self {
        Self { most, longest, memory: Arc::new(Semaphore::new(TOGETHER * most.div_ceil(UNIT))) }
    }

    fn too_large(&self) -> Refusal {
        let text = format!("a recording may have {} bytes at most", self.most);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }
}

/// A recording that has come.
pub(super) struct Sent {
    pub bytes: Vec<u8>,
    /// Its file's name, where that came with it.
    pub name: Option<String>,
    /// Its share of the memory.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Recordings that have come, each with its song.
pub(super) struct Labelled {
    pub recordings: Vec<(String, Sent)>,
    /// The memory of all together.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Takes the recording in a request's body; what of it is not taken stays in `body`.
pub(super) async fn take(limits: &Limits, headers: &HeaderMap, body: &mut Option<Incoming>) -> Result<Sent, Refusal> {
    match take_all(limits, headers, body).await? {
        (sent, Some(boundary)) => of_form(sent, boundary).await,
        (sent, None) => Ok(sent),
    }
}

/// Takes the recordings in a form whose fields are songs; what of it is not taken stays in `body`.
pub(super) async fn take_labelled(
    limits: &Limits,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
) -> Result<Labelled, Refusal> {
    match take_all(limits, headers, body).await? {
        (sent, Some(boundary)) => of_songs(sent, boundary).await,
        (_, None) => {
            let text = "send a form (multipart/form-data): a field for each recording, named like its song";
            Err(Refusal::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// All of a body, and the boundary of its parts where it is a form.
async fn take_all(
    limits: &Limits,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
) -> Result<(Sent, Option<String>), Refusal> {
    if headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        let text = "send the recording as it is, without Content-Encoding";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let boundary = match kind {
        Some(kind) if kind.trim_start().to_ascii_lowercase().starts_with("multipart/") => {
            Some(multer::parse_boundary(kind).map_err(wrong)?)
        }
        _ => None,
    };
    let mut sent = Sent { bytes: Vec::new(), name: None, memory: None };
    let Some(from) = body.as_mut() else { return Ok((sent, boundary)) };
    if from.size_hint().lower() > limits.most as u64 {
        return Err(limits.too_large());
    }
    timeout(limits.longest, receive(limits, from, &mut sent)).await.unwrap_or_else(|_| {
        let text = format!("the upload took longer than {} s", limits.longest.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
    })?;
    *body = None;
    Ok((sent, boundary))
}

fn wrong(error: multer::Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the form cannot be read: {error}"))
}

async fn receive(limits: &Limits, from: &mut Incoming, sent: &mut Sent) -> Result<(), Refusal> {
    while let Some(frame) = from.frame().await {
        let cut_off = |e: hyper::Error| {
            let text = format!("the upload was cut off after {} bytes: {e}", sent.bytes.len());
            Refusal::new(StatusCode::BAD_REQUEST, text)
        };
        let frame = frame.map_err(cut_off)?;
        let Some(data) = frame.data_ref() else { continue };
        let size = sent.bytes.len() + data.len();
        if size > limits.most {
            return Err(limits.too_large());
        }
        let held = sent.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = size.div_ceil(UNIT).saturating_sub(held);
        let permit = limits.memory.clone().try_acquire_many_owned(more as u32).map_err(|_| Refusal::busy())?;
        match &mut sent.memory {
            Some(memory) => memory.merge(permit),
            none => *none = Some(permit),
        }
        sent.bytes.try_reserve(data.len()).map_err(|_| Refusal::busy())?;
        sent.bytes.extend_from_slice(data);
    }
    Ok(())
}

fn form(bytes: Vec<u8>, boundary: String) -> multer::Multipart<'static> {
    multer::Multipart::new(BodyDataStream::new(Full::new(Bytes::from(bytes))), boundary)
}

/// The recording in a form: its field `file`.
async fn of_form(sent: Sent, boundary: String) -> Result<Sent, Refusal> {
    let mut form = form(sent.bytes, boundary);
    let mut found = None;
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or_default().to_string();
        if name != "file" || found.is_some() {
            let text = "a form has one field, `file`, with one recording";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
        let file = field.file_name().map(String::from);
        found = Some((Vec::from(field.bytes().await.map_err(wrong)?), file));
    }
    match found {
        Some((bytes, name)) => Ok(Sent { bytes, name, memory: sent.memory }),
        None => Err(Refusal::new(StatusCode::BAD_REQUEST, "the form has no field `file` with a recording")),
    }
}

/// The recordings in a form: each in a field of its song's name.
async fn of_songs(sent: Sent, boundary: String) -> Result<Labelled, Refusal> {
    let mut form = form(sent.bytes, boundary);
    let mut recordings = Vec::new();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if recordings.len() == MOST_RECORDINGS {
            let text = format!("{MOST_RECORDINGS} recordings are taken at most");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let song = field.name().unwrap_or_default().trim().to_string();
        let name = field.file_name().map(String::from);
        let bytes = Vec::from(field.bytes().await.map_err(wrong)?);
        recordings.push((song, Sent { bytes, name, memory: None }));
    }
    Ok(Labelled { recordings, memory: sent.memory })
}
