//! Clips as pictures and as sound.

use super::Report;
use crate::audio::{channels, wav};
use crate::data::Clip;
use crate::melody::pitch::{Contour, PitchOptions, PitchTracker};
use crate::melody::{hz_to_midi, note_name};
use crate::picture::markup::{base64, escape};
use crate::picture::{Axis, Levels, Scale, moments};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::fmt::Write;
use std::path::{Component, Path};

/// The picture's size in its own units, and what lies around the spectrogram in it.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 136.0;
const LEFT: f64 = 24.0;
const BOTTOM: f64 = 15.0;
const TOP: f64 = 2.0;
/// Cells of a spectrogram: enough for a card, and few enough for a page of dozens.
const CELLS: (usize, usize) = (260, 96);
/// A pitch that jumps further than this from one frame to the next, in semitones, is drawn as two lines.
const JUMP: f64 = 7.0;
/// What of a clip becomes part of the page, in seconds.
const LONGEST_EMBEDDED: f64 = 30.0;
/// What stays as it is in a relative address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A clip's spectrogram with notes beside it and its pitch in it, as inline SVG.
pub fn picture(clip: &Clip, rate: u32) -> String {
    let all: Vec<Vec<f32>> = clip.samples.each().map(<[f32]>::to_vec).collect();
    let Some(samples) = channels::to_count(all, 1).into_iter().next() else { return String::new() };
    let contour = PitchTracker::new(rate, PitchOptions::default()).map(|tracker| tracker.track(&samples)).ok();
    let axis = axis(contour.as_ref(), rate);
    let levels = Levels::new(&samples, rate, CELLS, axis);
    let seconds = samples.len() as f64 / f64::from(rate);
    let (wide, high) = (WIDTH - LEFT, HEIGHT - TOP - BOTTOM);
    let x = |time: f64| LEFT + time / seconds.max(1e-9) * wide;
    let y = |hz: f64| TOP + (1.0 - axis.height(hz)) * high;
    let mut svg = format!(
        "<svg class=\"sound\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"spectrogram of {}\">\
         <image x=\"{LEFT}\" y=\"{TOP}\" width=\"{wide}\" height=\"{high}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{}\"/>",
        escape(&clip.id),
        base64(&levels.png())
    );
    for note in axis.notes() {
        let at = y(crate::melody::midi_to_hz(f64::from(note)));
        // The name must not be cut off at an end.
        let text = (at + 3.0).clamp(TOP + 7.0, HEIGHT - BOTTOM);
        let _ = write!(
            svg,
            "<path class=\"note\" d=\"M{LEFT} {at:.1}H{WIDTH}\"/><text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 3.0,
            note_name(f64::from(note))
        );
    }
    let times = moments(seconds, 6);
    for (i, (time, name)) in times.iter().enumerate() {
        let last = i + 1 == times.len();
        let unit = if last && seconds < 60.0 { " s" } else { "" };
        let anchor = match (i == 0, x(*time) > WIDTH - 12.0) {
            (true, _) => "start",
            (_, true) => "end",
            _ => "middle",
        };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{name}{unit}</text>",
            x(*time),
            HEIGHT - 3.0
        );
    }
    if let Some(contour) = &contour {
        let path = pitch_path(contour, x, y);
        let _ = write!(svg, "<path class=\"under\" d=\"{path}\"/><path class=\"pitch\" d=\"{path}\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// The axis around what is sung; where nothing is, what people sing and whistle.
fn axis(contour: Option<&Contour>, rate: u32) -> Axis {
    let mut sung: Vec<f64> = contour.into_iter().flat_map(|contour| &contour.frames).filter_map(|f| f.midi()).collect();
    sung.sort_by(f64::total_cmp);
    let axis = match (sung.get(sung.len() / 20), sung.get((sung.len() * 19 / 20).min(sung.len().saturating_sub(1)))) {
        (Some(&low), Some(&high)) => Axis::around(low, high),
        _ => Axis { low: 80.0, high: 2000.0, scale: Scale::Log },
    };
    let highest = f64::from(rate) / 2.0;
    Axis { high: axis.high.min(highest), low: axis.low.min(highest / 2.0), ..axis }
}

/// The pitch as lines, broken where nothing is sung or the voice jumps.
fn pitch_path(contour: &Contour, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut before: Option<f64> = None;
    // Every other frame is 20 ms: finer than can be seen.
    for (i, frame) in contour.frames.iter().enumerate().step_by(2) {
        let at = frame.hz.map(|hz| (hz, y(hz).clamp(TOP, HEIGHT - BOTTOM)));
        if let Some((hz, at)) = at {
            let goes_on = before.is_some_and(|before| (hz_to_midi(before) - hz_to_midi(hz)).abs() < JUMP);
            let _ = write!(path, "{}{:.1} {at:.1}", if goes_on { 'L' } else { 'M' }, x(i as f64 * contour.hop));
        }
        before = frame.hz;
    }
    path
}

impl Report<'_> {
    /// What plays a clip: from where it lies, or out of the page itself.
    pub(super) fn player(&self, clip: &Clip) -> String {
        let source = match self.embed_audio {
            true => format!("data:audio/wav;base64,{}", base64(&wav_of(clip, self.data.sample_rate))),
            // Of a long recording the player begins with this passage, and stops behind it.
            false => {
                let part = clip.stretch.map_or_else(String::new, |stretch| stretch.to_string());
                format!("{}{part}", address(&self.folder, &clip.path))
            }
        };
        format!("<audio controls preload=\"none\" src=\"{source}\" aria-label=\"{}\"></audio>", escape(&clip.id))
    }
}

/// A file's address as seen from a folder: relative where there is a way, so that both can be moved together.
fn address(folder: &Path, file: &Path) -> String {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into());
    let (folder, file) = (real(folder), real(file));
    let Some(relative) = pathdiff::diff_paths(&file, &folder) else { return String::new() };
    let relative_to_disk = relative.is_relative();
    let part = |part: Component| match part {
        Component::Normal(name) => Some(percent_encode(name.as_encoded_bytes(), PLAIN).to_string()),
        Component::ParentDir => Some("..".into()),
        // A drive of Windows.
        Component::Prefix(prefix) => Some(prefix.as_os_str().to_string_lossy().into_owned()),
        Component::RootDir | Component::CurDir => None,
    };
    let parts: Vec<String> = relative.components().filter_map(part).collect();
    let start = if relative_to_disk { "" } else { "file:///" };
    format!("{start}{}", parts.join("/"))
}

