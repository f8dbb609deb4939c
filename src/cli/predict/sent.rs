//! One uploaded recording instead of files: what `predict --format json` prints for it.

use super::long::{LARGE, Listened, PIECE, Pieces, listen};
use super::rows::{Answer, LongAnswer, Style, unread_json};
use super::{Format, long_from, why};
use crate::audio::Audio;
use crate::audio::decode::decode_sent;
use crate::audio::stream::{Opened, SoundStream, StreamResampler};
use crate::data::Clip;
use crate::train::listen::Listening;
use crate::train::predict::Predictor;
use crate::train::verdict::Threshold;
use crate::{Error, Result};
use std::io::Cursor;
use std::path::Path;

/// The highest sample rate (Hz) at which a recording of the longest duration is decoded.
const USUAL_RATE: f64 = 48_000.0;

/// Decodes a recording to a model's rate, or to its own where that is none. A large WAV file is resampled piece by piece, so that
/// not more of it is in memory than the model needs.
///
/// # Errors
/// Where it is no sound, or longer than `longest` seconds.
pub(in crate::cli) fn decode(bytes: Vec<u8>, name: &Path, rate: Option<u32>, longest: f64) -> Result<Audio> {
    if let Some(rate) = rate.filter(|_| bytes.len() as u64 > LARGE)
        && let Some(audio) = decode_pieces(&bytes, name, rate, longest)?
    {
        return Ok(audio);
    }
    let most = (2.0 * USUAL_RATE * longest) as usize;
    let audio = decode_sent(bytes, name, most)?;
    if audio.seconds() > longest {
        return Err(too_long(name, audio.seconds(), longest));
    }
    match rate {
        Some(rate) => audio.resampled(rate),
        None => Ok(audio),
    }
}

/// [`decode`] for WAV files that can be read piece by piece; none for others.
fn decode_pieces(bytes: &[u8], name: &Path, rate: u32, longest: f64) -> Result<Option<Audio>> {
    let Opened::Wav(mut stream) = SoundStream::open(Cursor::new(bytes), name)? else { return Ok(None) };
    if let Some(seconds) = stream.seconds.filter(|&seconds| seconds > longest) {
        return Err(too_long(name, seconds, longest));
    }
    let mut resampler = StreamResampler::new(stream.sample_rate(), rate)?;
    let mut audio = Audio { sample_rate: rate, ..Audio::default() };
    while let Some(piece) = stream.next(PIECE)? {
        audio.warnings.extend(piece.warnings);
        join(&mut audio, resampler.push(piece.channels, false));
        if audio.seconds() > longest {
            return Err(too_long(name, audio.seconds(), longest));
        }
    }
    let nothing = vec![Vec::new(); audio.channels.len()];
    join(&mut audio, resampler.push(nothing, true));
    if audio.frames() == 0 {
        return Err(Error::file(name, "holds no sound"));
    }
    Ok(Some(audio))
}

fn too_long(name: &Path, seconds: f64, longest: f64) -> Error {
    Error::file(name, format!("lasts {seconds:.0} s, and at most {longest:.0} s are taken; cut it into parts"))
}

fn join(audio: &mut Audio, channels: Vec<Vec<f32>>) {
    audio.channels.resize(channels.len(), Vec::new());
    audio.channels.iter_mut().zip(&channels).for_each(|(all, new)| all.extend_from_slice(new));
}

/// What `predict --format json` says of a decoded recording; what had to be mended is in `warnings`, where anything had to be.
///
/// # Errors
/// Where the device fails, or the model's scores are not finite.
pub(in crate::cli) fn answer(
    predictor: &mut Predictor,
    name: &str,
    mut audio: Audio,
    top: usize,
    threshold: Threshold,
) -> Result<serde_json::Value> {
    let header = predictor.model.header.clone();
    let names = header.names();
    let style = Style { format: Format::Json, several: false, names: &names, threshold, top };
    let first_only = header.recipe.first_window_only();
    let long = audio.frames() > long_from(&header);
    let mut warnings = std::mem::take(&mut audio.warnings);
    let path = Path::new(name);
    let mut object = if long && !first_only {
        let how = Listening { overlap: super::OVERLAP, least: super::LEAST_SECONDS, threshold: threshold.value };
        // Its progress is not shown.
        let mut pieces = Pieces::memory(audio);
        pieces.seconds = None;
        let Listened { seconds, passages, surest } = listen(predictor, (path, pieces), how, None, |_| Ok(()))?;
        LongAnswer { file: name.into(), seconds, passages, surest }.json(&style)
    } else {
        let seconds = (!(first_only && long)).then(|| audio.seconds());
        if seconds.is_none() {
            let window = header.front_end.window as f64 / f64::from(header.front_end.sample_rate);
            warnings.push(format!("only its first {window:.1} s are looked at"));
        }
        let windows = predictor.windows(&Clip::alone(path, audio.channels), first_only)?;
        Answer::new(name.into(), windows, seconds, &style).json(&style)
    };
    if !warnings.is_empty() {
        object["warnings"] = warnings.into();
    }
    Ok(object)
}

/// What it says of a recording that cannot be read.
pub(in crate::cli) fn unread(name: &str, error: &Error, threshold: f64) -> serde_json::Value {
    unread_json(name, &why(error), threshold)
}
