//! Imaginary singers, and how one of them performs a tune: which notes, when, at what pitch and how loud.

use super::dsp::{Dice, cos_turns, exp2, sin_turns};
use super::tunes::{Note, Tune};
use super::voice::HUM;

/// How a tune is made audible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Style {
    /// With the voice: hummed, or sung to syllables.
    Hum,
    /// With the lips.
    Whistle,
}

impl Style {
    /// The word in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hum => "hum",
            Self::Whistle => "whistle",
        }
    }
}

/// What does not change from song to song: the body, the ear and the habits of one person. Pitches are in semitones, times in seconds,
/// levels in decibels.
#[derive(Clone, Debug)]
pub struct Singer {
    /// The number in file names.
    pub person: usize,
    /// The MIDI note at the middle of the voice.
    pub voice_centre: f64,
    /// The MIDI note at the middle of the whistle.
    pub whistle_centre: f64,
    /// Formant frequencies relative to an average adult's.
    pub tract: f64,
    /// How fast the harmonics of the voice fall: amplitude of the n-th is `n^-tilt`.
    pub tilt: f64,
    /// Breath in the voice, as a factor on amplitude.
    pub breathiness: f64,
    /// Octaves by which this person is faster than the usual tempo.
    pub tempo: f64,
    /// Standard deviation of a note's pitch.
    pub inaccuracy: f64,
    /// Standard deviation of the pitch's random walk, per note.
    pub drift: f64,
    /// Intervals are sung this much too wide (above 1) or too narrow.
    pub interval_scale: f64,
    /// Probability that a note is a wrong one.
    pub wrong_notes: f64,
    /// Probability that the next phrase is in another key.
    pub key_changes: f64,
    /// Standard deviation of a note's length, in octaves.
    pub rubato: f64,
    /// Time that the pitch takes from note to note.
    pub glide: f64,
    /// How far below its pitch a note begins after a breath.
    pub scoop: f64,
    /// Standard deviation of the pitch with which any note is begun and left.
    pub bend: f64,
    /// Vibrato: depth.
    pub vibrato_depth: f64,
    /// Vibrato: rate in Hz.
    pub vibrato_rate: f64,
    /// Slow unsteadiness of the pitch.
    pub wander: f64,
    /// The part of a note that sounds, 1 being legato.
    pub legato: f64,
    /// Probability of breathing after a phrase.
    pub breathes: f64,
    /// The part of a breath's time that is added to the tune, not taken from the note.
    pub waits: f64,
    /// How often this person hums with closed lips, sings one syllable, or sings words: weights.
    pub texts: [f64; 3],
    /// The cost of the whistle in air: level of its noise against its tone.
    pub whistle_noise_db: f64,
    /// Records in stereo.
    pub stereo: bool,
    /// Probability that a note is left out, and its time given to the one before.
    pub skips: f64,
    /// Probability that a note is held or waited after, as by somebody who thinks of what comes next.
    pub pauses: f64,
    /// Probability that the key jumps between two notes, as of somebody who loses it.
    pub jumps: f64,
    /// Sings over a telephone: see [`room::phone`](super::room::phone()).
    pub phone: bool,
    /// How loud breath is heard before phrases, against the voice.
    pub gasps: f64,
}

