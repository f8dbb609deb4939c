//! Sound that no decoder here reads, through the program `ffmpeg` where one is installed.
//!
//! It gets the file's name and no shell, may open nothing but that file and only as sound or film (a playlist could name other
//! files), and is stopped when it takes too long or gives too much.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::Audio;
use super::decode::Encoding;
use super::wav;

/// Names the program, or none where it is empty.
const VARIABLE: &str = "HUMDINGER_FFMPEG";
/// How long it may take: it decodes an hour in a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of its messages that are kept.
const MESSAGES: u64 = 1 << 16;
/// What it may take a file for.
const KINDS: &str = "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,matroska,webm,matroska,webm,mov,\
    mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,rm,sds,sox,spdif,tak,tta,voc,w64,wav,wsd,wv,xwma,iff,nut,mpegvideo,mpegps";

/// The ways in which files of a kind begin.
type Starts = &'static [&'static [u8]];

/// What only it reads: the endings of such files (lower case), how they begin, and what they are. Those of MPEG's transport streams repeat
/// a byte. The last are also of kinds that are read here.
const ONLY: &[(&[&str], Starts, &str)] = &[
    (&["amr", "awb"], &[b"#!AMR"], "AMR"),
    (&["wma", "wmv", "asf"], &[b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"], "Windows Media"),
    (&["ac3", "eac3"], &[b"\x0b\x77", b"\x77\x0b"], "AC-3"),
    (&["dts"], &[b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"DTSHDHDR"], "DTS"),
    (&["ape"], &[b"MAC "], "Monkey's Audio"),
    (&["wv"], &[b"wvpk"], "WavPack"),
    (&["mpc"], &[b"MPCK", b"MP+"], "Musepack"),
    (&["tta"], &[b"TTA1", b"TTA2"], "True Audio"),
    (&["tak"], &[b"tBaK"], "TAK"),
    (&["oma", "aa3"], &[b"EA3", b"ea3"], "ATRAC"),
    (&["dsf"], &[b"DSD "], "DSF"),
    (&["au", "snd"], &[b".snd"], "AU"),
    (&["voc"], &[b"Creative Voice File"], "VOC"),
    (&["flv"], &[b"FLV\x01"], "Flash Video"),
    (&["rm", "ra"], &[b".RMF", b".ra\xfd"], "RealMedia"),
    (&["mpg", "mpeg", "vob"], &[b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"], "an MPEG film"),
    (&["ts", "mts", "m2ts"], &[], TRANSPORT),
    (&["avi"], &[b"RIFF", b"RIFX"], ""),
    (&["spx", "ogv"], &[b"OggS"], ""),
];
const TRANSPORT: &str = "an MPEG transport stream";

/// Whether the name ends like that of a file that only the program reads.
pub fn names(path: &Path) -> bool {
    starts(path).is_some()
}

/// Whether a file has such a name and begins as it says, so that it is worth a try. A `.ts` may be a program, too.
pub fn knows(path: &Path) -> bool {
    let Some(starts) = starts(path) else {
        return false;
    };
    let mut head = Vec::new();
    // To open a FIFO is to wait for somebody who writes to it.
    let file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file()).then(|| std::fs::File::open(path).ok());
    let read = file.flatten().is_some_and(|file| file.take(1024).read_to_end(&mut head).is_ok());
    let begins = starts.iter().any(|start| head.starts_with(start)) || head.starts_with(b"ID3");
    read && (begins || starts.is_empty() && is_transport_stream(&head))
}

fn starts(path: &Path) -> Option<Starts> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ONLY.iter().find(|(endings, ..)| endings.contains(&&*ending)).map(|&(_, starts, _)| starts)
}

/// What a file is that nothing else reads, by its first bytes. A reader of MPEG audio that is asked for it would find frames in its data
/// now and then, and make noise of them.
#[cfg(feature = "compressed-audio")]
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    let named = ONLY.iter().filter(|(.., kind)| !kind.is_empty());
    let found = named.clone().find(|(_, starts, _)| starts.iter().any(|start| bytes.starts_with(start)));
    found.map(|&(.., kind)| kind).or_else(|| is_transport_stream(bytes).then_some(TRANSPORT))
}

/// Whether packets of 188 bytes begin as those of an MPEG transport stream do (ISO 13818-1), or four bytes later as on Blu-ray discs.
fn is_transport_stream(bytes: &[u8]) -> bool {
    [(0, 188), (4, 192)].iter().any(|&(at, step)| (0..4).all(|packet| bytes.get(at + packet * step) == Some(&0x47)))
}

/// The program, where there is one.
pub fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return (!named.is_empty()).then(|| named.into());
    }
    let name = if cfg!(windows) { "ffmpeg.exe" } else { "ffmpeg" };
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).filter(|folder| folder.is_absolute()).map(|f| f.join(name)).find(|p| p.is_file())
}