/// A clip as a WAV file of 16 bits, as the model gets it: at its sample rate, the beginning where it is long.
fn wav_of(clip: &Clip, rate: u32) -> Vec<u8> {
    let length = clip.len().min((LONGEST_EMBEDDED * f64::from(rate)) as usize);
    let channels: Vec<&[f32]> = clip.samples.each().map(|channel| &channel[..length]).collect();
    // A clip has one or two channels and half a minute, which WAV has room for.
    wav::encode(&channels, rate).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn clip(samples: Vec<f32>) -> Clip {
        Clip {
            id: "<a>.wav".into(),
            path: "a.wav".into(),
            samples: vec![samples].into(),
            stretch: None,
            label: 0,
            person: None,
            columns: BTreeMap::new(),
        }
    }

    #[test]
    fn addresses_are_relative_and_have_no_sign_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (run, songs) = (folder.path().join("runs/one"), folder.path().join("my songs/100% \"<é>\""));
        std::fs::create_dir_all(&run).unwrap();
        std::fs::create_dir_all(&songs).unwrap();
        std::fs::write(songs.join("a#1?.wav"), b"x").unwrap();
        let found = address(&run, &songs.join("a#1?.wav"));
        assert_eq!(found, "../../my%20songs/100%25%20%22%3C%C3%A9%3E%22/a%231%3F.wav");
        assert_eq!(address(&songs, &songs.join("a#1?.wav")), "a%231%3F.wav");
    }

    #[test]
    fn a_sung_note_is_drawn_at_its_height_in_the_picture() {
        let wave = |i: usize| {
            (1..5).map(|h| (i as f32 * 0.05 * h as f32 * std::f32::consts::TAU).sin() / h as f32 / 4.0).sum()
        };
        // A4 at 8 800 Hz.
        let svg = picture(&clip((0..8800).map(wave).collect()), 8800);
        assert!(svg.contains(">C4</text>") || svg.contains(">G4</text>"), "{svg}");
        assert!(svg.contains("data:image/png;base64,iVBOR") && svg.contains("&lt;a&gt;") && !svg.contains("<a>"));
        let path = svg.rsplit_once("class=\"pitch\" d=\"M").unwrap().1;
        let number = path.split([' ', 'L', '"']).nth(1).unwrap().parse::<f64>().unwrap();
        let axis = Axis::around(69.0, 69.0);
        let expected = TOP + (1.0 - axis.height(440.0)) * (HEIGHT - TOP - BOTTOM);
        assert!((number - expected).abs() < 2.0, "{number}, not {expected}");
        // Silence, and next to nothing, are drawn too.
        assert!(!picture(&clip(vec![0.0; 4000]), 8000).contains("NaN"));
        assert!(!picture(&clip(vec![0.5]), 8000).contains("NaN"));
    }

    #[test]
    fn an_embedded_clip_is_a_sound_file_of_its_beginning() {
        let bytes = wav_of(&clip(vec![0.5; 8000 * 40]), 8000);
        let reader = hound::WavReader::new(&bytes[..]).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.duration()), (8000, 8000 * 30));
        assert!(reader.into_samples::<i16>().all(|sample| sample.unwrap() == 16_384));
    }
}
