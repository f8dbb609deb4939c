//! The melody of a MIDI file.

use super::notes::SungNote;
use midly::{MetaMessage, MidiMessage, Smf, Timing, TrackEventKind};
use std::collections::BTreeMap;

/// What a [`Part`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A channel of a track of a MIDI file.
    Midi,
    /// A voice of a part of a score.
    Score,
}

/// The notes that one channel of one track of a MIDI file plays, or one voice of one part of a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which of these it is.
    pub source: Source,
    /// Number of the track, or part, in the file, 1 the first.
    pub track: usize,
    /// The channel, 1 to 16, or the number of the voice.
    pub channel: u8,
    /// The track's name, or the part's, where it has one.
    pub name: Option<String>,
    /// Whether there are words under its notes.
    pub lyrics: bool,
    /// Its notes, in seconds.
    pub notes: Vec<SungNote>,
    /// Beats a minute at its first note.
    pub tempo: f64,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (of, number) = match self.source {
            Source::Midi => ("track", "channel"),
            Source::Score => ("part", "voice"),
        };
        write!(f, "{of} {}, {number} {}", self.track, self.channel)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " \"{name}\""))
    }
}

/// Words in the names of tracks that sing.
const SINGS: &[&str] = &["melod", "vocal", "voice", "lead", "sing", "sang", "voc", "solo", "cant", "theme"];

/// The channel of drums, counted from 0.
const DRUMS: u8 = 9;

/// All parts of a MIDI file that have notes, drums left out.
///
/// # Errors
/// Why it cannot be read, worded to follow "name: ".
pub fn parts(bytes: &[u8]) -> Result<Vec<Part>, String> {
    let smf = Smf::parse(bytes).map_err(|e| format!("is no MIDI file that can be read: {e}"))?;
    let clock = Clock::new(&smf)?;
    let mut parts = Vec::new();
    for (number, track) in smf.tracks.iter().enumerate() {
        let (mut now, mut name) = (0_u64, None);
        let mut sounding: BTreeMap<(u8, u8), u64> = BTreeMap::new();
        let mut notes: BTreeMap<u8, Vec<(u64, u64, u8)>> = BTreeMap::new();
        let mut end = |channel: u8, key: u8, now: u64, sounding: &mut BTreeMap<(u8, u8), u64>| {
            if let Some(start) = sounding.remove(&(channel, key)) {
                notes.entry(channel).or_default().push((start, now, key));
            }
        };
        for event in track {
            now += u64::from(event.delta.as_int());
            match event.kind {
                TrackEventKind::Meta(MetaMessage::TrackName(text)) if name.is_none() => {
                    let text = String::from_utf8_lossy(text).trim().to_owned();
                    name = Some(text).filter(|text| !text.is_empty());
                }
                TrackEventKind::Midi { channel, message } => match message {
                    MidiMessage::NoteOn { key, vel } => {
                        let (channel, key) = (channel.as_int(), key.as_int());
                        end(channel, key, now, &mut sounding);
                        if vel.as_int() > 0 {
                            sounding.insert((channel, key), now);
                        }
                    }
                    MidiMessage::NoteOff { key, .. } => end(channel.as_int(), key.as_int(), now, &mut sounding),
                    _ => {}
                },
                _ => {}
            }
        }
        // Notes that a damaged file never ends.
        for (channel, key) in sounding.keys().copied().collect::<Vec<_>>() {
            end(channel, key, now, &mut sounding);
        }
        for (channel, notes) in notes.into_iter().filter(|(channel, _)| *channel != DRUMS) {
            let first = notes.iter().map(|n| n.0).min().unwrap_or(0);
            let sung = |&(start, end, key): &(u64, u64, u8)| SungNote {
                start: clock.seconds(start),
                end: clock.seconds(end),
                midi: f64::from(key),
            };
            let tempo = clock.tempo(first);
            let notes = notes.iter().map(sung).collect();
            let (source, track, channel) = (Source::Midi, number + 1, channel + 1);
            parts.push(Part { source, track, channel, name: name.clone(), lyrics: false, notes, tempo });
        }
    }
    match parts.is_empty() {
        true => Err("holds no notes".into()),
        false => Ok(parts),
    }
}