impl Singer {
    /// Person number `person` of the data set made from `seed`.
    pub fn new(seed: u64, person: usize) -> Self {
        let mut d = Dice::new(1, [seed, person as u64, 0]);
        let low_voice = d.chance(0.55);
        // How good a singer: from 0, hardly to be recognised, to 1.
        let skill = d.unit().sqrt();
        let lack = 1.0 - skill;
        Self {
            person,
            voice_centre: if low_voice { d.normal(49.5, 2.6) } else { d.normal(59.5, 2.8) },
            whistle_centre: d.normal(83.5, 2.6),
            tract: if low_voice { d.normal(1.0, 0.06) } else { d.normal(1.16, 0.06) },
            tilt: d.range(0.7, 1.7),
            breathiness: 0.002 + 0.05 * d.unit() * d.unit(),
            tempo: d.normal(0.0, 0.2),
            inaccuracy: 0.1 + 0.5 * lack * d.unit(),
            drift: 0.03 + 0.1 * lack * d.unit(),
            interval_scale: 1.0 + d.normal(-0.08 * lack, 0.03 + 0.07 * lack),
            wrong_notes: 0.06 * lack * d.unit(),
            key_changes: 0.15 * lack * d.unit(),
            rubato: d.range(0.05, 0.12 + 0.15 * lack),
            glide: d.range(0.02, 0.12),
            scoop: d.range(0.0, 2.5) * d.unit(),
            bend: d.range(0.1, 1.0),
            vibrato_depth: if d.chance(0.4) { d.range(0.1, 0.6) } else { d.range(0.0, 0.1) },
            vibrato_rate: d.range(4.5, 6.8),
            wander: d.range(0.03, 0.2),
            legato: d.range(0.65, 1.0),
            breathes: d.range(0.3, 1.0),
            waits: if d.chance(0.5) { 0.0 } else { d.unit() },
            texts: [d.unit(), d.unit(), 2.5 * d.unit()],
            whistle_noise_db: d.range(-38.0, -14.0),
            stereo: d.chance(0.4),
            // See `roaming`.
            skips: 0.0,
            pauses: 0.0,
            jumps: 0.0,
            phone: false,
            gasps: 0.0,
        }
    }
}

impl Singer {
    /// Person number `person` among singers who differ more than those of a data set do: in tempo, in height of voice, in how well they
    /// keep a key and a tune. What has learned from them has to find the tune in other people's singing, too.
    pub fn roaming(seed: u64, person: usize) -> Self {
        let mut d = Dice::new(5, [seed, person as u64, 0]);
        let mut singer = Self::new(seed, person);
        singer.tempo = d.range(-0.6, 0.6);
        if d.chance(0.15) {
            // A child, or somebody who sings as high.
            singer.voice_centre = d.normal(66.0, 2.5);
            singer.tract = d.normal(1.3, 0.06);
        }
        singer.wrong_notes = 0.12 * d.unit() * d.unit();
        singer.drift = 0.03 + 0.2 * d.unit() * d.unit();
        singer.inaccuracy *= d.range(0.8, 1.4);
        singer.key_changes = 0.25 * d.unit() * d.unit();
        singer.rubato *= d.range(0.8, 1.4);
        // Half of them are sure of the tune.
        let unsure = if d.chance(0.5) { d.unit() } else { 0.0 };
        singer.skips = 0.05 * unsure * d.unit();
        singer.pauses = 0.08 * unsure * d.unit();
        singer.jumps = 0.05 * unsure * d.unit();
        singer.phone = d.chance(0.25);
        singer.gasps = if d.chance(0.4) { d.range(0.02, 0.3) } else { 0.0 };
        singer
    }
}

/// How a syllable begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onset {
    /// With the voice alone: the note is tied to what came before.
    Open,
    /// l, r, w, y: the voice goes on, darker.
    Glide,
    /// m, n: through the nose.
    Nasal,
    /// b, d, g: a short stop, voiced.
    Stop,
    /// t, k, p: a longer stop, then a puff.
    Plosive,
    /// s, sh, f, h: noise.
    Fricative,
}

/// A note as it is sung.
#[derive(Clone, Copy, Debug)]
pub struct Sung {
    /// Seconds from the beginning of the recording to the vowel.
    pub start: f64,
    /// Seconds to the end of the sound.
    pub end: f64,
    /// Pitch, a MIDI note.
    pub midi: f64,
    /// Amplitude, about 1.
    pub level: f64,
    /// A breath came before it.
    pub fresh: bool,
    /// What the syllable begins with.
    pub onset: Onset,
    /// Which vowel, an index into the voice's table; [`HUM`] for closed lips.
    pub vowel: usize,
    /// What the vowel turns into before the note ends.
    pub ending: usize,
    /// How far off its pitch the note begins, in semitones, and how far it strays at its end.
    pub bends: [f64; 2],
}

/// Everything a voice needs to know of one performance.
pub struct Performance {
    /// The notes in time order.
    pub notes: Vec<Sung>,
    /// The pitch at each control step: a MIDI note.
    pub pitch: Vec<f64>,
    /// The amplitude at each control step, before consonants.
    pub level: Vec<f64>,
}

/// What a recording is sung to.
enum Text {
    Hum,
    Syllable(Onset, usize),
    Words,
}

