//! Scores in MusicXML, plain or compressed (`.mxl`): <https://www.w3.org/2021/06/musicxml40/>.

use super::midi_in::{Part, Source};
use super::notes::SungNote;
use super::song::usual_tempo;
use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};
use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

/// A score: what it is called, and its parts, a voice of one instrument or singer each.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The work's title, or the movement's; empty where there is none.
    pub title: String,
    /// All voices that have notes, repeats sung out.
    pub parts: Vec<Part>,
}

/// The most bytes of a score: real ones are shorter, and a malicious one could fill the memory.
const LARGEST: u64 = 256 << 20;

/// Reads a file. Repeats and their endings are sung out; da capo and the like are not. Grace notes and cues are left out, transposing
/// instruments sound as they sound.
///
/// # Errors
/// Why it cannot be read, worded to follow "name: ".
pub fn read(bytes: &[u8]) -> Result<Score, String> {
    if bytes.starts_with(b"PK") {
        return from_text(&text(&unpacked(bytes)?));
    }
    from_text(&text(bytes))
}

/// The score within an archive: the one that its table of contents names.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let contents = file(bytes, "META-INF/container.xml")?;
    let contents = text(&contents);
    let document = parsed(&contents).map_err(|e| format!("its table of contents {e}"))?;
    let root = document.descendants().find(|node| node.has_tag_name("rootfile"));
    let path = root.and_then(|node| node.attribute("full-path")).ok_or("its table of contents names no score")?;
    file(bytes, path)
}

/// A file of an archive.
fn file(bytes: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("`{name}` in it cannot be unpacked: {e}");
    let archive = ZipArchive::from_slice(bytes).map_err(|e| failed(&e))?;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(|e| failed(&e))? {
        if entry.file_path().as_ref() != name.as_bytes() {
            continue;
        }
        let inside = archive.get_entry(entry.wayfinder()).map_err(|e| failed(&e))?;
        let unpacker: Box<dyn Read> = match entry.compression_method() {
            CompressionMethod::STORE => Box::new(inside.data()),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(inside.data())),
            _ => return Err(failed(&"of the ways to pack, it takes none that scores may use")),
        };
        let mut content = Vec::new();
        let read = inside.verifying_reader(unpacker).take(LARGEST + 1).read_to_end(&mut content);
        read.map_err(|e| failed(&e))?;
        return match content.len() as u64 > LARGEST {
            true => Err(format!("`{name}` in it has more than {} MiB", LARGEST >> 20)),
            false => Ok(content),
        };
    }
    Err(format!("has no `{name}` in it"))
}

/// Bytes as text: UTF-8, or UTF-16 where they begin as it does, else Latin 1.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => {
            let latin = || Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect());
            std::str::from_utf8(bytes).map_or_else(|_| latin(), Cow::Borrowed)
        }
    }
}

fn parsed(text: &str) -> Result<Document<'_>, String> {
    // Scores name the format's own DTD, which is not fetched.
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|e| format!("is no XML: {e}"))
}

/// A note, times in quarters from the beginning of its measure.
struct Note {
    part: usize,
    voice: u8,
    start: f64,
    length: f64,
    midi: f64,
    /// The note goes on in the next one of its pitch; it goes on from the one before.
    ties: bool,
    tied: bool,
}

/// A measure of all parts.
#[derive(Default)]
struct Measure {
    length: f64,
    notes: Vec<Note>,
    /// Quarters a minute, and from where on.
    tempos: Vec<(f64, f64)>,
    begins_repeat: bool,
    /// How often the part that ends here is sung.
    ends_repeat: Option<u32>,
    /// In which times it is sung; in all where there are none.
    endings: Vec<u32>,
}

