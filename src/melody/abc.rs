//! Tunes in ABC notation: <https://abcnotation.com/wiki/abc:standard:v2.1>.

use super::notes::SungNote;
use super::song::usual_tempo;
use fields::{LETTERS, closing, decoration, fraction, key, length, meter, tempo};
use std::collections::HashMap;

mod fields;

/// A tune as it stands in an ABC file.
#[derive(Clone, Debug, PartialEq)]
pub struct AbcTune {
    /// The field `X:`, with which each tune of a file begins.
    pub number: String,
    /// The first field `T:`; empty where there is none.
    pub title: String,
    /// Beats (of `Q:`) a minute. Where there is none: quarters, at a tempo at which the usual note lasts from 0.3 to 0.6 seconds,
    /// since nothing tells whether a book writes slow songs in halves or in eighths.
    pub tempo: f64,
    /// Notes of the first voice in seconds, repeats sung out.
    pub notes: Vec<SungNote>,
    /// Where lines begin, in seconds: phrases, as a rule.
    pub lines: Vec<f64>,
}

/// Reads every tune of a file. A tune that cannot be read is an error of its own, with its number.
pub fn read_abc(text: &str) -> Vec<Result<AbcTune, (String, String)>> {
    let mut tunes: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(number) = line.strip_prefix("X:") {
            tunes.push((number.split('%').next().unwrap_or("").trim().to_owned(), Vec::new()));
        } else if let Some((_, lines)) = tunes.last_mut() {
            lines.push(line);
        }
    }
    let read = |(number, lines): (String, Vec<&str>)| {
        let mut reader = Reader::default();
        for (i, line) in lines.iter().enumerate() {
            reader.line(line).map_err(|e| (number.clone(), format!("line {} of the tune: {e}", i + 2)))?;
        }
        Ok(reader.finish(number))
    };
    tunes.into_iter().map(read).collect()
}

/// A note, or a rest, on its way: lengths in whole notes.
#[derive(Clone, Copy, Debug)]
struct Event {
    midi: Option<i32>,
    length: f64,
    /// Joined to the next one of the same pitch.
    tied: bool,
    begins_line: bool,
}

/// What the repeats do at a bar line.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    /// `|:`, and where a part begins.
    Begin,
    /// `:|`.
    Back,
    /// `[1`, `|2`: which times the part that begins here is sung.
    Ending(Vec<u32>),
    /// `||`, `|]`: an ending reaches no further.
    Part,
}

#[derive(Debug)]
struct Reader {
    title: Option<String>,
    /// Of a note without a length, in whole notes.
    unit: Option<f64>,
    meter: Option<(f64, f64)>,
    /// Length of a beat, and beats a minute.
    tempo: Option<(f64, f64)>,
    body: bool,
    /// Semitones that the key signature adds to C D E F G A B.
    key: [i32; 7],
    /// Accidentals of this bar, by letter and octave.
    bar: HashMap<(usize, i32), i32>,
    voice: Option<String>,
    /// Lines of another voice are passed over.
    other_voice: bool,
    events: Vec<Event>,
    marks: Vec<(usize, Mark)>,
    /// What `>` and `<` have still to do to the next note.
    next_times: f64,
    /// Notes that a tuplet still has, and by how much they are shorter.
    tuplet: (u32, f64),
    line_begins: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            title: None,
            unit: None,
            meter: None,
            tempo: None,
            body: false,
            key: [0; 7],
            bar: HashMap::new(),
            voice: None,
            other_voice: false,
            events: Vec::new(),
            marks: Vec::new(),
            next_times: 1.0,
            tuplet: (0, 1.0),
            line_begins: true,
        }
    }
}