impl Text {
    fn draw(singer: &Singer, d: &mut Dice) -> Self {
        let total: f64 = singer.texts.iter().sum();
        let at = d.unit() * total;
        if at < singer.texts[0] {
            Self::Hum
        } else if at < singer.texts[0] + singer.texts[1] {
            // la, da, na, ba, du, ta; more a and u than anything else.
            let onset = [Onset::Glide, Onset::Stop, Onset::Nasal, Onset::Stop, Onset::Plosive][d.below(5)];
            Self::Syllable(onset, [0, 0, 0, 4, 3][d.below(5)])
        } else {
            Self::Words
        }
    }

    /// The next syllable: how it begins, its vowel, and what that turns into.
    fn next(&self, d: &mut Dice) -> (Onset, usize, usize) {
        match *self {
            // Hummed notes are parted in the throat, or not at all.
            Self::Hum => (if d.chance(0.5) { Onset::Nasal } else { Onset::Open }, HUM, HUM),
            Self::Syllable(onset, vowel) => (if d.chance(0.9) { onset } else { Onset::Open }, vowel, vowel),
            Self::Words => {
                use Onset::{Fricative, Glide, Nasal, Open, Plosive, Stop};
                let onset =
                    [Glide, Nasal, Stop, Stop, Plosive, Plosive, Fricative, Fricative, Open, Glide][d.below(10)];
                let vowel = d.below(HUM);
                // One in three is a diphthong, one in four closes on m, n or ng.
                let ending = match d.below(12) {
                    0..4 => d.below(HUM),
                    4..7 => HUM,
                    _ => vowel,
                };
                (onset, vowel, ending)
            }
        }
    }
}

/// Lets `singer` perform `tune` for `seconds`, described every `dt` seconds. `anywhere` is the probability of beginning at a later phrase
/// than the first. A tune that is over before the recording is sung again, or followed by silence.
pub fn perform(
    tune: &Tune,
    singer: &Singer,
    style: Style,
    anywhere: f64,
    seconds: f64,
    dt: f64,
    d: &mut Dice,
) -> Performance {
    let notes = score(tune, singer, style, anywhere, seconds, d);
    let steps = (seconds / dt).ceil() as usize + 1;
    let pitch = pitch_curve(&notes, singer, steps, dt, d);
    let level = level_curve(&notes, steps, dt, d);
    Performance { notes, pitch, level }
}

fn score(tune: &Tune, singer: &Singer, style: Style, anywhere: f64, seconds: f64, d: &mut Dice) -> Vec<Sung> {
    let centre = match style {
        Style::Hum => singer.voice_centre,
        Style::Whistle => singer.whistle_centre,
    };
    let middle = tune.centre();
    let mut key = d.normal(centre, 1.3);
    let beat = 60.0 / tune.tempo * exp2(-singer.tempo - d.normal(0.0, 0.12));
    let starts = tune.phrase_starts();
    let mut index = if d.chance(anywhere) { starts[d.below(starts.len())] } else { 0 };
    let text = Text::draw(singer, d);
    let legato = (singer.legato + d.normal(0.0, 0.06)).clamp(0.5, 1.0);
    // Most take half a second to begin; some begin at once, some let the recorder wait.
    let mut time = if d.chance(0.3) { d.range(0.0, 1.6) } else { d.normal(0.5, 0.15).max(0.05) };
    let mut sung = Vec::new();
    let mut drift = 0.0;
    let mut fresh = true;
    let mut hurry = 0.0;
    while time < seconds {
        if index == tune.notes.len() {
            if !d.chance(0.7) {
                break;
            }
            index = 0;
            time += d.range(0.1, 0.8);
            fresh = true;
        }
        let mut note = tune.notes[index];
        index += 1;
        // Nothing is drawn for who never does, so that singers of before sing as they did.
        if singer.skips > 0.0 && d.chance(singer.skips) && !note.phrase_end && index < tune.notes.len() {
            // The next note comes for both.
            note = Note { beats: note.beats + tune.notes[index].beats, ..tune.notes[index] };
            index += 1;
        }
        if singer.jumps > 0.0 && d.chance(singer.jumps) {
            key += d.normal(0.0, 1.2);
        }
        hurry = 0.85 * hurry + d.normal(0.0, 0.02);
        let mut length = note.beats * beat * exp2(d.normal(hurry, singer.rubato));
        let mut gap = (1.0 - legato) * length.min(0.5);
        if note.phrase_end {
            length *= d.range(0.85, 1.25);
            if d.chance(singer.breathes) {
                let breath = d.range(0.08, 0.6);
                gap = gap.max(breath.min(0.6 * length));
                // Some keep the beat and cut the note short, some let the beat wait.
                length += singer.waits * breath;
            }
        }
        if let Some(semitone) = note.semitone {
            drift += d.normal(0.0, singer.drift);
            let mut step = f64::from(semitone);
            if d.chance(singer.wrong_notes) {
                step += [-2.0, -1.0, 1.0, 2.0][d.below(4)];
            }
            let (onset, vowel, ending) = text.next(d);
            let bends = [d.normal(-0.3 * singer.bend, singer.bend), d.normal(-0.3 * singer.bend, 0.7 * singer.bend)];
            sung.push(Sung {
                start: time,
                end: (time + length - gap).max(time + 0.04),
                midi: key + (step - middle) * singer.interval_scale + drift + d.normal(0.0, singer.inaccuracy),
                level: exp2(d.normal(0.0, 0.25)),
                fresh,
                onset,
                vowel,
                ending,
                bends,
            });
            fresh = note.phrase_end && gap > 0.08;
        } else {
            fresh = true;
        }
        if note.phrase_end && d.chance(singer.key_changes) {
            key += d.normal(0.0, 1.0);
        }
        if singer.pauses > 0.0 && d.chance(singer.pauses) {
            let wait = d.range(0.1, 0.8);
            match sung.last_mut() {
                Some(last) if d.chance(0.5) => last.end += wait,
                _ => fresh = true,
            }
            length += wait;
        }
        time += length;
    }
    sung
}