/// The part that sings: by its name or its words where they say so, else the one that plays one note at a time, over most of the file, and high.
pub fn melody(parts: &[Part]) -> Option<&Part> {
    let longest = parts.iter().map(|p| p.notes.len()).max().unwrap_or(1) as f64;
    let rank = |part: &Part| {
        let mut notes = part.notes.clone();
        notes.sort_by(|a, b| a.start.total_cmp(&b.start));
        let alone = |w: &&[SungNote]| w[1].start >= w[0].end - 0.25 * (w[0].end - w[0].start);
        let single = notes.windows(2).filter(alone).count() as f64 / (notes.len().max(2) - 1) as f64;
        let high = notes.iter().map(|n| n.midi).sum::<f64>() / notes.len() as f64;
        let named = part.name.as_ref().is_some_and(|name| {
            let name = name.to_lowercase();
            SINGS.iter().any(|word| name.contains(word))
        });
        f64::from(u8::from(named || part.lyrics)) * 2.0
            + single
            + 0.5 * (notes.len() as f64 / longest).min(1.0)
            + high / 127.0
    };
    // Of parts that rank alike the first.
    parts.iter().rev().max_by(|a, b| rank(a).total_cmp(&rank(b)))
}

/// The part that the user names: by the track's number, or by a part of its name in upper or lower case.
pub fn named<'a>(parts: &'a [Part], wanted: &str) -> Option<&'a Part> {
    let number = wanted.parse::<usize>().ok();
    let wanted = wanted.to_lowercase();
    let fits = |part: &&Part| match number {
        Some(number) => part.track == number,
        None => part.name.as_ref().is_some_and(|name| name.to_lowercase().contains(&wanted)),
    };
    let fitting: Vec<Part> = parts.iter().filter(fits).cloned().collect();
    let best = melody(&fitting)?;
    parts.iter().find(|part| *part == best)
}

/// From ticks to seconds.
struct Clock {
    /// Tick, seconds up to it, seconds a tick from there.
    steps: Vec<(u64, f64, f64)>,
    ticks_per_beat: Option<f64>,
}

impl Clock {
    fn new(smf: &Smf<'_>) -> Result<Self, String> {
        let per_beat = match smf.header.timing {
            Timing::Metrical(ticks) if ticks.as_int() > 0 => f64::from(ticks.as_int()),
            Timing::Timecode(frames, ticks) if ticks > 0 => {
                let seconds = 1.0 / f64::from(frames.as_f32()) / f64::from(ticks);
                return Ok(Self { steps: vec![(0, 0.0, seconds)], ticks_per_beat: None });
            }
            _ => return Err("has a clock without ticks".into()),
        };
        let mut tempos: BTreeMap<u64, f64> = BTreeMap::from([(0, 500_000.0)]);
        for track in &smf.tracks {
            let mut now = 0;
            for event in track {
                now += u64::from(event.delta.as_int());
                if let TrackEventKind::Meta(MetaMessage::Tempo(micros)) = event.kind
                    && micros.as_int() > 0
                {
                    tempos.insert(now, f64::from(micros.as_int()));
                }
            }
        }
        let mut steps: Vec<(u64, f64, f64)> = Vec::new();
        for (tick, micros) in tempos {
            let at = steps.last().map_or(0.0, |&(from, at, pace)| at + (tick - from) as f64 * pace);
            steps.push((tick, at, micros / 1e6 / per_beat));
        }
        Ok(Self { steps, ticks_per_beat: Some(per_beat) })
    }

    fn step(&self, tick: u64) -> (u64, f64, f64) {
        let after = self.steps.partition_point(|step| step.0 <= tick);
        self.steps[after.max(1) - 1]
    }

    fn seconds(&self, tick: u64) -> f64 {
        let (from, at, pace) = self.step(tick);
        at + (tick - from) as f64 * pace
    }

    /// Beats a minute.
    fn tempo(&self, tick: u64) -> f64 {
        self.ticks_per_beat.map_or(120.0, |per_beat| 60.0 / (self.step(tick).2 * per_beat))
    }
}