/// The command that makes a WAV file of `path`, for people to type.
pub fn command(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let out = if name.to_lowercase().ends_with(".wav") { format!("{stem}-pcm.wav") } else { format!("{stem}.wav") };
    format!("ffmpeg -i {} {}", quoted(&name), quoted(&out))
}

/// Decodes the first sound track of a file, `most` samples of it at most.
///
/// # Errors
/// What the program says, in a line.
pub fn decode(program: &Path, path: &Path, most: usize) -> Result<(Audio, Encoding), String> {
    let absolute = std::path::absolute(path).map_err(|e| e.to_string())?;
    let mut input = std::ffi::OsString::from("file:");
    input.push(absolute);
    let mut child = Command::new(program)
        .args(["-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-max_alloc", "268435456", "-threads", "1"])
        .args(["-protocol_whitelist", "file", "-format_whitelist", KINDS, "-i"])
        .arg(input)
        .args(["-map", "0:a:0", "-vn", "-sn", "-dn", "-f", "wav", "-c:a", "pcm_f32le", "pipe:1"])
        // It would have it write files.
        .env_remove("FFREPORT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    let most_bytes = most as u64 * 4 + 4096;
    let (Some(sound), Some(said)) = (read(&mut child, |child| child.stdout.take(), most_bytes), {
        read(&mut child, |child| child.stderr.take(), MESSAGES)
    }) else {
        return Err("its output cannot be read".into());
    };
    let sound = sound.recv_timeout(PATIENCE);
    // It has ended, or has to.
    let timely = sound.is_ok();
    let (bytes, whole) = sound.unwrap_or_default();
    if !timely || !whole {
        drop(child.kill());
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let (said, _) = said.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing").to_string();
    if !timely {
        return Err(format!("it took more than {} s", PATIENCE.as_secs()));
    }
    let decoded = wav::decode(&bytes, path);
    let (mut audio, mut encoding) = decoded.map_err(|_| last.clone())?;
    // It cannot say in the head how long a stream will be.
    audio.warnings.clear();
    let codec = said.split_once("Audio: ").map_or("", |(_, rest)| rest.split([' ', ',', '\n']).next().unwrap_or(""));
    encoding.codec = if codec.is_empty() { "unknown".into() } else { codec.to_string() };
    if !whole {
        audio
            .warnings
            .push(format!("ends early: it decodes to more than {most} samples, out of proportion to its size"));
    } else if !status.success() {
        audio.warnings.push(format!("ends early: ffmpeg says: {last}"));
    }
    Ok((audio, encoding))
}

/// What comes out of a pipe: at most so many bytes, and whether that is all.
type Output = mpsc::Receiver<(Vec<u8>, bool)>;

fn read<R: Read + Send + 'static>(
    child: &mut Child,
    of: impl Fn(&mut Child) -> Option<R>,
    most: u64,
) -> Option<Output> {
    let mut pipe = of(child)?;
    let (send, receive) = mpsc::channel();
    let collect = move || {
        let mut bytes = Vec::new();
        let ended = pipe.by_ref().take(most).read_to_end(&mut bytes).is_ok();
        let whole = ended && (bytes.len() as u64) < most;
        drop(send.send((bytes, whole)));
        // Whoever writes on must not wait for a reader.
        drop(std::io::copy(&mut pipe, &mut std::io::sink()));
    };
    // Without it the program would wait for a reader for ever.
    if std::thread::Builder::new().spawn(collect).is_err() {
        drop(child.kill());
        drop(child.wait());
        return None;
    }
    Some(receive)
}