/// The note that sounds, or sounded last, at each control step: its index.
fn current(notes: &[Sung], steps: usize, dt: f64) -> impl Iterator<Item = Option<usize>> {
    let mut at = 0;
    (0..steps).map(move |i| {
        let time = i as f64 * dt;
        while at + 1 < notes.len() && notes[at + 1].start <= time {
            at += 1;
        }
        (!notes.is_empty()).then_some(at)
    })
}

fn pitch_curve(notes: &[Sung], singer: &Singer, steps: usize, dt: f64, d: &mut Dice) -> Vec<f64> {
    // Two one-pole smoothers in a row: a glide without overshoot.
    let follow = 1.0 - exp2(-dt / (0.25 * singer.glide + 1e-3));
    let mut slow = notes.first().map_or(60.0, |n| n.midi - singer.scoop);
    let mut pitch = slow;
    let mut last = usize::MAX;
    let mut phase = d.unit();
    let (mut wander, mut jitter) = (0.0, 0.0);
    let depth = (singer.vibrato_depth * exp2(d.normal(0.0, 0.4))).min(0.9);
    let curve = current(notes, steps, dt).enumerate().map(|(i, note)| {
        let Some(at) = note else { return pitch };
        let n = &notes[at];
        // Before the first note the voice waits at its beginning.
        let since = (i as f64 * dt - n.start).max(0.0);
        if at != last {
            last = at;
            if n.fresh {
                slow = n.midi - singer.scoop;
                pitch = slow;
            }
        }
        // A note is aimed at from one side and left towards another, each in about a tenth of a second.
        let aim = n.bends[0] * exp2(-since / 0.05);
        let leave = n.bends[1] * exp2(-(n.end - since - n.start).max(0.0) / 0.04);
        slow += follow * (n.midi + aim + leave - slow);
        pitch += follow * (slow - pitch);
        phase += singer.vibrato_rate * dt * (1.0 + 0.05 * sin_turns(0.7 * i as f64 * dt));
        wander = 0.98 * wander + d.normal(0.0, 0.2 * singer.wander);
        jitter = 0.5 * jitter + d.normal(0.0, 0.02);
        // The vibrato needs a third of a second to set in.
        let ramp = ((since - 0.1) / 0.3).clamp(0.0, 1.0);
        pitch + depth * ramp * sin_turns(phase) + wander + jitter
    });
    curve.collect()
}