const SEMITONES: [i32; 7] = [0, 2, 4, 5, 7, 9, 11];

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        // A `%` within quotation marks is rare; the text of chord symbols does not matter here.
        let line = line.split('%').next().unwrap_or("");
        let mut chars = line.chars();
        if let (Some(field), Some(':')) = (chars.next(), chars.next())
            && (field.is_ascii_alphabetic() || field == '+')
            && !(self.body && matches!(field, 'A'..='G' | 'a'..='g' | 'z' | 'x'))
        {
            return self.field(field, line[2..].trim());
        }
        if !self.body || self.other_voice || line.trim().is_empty() {
            return Ok(());
        }
        self.line_begins = true;
        self.music(line)
    }

    fn field(&mut self, field: char, value: &str) -> Result<(), String> {
        match field {
            'T' if self.title.is_none() => self.title = Some(value.to_owned()),
            'L' => self.unit = Some(fraction(value).ok_or_else(|| format!("`L:{value}` is no length"))?),
            'M' => self.meter = meter(value),
            'Q' => self.tempo = tempo(value).or(self.tempo),
            'K' => {
                self.key = key(value).ok_or_else(|| format!("`K:{value}` is no key"))?;
                self.body = true;
            }
            'V' => {
                let name = value.split_whitespace().next().unwrap_or("").to_owned();
                // Before the key, voices are only described.
                if self.body || self.voice.is_none() {
                    self.other_voice = self.body && *self.voice.get_or_insert(name.clone()) != name;
                    self.voice.get_or_insert(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn music(&mut self, line: &str) -> Result<(), String> {
        let c: Vec<char> = line.chars().collect();
        let mut i = 0;
        while i < c.len() {
            match c[i] {
                '"' => i = closing(&c, i + 1, '"').ok_or("`\"` is not closed")? + 1,
                '!' | '+' => i = decoration(&c, i).unwrap_or(i) + 1,
                '{' => i = closing(&c, i + 1, '}').ok_or("`{` is not closed")? + 1,
                '[' if i + 2 < c.len() && c[i + 2] == ':' && c[i + 1].is_ascii_alphabetic() => {
                    let end = closing(&c, i, ']').ok_or("`[` is not closed")?;
                    let value: String = c[i + 3..end].iter().collect();
                    self.field(c[i + 1], value.trim())?;
                    if self.other_voice {
                        return Ok(());
                    }
                    i = end + 1;
                }
                '|' | ':' => i = self.bar_line(&c, i),
                '[' if c.get(i + 1).is_some_and(|c| *c == '|' || c.is_ascii_digit()) => i = self.bar_line(&c, i),
                '[' => i = self.chord(&c, i + 1)?,
                '(' if c.get(i + 1).is_some_and(char::is_ascii_digit) => i = self.begin_tuplet(&c, i + 1),
                '>' | '<' => {
                    let run = c[i..].iter().take_while(|&&x| x == c[i]).count();
                    let short = 0.5_f64.powi(run as i32);
                    let (before, after) = if c[i] == '>' { (2.0 - short, short) } else { (short, 2.0 - short) };
                    if let Some(last) = self.events.last_mut() {
                        last.length *= before;
                        self.next_times = after;
                    }
                    i += run;
                }
                '-' => {
                    if let Some(last) = self.events.last_mut() {
                        last.tied = true;
                    }
                    i += 1;
                }
                'Z' | 'X' => {
                    let (bars, end) = length(&c, i + 1);
                    let bar = self.meter.map_or(1.0, |(beats, beat)| beats / beat);
                    self.push(None, bars * bar);
                    i = end;
                }
                'z' | 'x' => {
                    let (times, end) = length(&c, i + 1);
                    self.push(None, times * self.unit_length());
                    i = end;
                }
                '^' | '_' | '=' | 'A'..='G' | 'a'..='g' => {
                    let (midi, after) = self.pitch(&c, i)?;
                    let (times, end) = length(&c, after);
                    self.push(Some(midi), times * self.unit_length());
                    i = end;
                }
                // Slurs, decorations, spacers, line ends that go on: nothing that changes the melody.
                _ => i += 1,
            }
        }
        Ok(())
    }

    fn unit_length(&self) -> f64 {
        // The standard's rule: sixteenths where a bar is shorter than three quarters of a whole note.
        let by_meter = || self.meter.map_or(0.125, |(beats, beat)| if beats / beat < 0.75 { 0.0625 } else { 0.125 });
        self.unit.unwrap_or_else(by_meter)
    }

    fn push(&mut self, midi: Option<i32>, length: f64) {
        let mut length = length * std::mem::replace(&mut self.next_times, 1.0);
        if self.tuplet.0 > 0 {
            self.tuplet.0 -= 1;
            length *= self.tuplet.1;
        }
        let begins_line = midi.is_some() && std::mem::take(&mut self.line_begins);
        self.events.push(Event { midi, length, tied: false, begins_line });
    }

    /// A note's pitch, and where it ends.
    fn pitch(&mut self, c: &[char], mut i: usize) -> Result<(i32, usize), String> {
        let mut accidental = None;
        while let Some(shift) = c.get(i).and_then(|c| [('^', 1), ('_', -1), ('=', 0)].iter().find(|s| s.0 == *c)) {
            accidental = Some(accidental.unwrap_or(0) + shift.1);
            i += 1;
        }
        let letter = c.get(i).copied().unwrap_or(' ');
        let Some(degree) = LETTERS.iter().position(|l| *l == letter.to_ascii_uppercase()) else {
            return Err(format!("an accidental before `{letter}`, which is no note"));
        };
        let mut octave = i32::from(letter.is_ascii_lowercase());
        i += 1;
        while let Some(mark) = c.get(i).filter(|c| **c == '\'' || **c == ',') {
            octave += if *mark == '\'' { 1 } else { -1 };
            i += 1;
        }
        if let Some(shift) = accidental {
            self.bar.insert((degree, octave), shift);
        }
        let shift = self.bar.get(&(degree, octave)).copied().unwrap_or(self.key[degree]);
        Ok((60 + 12 * octave + SEMITONES[degree] + shift, i))
    }

    /// The highest note of a chord.
    fn chord(&mut self, c: &[char], mut i: usize) -> Result<usize, String> {
        let mut top: Option<(i32, f64)> = None;
        while c.get(i).is_some_and(|c| *c != ']') {
            if matches!(c[i], '^' | '_' | '=' | 'A'..='G' | 'a'..='g') {
                let (midi, after) = self.pitch(c, i)?;
                let (times, end) = length(c, after);
                if top.is_none_or(|(highest, _)| midi > highest) {
                    top = Some((midi, times));
                }
                i = end;
            } else {
                i += 1;
            }
        }
        let (times, end) = length(c, i + 1);
        if let Some((midi, inside)) = top {
            self.push(Some(midi), inside * times * self.unit_length());
        }
        Ok(end)
    }

    /// `(p`, `(p:q` or `(p:q:r`: the next r notes, p in the time of q.
    fn begin_tuplet(&mut self, c: &[char], mut i: usize) -> usize {
        let mut numbers = Vec::new();
        loop {
            let digits: String = c[i..].iter().take_while(|c| c.is_ascii_digit()).collect();
            i += digits.len();
            numbers.push(digits.parse::<u32>().ok().filter(|n| (1..=64).contains(n)));
            if numbers.len() == 3 || c.get(i) != Some(&':') {
                break;
            }
            i += 1;
        }
        let p = numbers[0].unwrap_or(3);
        let triple = self.meter.is_some_and(|(beats, _)| beats % 3.0 == 0.0 && beats > 3.0);
        let usual = match p {
            2 | 4 | 8 => 3,
            3 | 6 => 2,
            _ => 2 + u32::from(triple),
        };
        let q = numbers.get(1).copied().flatten().unwrap_or(usual);
        let r = numbers.get(2).copied().flatten().unwrap_or(p);
        self.tuplet = (r, f64::from(q) / f64::from(p));
        i
    }

    /// A bar line with its repeats and endings; returns where it ends.
    fn bar_line(&mut self, c: &[char], start: usize) -> usize {
        let mut i = start;
        while i < c.len() && (matches!(c[i], '|' | ':') || (c[i] == ']' && i > start) || (c[i] == '[' && i == start)) {
            i += 1;
        }
        // `| [1` is written, too; but `| [CE]` begins a chord.
        let spaces = c[i..].iter().take_while(|c| **c == ' ').count();
        let after = i + spaces;
        if c.get(after) == Some(&'[') && c.get(after + 1).is_some_and(char::is_ascii_digit) {
            i = after + 1;
        }
        let text: String = c[start..i].iter().filter(|c| **c != ' ').collect();
        let at = self.events.len();
        self.bar.clear();
        if text.starts_with(':') {
            self.marks.push((at, Mark::Back));
        } else if text.contains("||") || text.contains("|]") {
            self.marks.push((at, Mark::Part));
        }
        if text.ends_with(':') && text.len() > 1 {
            self.marks.push((at, Mark::Begin));
        }
        let times: String = c[i..].iter().take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '-')).collect();
        let list: Vec<u32> = times.split([',', '-']).filter_map(|n| n.parse().ok()).collect();
        if list.is_empty() {
            return i;
        }
        self.marks.push((at, Mark::Ending(list)));
        i + times.chars().count()
    }

    /// Quarters a minute where nothing tells the tempo.
    fn usual_tempo(&self) -> f64 {
        let lengths: Vec<f64> = self.events.iter().filter(|e| e.midi.is_some()).map(|e| e.length).collect();
        usual_tempo(lengths.iter().sum::<f64>() / lengths.len().max(1) as f64)
    }

    fn finish(self, number: String) -> AbcTune {
        let (beat, tempo) = self.tempo.unwrap_or_else(|| (0.25, self.usual_tempo()));
        let seconds = 60.0 / tempo / beat;
        let (mut notes, mut lines) = (Vec::<SungNote>::new(), Vec::new());
        let (mut now, mut tied) = (0.0, false);
        for i in unfolded(self.events.len(), &self.marks) {
            let event = self.events[i];
            let end = now + event.length * seconds;
            if let Some(midi) = event.midi.map(f64::from) {
                match notes.last_mut().filter(|last| tied && last.midi == midi) {
                    Some(last) => last.end = end,
                    None => notes.push(SungNote { start: now, end, midi }),
                }
                if event.begins_line {
                    lines.push(now);
                }
                tied = event.tied;
            }
            now = end;
        }
        AbcTune { number, title: self.title.unwrap_or_default(), tempo, notes, lines }
    }
}

/// The order in which events are sung, with the repeats.
fn unfolded(events: usize, marks: &[(usize, Mark)]) -> Vec<usize> {
    let mut order = Vec::with_capacity(events);
    let (mut begin, mut begin_mark, mut time) = (0, 0, 1);
    let (mut at, mut next) = (0, 0);
    // Each repeat goes back once, but where a file says otherwise; a bound for those that never end.
    while order.len() < 4 * events + 16 {
        let Some((place, mark)) = marks.get(next) else { break };
        order.extend(at..*place);
        at = *place;
        next += 1;
        match mark {
            Mark::Begin => (begin, begin_mark, time) = (at, next, 1),
            Mark::Back if time == 1 => (at, next, time) = (begin, begin_mark, 2),
            Mark::Back => (begin, begin_mark, time) = (at, next, 1),
            Mark::Part => {}
            Mark::Ending(times) if !times.contains(&time) => {
                // To the ending for this time, or past the part.
                let wanted = |(_, m): &(usize, Mark)| matches!(m, Mark::Ending(t) if t.contains(&time));
                let after = marks[next..].iter().position(wanted).map(|k| next + k);
                match after {
                    Some(k) => (at, next) = (marks[k].0, k + 1),
                    None => return order,
                }
            }
            Mark::Ending(_) => {}
        }
    }
    order.extend(at..events);
    order
}
