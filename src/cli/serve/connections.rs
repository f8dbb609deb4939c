//! Connections: how many, how long each may take, and what each request gets.

use super::api::{self, Found, Route};
use super::page::{self, Page};
use super::upload::{self, Refusal};
use super::{Site, warn};
use crate::cli::{is_verbose, plain};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Connections at a time; more wait for these to end. Each needs a file handle, of which a process has a thousand.
const CONNECTIONS: usize = 512;
/// How long the head of a request may take, and a connection may be idle.
const HEAD: Duration = Duration::from_secs(15);
/// The longest that a connection may last, for readers that never take their answer.
const LONGEST: Duration = Duration::from_secs(900);
/// The most bytes of a request's head.
const MOST_OF_A_HEAD: usize = 32 << 10;
/// How long, and how many bytes of, an upload that is refused is still taken and forgotten: whoever sends all of it before reading
/// would otherwise see a broken connection and not the reason.
const FORGET: Duration = Duration::from_secs(15);
const MOST_FORGOTTEN: u64 = 4 << 30;
/// How long requests may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

/// Answers until the end is asked for.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, stop: Arc<Notify>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ended, ending) = watch::channel(false);
    let accepting = tokio::spawn(accept(listener, site, places.clone(), ending));
    stop.notified().await;
    warn("ending: requests in progress are still answered; once more to end at once");
    accepting.abort();
    // No connection may be idle any longer.
    let _ = ended.send(true);
    let _ = timeout(GRACE, places.acquire_many(CONNECTIONS as u32)).await;
}

async fn accept(listener: TcpListener, site: Arc<Site>, places: Arc<Semaphore>, ending: watch::Receiver<bool>) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (site, ending) = (site.clone(), ending.clone());
                tokio::spawn(async move {
                    connection(stream, site, ending).await;
                    drop(place);
                });
            }
            // No file handles are left, or the client has gone already.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A connection from its first request to its last. What goes wrong with it is the client's affair.
async fn connection(stream: TcpStream, site: Arc<Site>, mut ending: watch::Receiver<bool>) {
    // Answers are small, and waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(answer(&site, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MOST_OF_A_HEAD)
            // Some clients close their side when they have sent all, and still read.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut ended = pin!(async move {
        // Whoever could tell has gone: that is an end, too.
        let _ = ending.wait_for(|&ended| ended).await;
    });
    let mut told = false;
    let whole = std::future::poll_fn(|context| {
        if !told && ended.as_mut().poll(context).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    });
    let _ = timeout(LONGEST, whole).await;
}

/// The answer to a request, whatever it is.
async fn answer(site: &Arc<Site>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let started = Instant::now();
    let waits = head.headers.contains_key(header::EXPECT);
    let mut body = Some(body);
    let mut answer = match respond(site, &head, &mut body).await {
        Ok(answer) => answer,
        Err(refusal) => refused(&refusal),
    };
    match body.take() {
        // A body that is not needed still arrives, unless the client waits for permission to send it (Expect: 100-continue).
        Some(body) if !body.is_end_stream() && !waits => forget(body),
        _ => {}
    }
    if is_verbose() {
        // Without the query, which may hold the token.
        let (path, status, seconds) = (head.uri.path(), answer.status().as_u16(), started.elapsed().as_secs_f64());
        warn(&plain(&format!("{} {path} {status} {seconds:.3} s", head.method)));
    }
    let headers = answer.headers_mut();
    for (name, value) in page::HEADERS {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    answer
}

/// Takes a body and forgets it.
fn forget(mut body: Incoming) {
    tokio::spawn(timeout(FORGET, async move {
        let mut left = MOST_FORGOTTEN;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 {
                break;
            }
        }
    }));
}

async fn respond(
    site: &Arc<Site>,
    head: &hyper::http::request::Parts,
    body: &mut Option<Incoming>,
) -> Result<Answer, Refusal> {
    // A request to a proxy names a host of its own, which is not checked.
    if head.uri.authority().is_some() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "this is no proxy: ask for a path"));
    }
    site.guard.check_origin(&head.headers).map_err(|(status, text)| Refusal::new(status, text))?;
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or(""));
    let found = api::find(path, &head.method, site.work.there());
    if found != Found::Route(Route::Health) && !site.guard.knows_token(&head.headers) {
        return first_visit(site, head).ok_or_else(|| {
            Refusal::new(StatusCode::UNAUTHORIZED, "a token is asked for (Authorization: Bearer TOKEN)")
        });
    }
    match found {
        Found::Route(Route::Health) => Ok(object(StatusCode::OK, &api::health())),
        Found::Route(Route::Model) => Ok(object(StatusCode::OK, &site.work.describe())),
        Found::Route(Route::OpenApi) => Ok(object(StatusCode::OK, &api::document(site.work.there()))),
        Found::Route(route @ (Route::Predict | Route::Identify)) => {
            let asked = api::asked(route, query)?;
            let sent = upload::take(&site.limits, &head.headers, body).await?;
            let (status, answer) = site.work.clone().answer(route, asked, sent).await?;
            Ok(object(status, &answer))
        }
        Found::Route(Route::Train) => {
            let asked = api::asked(Route::Train, query)?;
            // Before anything is sent in vain.
            site.work.training()?.check_free()?;
            let sent = upload::take_labelled(&site.limits, &head.headers, body).await?;
            Ok(object(StatusCode::ACCEPTED, &site.work.clone().train(asked, sent).await?))
        }
        Found::Route(Route::Training) => Ok(object(StatusCode::OK, &site.work.training()?.state())),
        Found::Route(Route::StopTraining) => Ok(object(StatusCode::OK, &site.work.training()?.stop())),
        Found::Route(Route::Trained) => site.work.training()?.model().map(model),
        Found::OtherMethod(allowed) => Err(Refusal::not_allowed(allowed)),
        Found::Nothing => match page::find(&site.pages, path) {
            Some(found) if [Method::GET, Method::HEAD].contains(&head.method) => {
                // A visitor who knows the token already, and gives it once more.
                Ok(first_visit(site, head).unwrap_or_else(|| file(found)))
            }
            Some(_) => Err(Refusal::not_allowed("GET, HEAD".into())),
            None => Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing of this name")),
        },
    }
}

/// A page that is asked for with the token in its address: the browser is to keep it, and to forget the address.
fn first_visit(site: &Site, head: &hyper::http::request::Parts) -> Option<Answer> {
    let given = head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let page = (head.method == Method::GET).then(|| page::find(&site.pages, head.uri.path())).flatten()?;
    let cookie = HeaderValue::try_from(site.guard.cookie(given)?).ok()?;
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    answer.headers_mut().insert(header::LOCATION, HeaderValue::try_from(&page.path).ok()?);
    Some(answer)
}

fn file(page: &Page) -> Answer {
    let mut answer = Response::new(Full::new(page.bytes.clone()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.kind));
    answer
}

fn model(bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let name = HeaderValue::from_static("attachment; filename=\"model.safetensors\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    answer
}

fn object(status: StatusCode, object: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{object}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = object(refusal.status, &json!({ "error": refusal.text }));
    let headers = answer.headers_mut();
    if let Some(allowed) = refusal.allowed.as_deref().and_then(|allowed| HeaderValue::from_str(allowed).ok()) {
        headers.insert(header::ALLOW, allowed);
    }
    match refusal.status {
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"))),
        StatusCode::UNAUTHORIZED => {
            drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"humdinger\"")));
        }
        _ => {}
    }
    answer
}
