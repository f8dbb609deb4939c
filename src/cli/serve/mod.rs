//! `humdinger serve`: a page to hum to, and answers over HTTP.
//!
//! The server is hyper on tokio, without a framework. There are a dozen fixed routes, and what matters here lies below a framework:
//! how long a head and a body may take, how much memory bodies may hold together, and that an answer is sent while a body that is
//! refused still comes. hyper is what axum is made of; alone it is half the crates (17 more than the program had; axum brings 13 on
//! top) and leaves these decisions to us. tiny_http is smaller still, but gives each connection a thread and no time limit, so that a
//! few clients that send a byte a minute stop it, and has not been released since 2022. All input and output is on one thread; sound
//! is decoded and classified on others.

mod api;
mod connections;
mod guard;
mod model;
mod page;
mod training;
mod upload;
mod work;

use self::api::There;
use super::predict::built_in;
use super::{identify, say, warn};
use crate::device::{Device, DeviceChoice};
use crate::train::base;
use crate::train::model::{Model, file_of};
use crate::train::predict::Predictor;
use crate::{Error, Result};
use guard::Guard;
use model::ModelThread;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use training::Training;
use upload::Limits;
use work::Work;

/// Serve a page to hum to, and answer other programs over HTTP (docs/http-api.md)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, or the folder of a run [default: the base model that comes with the program, which names the built-in tunes]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A catalogue of songs, made by `humdinger catalogue make`, for POST /identify
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// The port to listen at; 0 for any that is free
    #[arg(long, value_name = "P", value_parser = super::whole::<u16>, default_value_t = 8765)]
    port: u16,
    /// The address to listen at: with 0.0.0.0 or this machine's own, other machines are answered, too, and a token is asked for
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// A name that this machine has for others, as they write it in an address; may be given several times
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// What clients have to know to be answered [default: none on this machine alone, else one that is made up and printed]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// auto, cpu, gpu or gpu:N; auto is the CPU here
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What an upload may take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Megabytes of the largest recording that is taken
    #[arg(long, value_name = "MB", value_parser = super::whole::<usize>, default_value_t = 64)]
    max_upload: usize,
    /// Seconds of the longest recording that is taken
    #[arg(long, value_name = "SECONDS", value_parser = super::whole::<u32>, default_value_t = 600)]
    max_duration: u32,
    /// Seconds that an upload may take
    #[arg(long, value_name = "SECONDS", value_parser = super::whole::<u32>, default_value_t = 60)]
    upload_timeout: u32,
    /// Recordings that may wait for their answers; more are refused with 503
    #[arg(long, value_name = "N", value_parser = super::whole::<usize>, default_value_t = 256)]
    queue: usize,
    /// Seconds that training may take; 0: nothing is trained here
    #[arg(long, value_name = "SECONDS", value_parser = super::whole::<u32>, default_value_t = 900)]
    max_training: u32,
}

/// What is served.
struct Site {
    work: Arc<Work>,
    limits: Limits,
    guard: Guard,
    pages: Vec<page::Page>,
}

/// Runs the command.
pub fn run(mut args: Args) -> Result<()> {
    // The folder of a run stands for its model, for all that is made of it.
    args.model = args.model.as_deref().map(file_of).transpose()?;
    let limits = limits(&args.limits)?;
    if super::threads::few() {
        return Err(Error::Data("the system gives too few threads for a server (ulimit -u)".into()));
    }
    let choice = super::device(&args.device)?;
    let name = args.model.as_ref().map_or(base::NAME.to_string(), |path| path.display().to_string());
    let there = There { catalogue: args.catalogue.is_some(), training: args.limits.max_training > 0 };
    let pages = page::files(args.model.as_deref(), there)?;
    let model = args.model.clone();
    let thread = ModelThread::start(move || {
        let device = Device::choose_for_little(choice)?;
        match &model {
            Some(path) => Predictor::new(Model::read(path)?, path, &device),
            None => built_in(&device),
        }
    })?;
    let catalogue = args.catalogue.as_deref().map(identify::open).transpose()?;
    let training = training(choice, args.limits.max_training);
    let longest = f64::from(args.limits.max_duration);
    let work = Arc::new(Work::new(thread, name, catalogue, training, args.limits.queue, longest));

    let failed = |e: std::io::Error| Error::Data(format!("the server cannot be started: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(work.threads())
        .build()
        .map_err(failed)?;
    let address = SocketAddr::new(args.host, args.port);
    let taken = |e: std::io::Error| Error::usage("--port", format!("cannot listen at {address}: {e}; name another"));
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(taken)?;
    let address = listener.local_addr().map_err(failed)?;
    let guard = Guard::new(address, &args.allow_host, args.token)?;
    let stop = listen_for_the_end()?;
    tell(&guard, address)?;
    let site = Arc::new(Site { work, limits, guard, pages });
    runtime.block_on(connections::serve(listener, site, stop));
    // What is still being computed for clients that have gone.
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(())
}

fn training(choice: DeviceChoice, seconds: u32) -> Option<Training> {
    (seconds > 0).then(|| Training::new(choice, Duration::from_secs(seconds.into())))
}

fn limits(args: &LimitArgs) -> Result<Limits> {
    let at_least_one = [
        ("--max-upload", args.max_upload),
        ("--max-duration", args.max_duration as usize),
        ("--upload-timeout", args.upload_timeout as usize),
        ("--queue", args.queue),
    ];
    if let Some((option, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
        return Err(Error::usage(option, "with 0 nothing could be answered; at least 1"));
    }
    // As many bytes as can be counted in memory, several times.
    let megabytes = args.max_upload;
    if megabytes > 2_000 {
        return Err(Error::usage("--max-upload", format!("{megabytes} MB do not fit into memory; at most 2000")));
    }
    Ok(Limits::new(megabytes * 1_000_000, Duration::from_secs(args.upload_timeout.into())))
}

fn tell(guard: &Guard, address: SocketAddr) -> Result<()> {
    let place = match address.ip() {
        ip if ip.is_unspecified() => format!("<this machine>:{}", address.port()),
        _ => address.to_string(),
    };
    match guard.token() {
        None => say(format!("http://{place}/"))?,
        Some(token) => say(format!("http://{place}/?token={token}"))?,
    }
    if !address.ip().is_loopback() {
        warn(&format!("other machines are answered at {address}; what they send is not encrypted"));
    }
    warn("Ctrl-C ends it");
    Ok(())
}

/// Signalled when the process is asked to end, by Ctrl-C, SIGTERM or a closed terminal. The second time it ends at once.
fn listen_for_the_end() -> Result<Arc<Notify>> {
    let stop = Arc::new(Notify::new());
    let (told, before) = (stop.clone(), AtomicBool::new(false));
    super::signals::on_end(move || {
        if before.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        told.notify_one();
    })?;
    Ok(stop)
}