fn from_text(text: &str) -> Result<Score, String> {
    let document = parsed(text)?;
    let root = document.root_element();
    let timewise = match root.tag_name().name() {
        "score-partwise" => false,
        "score-timewise" => true,
        other => return Err(format!("is no MusicXML score: it holds a `{other}`")),
    };
    let names: Vec<(&str, Option<String>)> = root
        .descendants()
        .filter(|node| node.has_tag_name("score-part"))
        .map(|node| (node.attribute("id").unwrap_or(""), child_text(node, "part-name").map(String::from)))
        .collect();
    let mut measures: Vec<Measure> = Vec::new();
    let mut readers: Vec<Reader> = names.iter().enumerate().map(|(part, _)| Reader::new(part)).collect();
    let (outer, inner) = if timewise { ("measure", "part") } else { ("part", "measure") };
    for (i, outer) in root.children().filter(|node| node.has_tag_name(outer)).enumerate() {
        for (j, node) in outer.children().filter(|node| node.has_tag_name(inner)).enumerate() {
            let (part, measure) = if timewise { (node, i) } else { (outer, j) };
            let id = part.attribute("id").unwrap_or("");
            let number = names.iter().position(|name| name.0 == id);
            let number = number.ok_or_else(|| format!("has a part `{id}` that its list of parts lacks"))?;
            measures.resize_with(measures.len().max(measure + 1), Measure::default);
            readers[number].measure(node, &mut measures[measure])?;
        }
    }
    let title = ["work-title", "movement-title"].into_iter().find_map(|name| {
        let node = root.descendants().find(|node| node.has_tag_name(name))?;
        Some(node.text()?.trim().to_owned()).filter(|title| !title.is_empty())
    });
    let sings: Vec<bool> = readers.iter().map(|reader| reader.lyrics).collect();
    let parts = sung(&measures, &names, &sings);
    if parts.is_empty() { Err("holds no notes".into()) } else { Ok(Score { title: title.unwrap_or_default(), parts }) }
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn child_text<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The number in a child; an error where there is something else.
fn number(node: Node<'_, '_>, name: &str) -> Result<Option<f64>, String> {
    let Some(text) = child_text(node, name) else { return Ok(None) };
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    value.map(Some).ok_or_else(|| format!("has a `{name}` of `{text}`, which is no number"))
}

/// Reads one part, a measure after the other.
struct Reader {
    part: usize,
    divisions: f64,
    /// Semitones from what is written to what sounds.
    transpose: f64,
    lyrics: bool,
    /// The numbers of the ending that goes on in the next measure.
    ending: Vec<u32>,
}

impl Reader {
    fn new(part: usize) -> Self {
        Self { part, divisions: 1.0, transpose: 0.0, lyrics: false, ending: Vec::new() }
    }

    fn measure(&mut self, node: Node<'_, '_>, measure: &mut Measure) -> Result<(), String> {
        let (mut now, mut last_start) = (0.0_f64, 0.0);
        if !self.ending.is_empty() {
            measure.endings.clone_from(&self.ending);
        }
        for item in node.children().filter(Node::is_element) {
            match item.tag_name().name() {
                "attributes" => self.attributes(item)?,
                "backup" => now = (now - self.duration(item)?).max(0.0),
                "forward" => now += self.duration(item)?,
                "direction" => {
                    if let Some(tempo) = tempo(item) {
                        measure.tempos.push((now, tempo));
                    }
                }
                "sound" => {
                    if let Some(tempo) = sound_tempo(item) {
                        measure.tempos.push((now, tempo));
                    }
                }
                "barline" => self.barline(item, measure),
                "note" if child(item, "grace").is_none() && child(item, "cue").is_none() => {
                    let length = self.duration(item)?;
                    let start = if child(item, "chord").is_some() { last_start } else { now };
                    if let Some(midi) = self.pitch(item)? {
                        let tie = |kind: &str| {
                            item.children().any(|c| c.has_tag_name("tie") && c.attribute("type") == Some(kind))
                        };
                        let voice = child_text(item, "voice").and_then(|voice| voice.parse().ok()).unwrap_or(1);
                        let (ties, tied) = (tie("start"), tie("stop"));
                        measure.notes.push(Note { part: self.part, voice, start, length, midi, ties, tied });
                        self.lyrics |= child(item, "lyric").is_some();
                    }
                    (last_start, now) = (start, start + length);
                }
                _ => {}
            }
            measure.length = measure.length.max(now);
        }
        Ok(())
    }

    fn attributes(&mut self, node: Node<'_, '_>) -> Result<(), String> {
        if let Some(divisions) = number(node, "divisions")? {
            if divisions <= 0.0 {
                return Err(format!("has {divisions} divisions of a quarter"));
            }
            self.divisions = divisions;
        }
        if let Some(transpose) = child(node, "transpose") {
            let octaves = number(transpose, "octave-change")?.unwrap_or(0.0);
            self.transpose = number(transpose, "chromatic")?.unwrap_or(0.0) + 12.0 * octaves;
        }
        Ok(())
    }

    /// Quarters.
    fn duration(&self, node: Node<'_, '_>) -> Result<f64, String> {
        Ok(number(node, "duration")?.unwrap_or(0.0).max(0.0) / self.divisions)
    }

    /// A MIDI note number; nothing for rests and drums.
    fn pitch(&self, note: Node<'_, '_>) -> Result<Option<f64>, String> {
        let Some(pitch) = child(note, "pitch") else { return Ok(None) };
        let step = child_text(pitch, "step").unwrap_or("");
        let semitone = [("C", 0.0), ("D", 2.0), ("E", 4.0), ("F", 5.0), ("G", 7.0), ("A", 9.0), ("B", 11.0)];
        let semitone = semitone.iter().find(|s| s.0 == step).ok_or_else(|| format!("has a note `{step}`"))?.1;
        let octave = number(pitch, "octave")?.ok_or("has a note without an octave")?;
        Ok(Some(12.0 * (octave + 1.0) + semitone + number(pitch, "alter")?.unwrap_or(0.0) + self.transpose))
    }

    fn barline(&mut self, node: Node<'_, '_>, measure: &mut Measure) {
        if let Some(ending) = child(node, "ending") {
            let numbers = ending.attribute("number").unwrap_or("");
            let numbers: Vec<u32> = numbers.split([',', ' ']).filter_map(|number| number.parse().ok()).collect();
            // Some write only where an ending stops.
            measure.endings = numbers;
            match ending.attribute("type") {
                Some("start") => self.ending.clone_from(&measure.endings),
                _ => self.ending.clear(),
            }
        }
        match child(node, "repeat").map(|repeat| (repeat.attribute("direction"), repeat.attribute("times"))) {
            Some((Some("forward"), _)) => measure.begins_repeat = true,
            Some((Some("backward"), times)) => {
                let times = times.and_then(|times| times.parse().ok()).unwrap_or(2);
                measure.ends_repeat = Some(times.clamp(1, 8));
            }
            _ => {}
        }
    }
}

/// Quarters a minute that a direction asks for: by how it is to sound, else by its metronome mark.
fn tempo(direction: Node<'_, '_>) -> Option<f64> {
    let sound = direction.descendants().find(|node| node.has_tag_name("sound"));
    sound.and_then(sound_tempo).or_else(|| {
        let mark = direction.descendants().find(|node| node.has_tag_name("metronome"))?;
        let unit = match child_text(mark, "beat-unit")? {
            "whole" => 4.0,
            "half" => 2.0,
            "quarter" => 1.0,
            "eighth" => 0.5,
            "16th" => 0.25,
            _ => return None,
        };
        let dotted = if child(mark, "beat-unit-dot").is_some() { 1.5 } else { 1.0 };
        usable(child_text(mark, "per-minute")?.parse::<f64>().ok()? * unit * dotted)
    })
}

fn sound_tempo(sound: Node<'_, '_>) -> Option<f64> {
    usable(sound.attribute("tempo")?.parse().ok()?)
}

fn usable(tempo: f64) -> Option<f64> {
    (5.0..=1000.0).contains(&tempo).then_some(tempo)
}

/// The order in which measures are sung.
fn unfolded(measures: &[Measure]) -> Vec<usize> {
    let (mut order, mut at, mut begin, mut time) = (Vec::new(), 0, 0, 1);
    // A bound for repeats that never end.
    while at < measures.len() && order.len() < 8 * measures.len() + 16 {
        let measure = &measures[at];
        let after_endings = measure.endings.is_empty() && at > 0 && !measures[at - 1].endings.is_empty();
        if at != begin && (measure.begins_repeat || after_endings) {
            (begin, time) = (at, 1);
        }
        if !measure.endings.is_empty() && !measure.endings.contains(&time) {
            at += 1;
            continue;
        }
        order.push(at);
        let endings = || measures[at..].iter().take_while(|m| !m.endings.is_empty()).flat_map(|m| &m.endings);
        match measure.ends_repeat {
            Some(times) if time < times || endings().any(|&ending| ending == time + 1) => {
                (at, time) = (begin, time + 1);
            }
            // The other endings are still to come.
            Some(_) if measure.endings.is_empty() => (at, begin, time) = (at + 1, at + 1, 1),
            _ => at += 1,
        }
    }
    order
}

/// A voice as it is sung.
struct Voice {
    /// Quarters a minute at its first note.
    tempo: f64,
    /// Its notes, and whether each goes on in the next.
    notes: Vec<(SungNote, bool)>,
}

/// The parts with their notes in seconds.
fn sung(measures: &[Measure], names: &[(&str, Option<String>)], sings: &[bool]) -> Vec<Part> {
    let all = || measures.iter().flat_map(|measure| &measure.notes);
    let count = all().count();
    let mean = all().map(|note| note.length / 4.0).sum::<f64>() / count.max(1) as f64;
    // Where nothing tells: as fast as melodies usually are.
    let mut tempo = measures.iter().flat_map(|m| &m.tempos).next().map_or(usual_tempo(mean), |first| first.1);
    let mut found: BTreeMap<(usize, u8), Voice> = BTreeMap::new();
    let mut now = 0.0;
    for at in unfolded(measures) {
        let measure = &measures[at];
        let mut tempos = measure.tempos.clone();
        tempos.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Seconds from the beginning of the measure.
        let seconds = |quarters: f64| {
            let (mut sum, mut from, mut pace) = (0.0, 0.0, tempo);
            for &(place, next) in tempos.iter().filter(|t| t.0 < quarters) {
                sum += (place - from) * 60.0 / pace;
                (from, pace) = (place, next);
            }
            sum + (quarters - from) * 60.0 / pace
        };
        let mut notes: Vec<&Note> = measure.notes.iter().collect();
        notes.sort_by(|a, b| a.start.total_cmp(&b.start));
        for note in notes {
            let (start, end) = (now + seconds(note.start), now + seconds(note.start + note.length));
            let voice = found.entry((note.part, note.voice));
            let sung = &mut voice.or_insert_with(|| Voice { tempo, notes: Vec::new() }).notes;
            let before = |held: &&mut (SungNote, bool)| {
                note.tied && held.1 && held.0.midi == note.midi && (held.0.end - start).abs() < 1e-3
            };
            match sung.iter_mut().rev().take(16).find(before) {
                Some(held) => (held.0.end, held.1) = (end, note.ties),
                None => sung.push((SungNote { start, end, midi: note.midi }, note.ties)),
            }
        }
        now += seconds(measure.length);
        tempo = tempos.last().map_or(tempo, |last| last.1);
    }
    let part = |((part, voice), sung): ((usize, u8), Voice)| Part {
        source: Source::Score,
        track: part + 1,
        channel: voice,
        name: names[part].1.clone(),
        lyrics: sings[part],
        notes: sung.notes.into_iter().map(|(note, _)| note).collect(),
        tempo: sung.tempo,
    };
    found.into_iter().map(part).collect()
}