fn level_curve(notes: &[Sung], steps: usize, dt: f64, d: &mut Dice) -> Vec<f64> {
    let (attack, release) = (d.range(0.008, 0.05), d.range(0.015, 0.08));
    let (up, down) = (1.0 - exp2(-dt / attack), 1.0 - exp2(-dt / release));
    let fade = d.range(0.0, 0.6);
    let (swell_rate, swell_depth, swell_phase) = (d.range(0.05, 0.3), d.range(0.0, 0.25), d.unit());
    let mut level = 0.0;
    let mut shimmer = 0.0;
    let curve = current(notes, steps, dt).enumerate().map(|(i, note)| {
        let time = i as f64 * dt;
        let target = match note.map(|at| &notes[at]) {
            Some(n) if time >= n.start && time < n.end => {
                // A sung note swells a little and dies away.
                let part = (time - n.start) / (n.end - n.start).max(0.05);
                n.level * (1.0 - fade * part) * (1.0 - swell_depth * cos_turns(swell_phase + swell_rate * time))
            }
            _ => 0.0,
        };
        level += if target > level { up } else { down } * (target - level);
        shimmer = 0.7 * shimmer + d.normal(0.0, 0.03);
        level * (1.0 + shimmer)
    });
    curve.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synth::tunes;

    #[test]
    fn singers_differ_and_stay_themselves() {
        let a = Singer::new(7, 3);
        assert_eq!(a.voice_centre, Singer::new(7, 3).voice_centre);
        assert_ne!(a.voice_centre, Singer::new(7, 4).voice_centre);
        assert_ne!(a.voice_centre, Singer::new(8, 3).voice_centre);
        for person in 0..500 {
            let s = Singer::new(1, person);
            assert!((36.0..72.0).contains(&s.voice_centre) && (70.0..97.0).contains(&s.whistle_centre));
            assert!(s.inaccuracy < 0.75 && (0.0..=1.0).contains(&s.legato));
        }
    }

    #[test]
    fn roaming_singers_differ_more() {
        let (mut unsure, mut phones, mut fast, mut slow) = (0, 0, 0, 0);
        for person in 0..400 {
            let (plain, roaming) = (Singer::new(1, person), Singer::roaming(1, person));
            assert!(
                plain.skips == 0.0 && plain.pauses == 0.0 && plain.jumps == 0.0 && !plain.phone && plain.gasps == 0.0
            );
            assert_eq!(format!("{roaming:?}"), format!("{:?}", Singer::roaming(1, person)));
            unsure += usize::from(roaming.skips > 0.0 && roaming.pauses > 0.0 && roaming.jumps > 0.0);
            phones += usize::from(roaming.phone);
            (fast, slow) = (fast + usize::from(roaming.tempo > 0.4), slow + usize::from(roaming.tempo < -0.4));
        }
        assert!((150..250).contains(&unsure) && (70..130).contains(&phones) && fast > 40 && slow > 40);
        // Who leaves out notes sings fewer, who waits takes longer.
        let tune = tunes::find("Twinkle").unwrap();
        let notes = |singer: &Singer| {
            let p = perform(tune, singer, Style::Hum, 0.0, 30.0, 0.005, &mut Dice::new(9, [3, 1, 0]));
            assert!(p.notes.windows(2).all(|w| w[0].start < w[1].start));
            p.notes.iter().filter(|note| note.start < 12.0).count()
        };
        let steady = Singer { tempo: 0.0, ..Singer::new(1, 1) };
        let usual = notes(&steady);
        assert!(notes(&Singer { skips: 0.5, ..steady.clone() }) < usual);
        assert!(notes(&Singer { pauses: 0.5, ..steady }) < usual);
    }

    #[test]
    fn a_performance_follows_the_notes() {
        let tune = tunes::find("LondonBridge").unwrap();
        for person in 0..20 {
            let singer = Singer::new(3, person);
            let p = perform(tune, &singer, Style::Hum, 0.0, 8.0, 0.005, &mut Dice::new(9, [3, person as u64, 0]));
            assert_eq!(p.pitch.len(), p.level.len());
            assert!(p.notes.windows(2).all(|w| w[0].start < w[1].start && w[0].end <= w[1].start + 0.05));
            assert!(p.notes.len() > 6, "only {} notes", p.notes.len());
            assert!(p.pitch.iter().all(|&m| (20.0..90.0).contains(&m)));
            assert!(p.level.iter().all(|&l| (0.0..6.0).contains(&l)));
        }
    }
}
