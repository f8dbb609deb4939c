//! Which song of many somebody sings.
//!
//! Nobody sings in the key and at the tempo of the book. So the pitch that was sung, stretched to each of several tempos, is laid
//! over the beginning of each song (linear scaling), and the two are compared without their means, which takes the key away. The
//! songs that fit best are compared once more, finer and in the key in which most of what was sung fits; and the best of those by
//! dynamic time warping around that tempo, which forgives notes that were held too long and breaths between them. Where songs and
//! recording have embeddings, how alike those are counts as well: they know rhythm, and what pitch trackers miss. How good a
//! match is shows beside the next best: where many songs fit alike, none of them was meant.
//!
//! J.-S. R. Jang and H.-R. Lee, "A General Framework of Progressive Filtering and Its Application to Query by Singing/Humming",
//! IEEE Transactions on Audio, Speech, and Language Processing 16(2), 2008, describes both.

use super::pitch::Contour;
use super::song::Song;

/// How songs are looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Whether people may begin with any phrase, instead of the first.
    pub anywhere: bool,
    /// The slowest tempo, as a share of the song's own.
    pub slowest: f64,
    /// The quickest.
    pub quickest: f64,
    /// How many songs are compared finer.
    pub refined: usize,
    /// How many of those are warped.
    pub warped: usize,
}

impl Default for SearchOptions {
    /// From the beginning, half to twice as quick.
    fn default() -> Self {
        Self { anywhere: false, slowest: 0.5, quickest: 2.0, refined: 400, warped: 60 }
    }
}

/// A song that may be the one that was sung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Its place among the songs.
    pub song: usize,
    /// How far apart what was sung and the song are, in semitones on average: the smaller, the likelier.
    pub distance: f64,
    /// How sure it is, from 0 to 1; from [`UNKNOWN_BELOW`] on it is taken for the song.
    pub score: f64,
    /// Semitones from the song's key to the one that it was sung in.
    pub key: f64,
    /// The tempo in which it was sung, as a share of the song's own.
    pub tempo: f64,
    /// Where in the song the singer began, and stopped, in seconds at the song's own tempo.
    pub at: (f64, f64),
}

/// Where the best song's [`Match::score`] is below this, the song is none of those that were searched.
pub const UNKNOWN_BELOW: f64 = 0.5;

/// Gives matches, the best first, their scores: by how much each is nearer than the songs that come after the best. Among `songs` songs
/// some fit by chance, the nearer the more there are; the limit was chosen so that five in a hundred of the known songs of the recordings
/// that it was tried on are turned away, among 28 songs and among 2 028.
fn give_scores(matches: &mut [Match], songs: usize, embedded: bool) {
    const OTHERS: usize = 9;
    // What counts where there are fewer: how far songs are that have nothing in common.
    const UNRELATED: f64 = 2.8;
    let more = (songs.max(1) as f64 / 28.0).ln();
    let (limit, unrelated) =
        if embedded { (-0.82 + 0.135 * more, UNRELATED + UNLIKE) } else { (-0.61 + 0.103 * more, UNRELATED) };
    let others = matches.iter().skip(1).take(OTHERS).map(|m| m.distance).chain(std::iter::repeat(unrelated));
    let background = others.take(OTHERS).sum::<f64>() / OTHERS as f64;
    for found in matches {
        found.score = 1.0 / (1.0 + (4.0 * (found.distance - background - limit)).exp());
    }
}

/// What somebody sang, ready to be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// MIDI note numbers every [`STEP`] seconds, from the first that was sung to the last; a breath holds the note before it.
    pitch: Vec<f32>,
    /// Seconds of silence before.
    pub silence: f64,
    /// What the base model makes of the recording: a vector of length 1 ([`crate::train::embedder`]). Empty where that is not known or
    /// not to count.
    pub embedding: Vec<f32>,
}

/// What an embedding that is at a right angle to a song's counts, in semitones. Chosen with recordings among 2 028 songs.
const UNLIKE: f64 = 0.75;

/// How unlike a query a song is by their embeddings, in semitones: 0 for the same, and where the query has none. A song that has none is
/// at a right angle to everything.
fn unlike(query: &Query, song: &Song) -> f64 {
    if query.embedding.is_empty() {
        return 0.0;
    }
    if query.embedding.len() != song.embedding.len() {
        return UNLIKE;
    }
    let cosine: f32 = query.embedding.iter().zip(&song.embedding).map(|(a, b)| a * b).sum();
    UNLIKE * (1.0 - f64::from(cosine))
}

/// Seconds from one value of a [`Query`] to the next.
const STEP: f64 = 0.05;

/// A query longer than this many seconds is cut there.
const LONGEST: f64 = 16.0;

/// A query needs this many values with a pitch.
const FEWEST: usize = 20;

/// What a tempo of half or double the song's costs: people sing near the tempo that they know.
const HURRY: f64 = 0.3;

/// Pitches further than this many semitones from the middle one are no singing.
const WIDEST: f32 = 14.0;

/// Pitches that stay for a shorter time, in seconds, are none.
const SHORTEST: f64 = 0.06;

/// A pitch that moves further than this many semitones in one frame is another.
const LEAP: f32 = 4.0;

/// Seconds from one value of the coarse contour of a song to the next.
const COARSE: f64 = 0.125;

/// Semitones beyond which a difference counts no more: a wrong note is wrong.
const MOST: f32 = 3.0;

impl Query {
    /// From a pitch track. Nothing where less than a second was sung.
    pub fn new(contour: &Contour) -> Option<Self> {
        let midi = sung(contour);
        let first = midi.iter().position(Option::is_some)?;
        let last = midi.iter().rposition(Option::is_some)?;
        let count = ((((last - first) as f64 * contour.hop).min(LONGEST)) / STEP) as usize;
        let (mut pitch, mut voiced) = (Vec::with_capacity(count), 0);
        for i in 0..count {
            let at = |i: usize| first + (i as f64 * STEP / contour.hop) as usize;
            let mut here: Vec<f32> = midi[at(i)..at(i + 1).min(midi.len())].iter().flatten().copied().collect();
            if here.is_empty() {
                pitch.push(*pitch.last()?);
                continue;
            }
            voiced += 1;
            pitch.push(middle(&mut here));
        }
        (voiced >= FEWEST).then_some(Self { pitch, silence: first as f64 * contour.hop, embedding: Vec::new() })
    }

    /// Seconds.
    pub fn seconds(&self) -> f64 {
        self.pitch.len() as f64 * STEP
    }

    /// The query as it would be had it been sung `tempo` times slower, every `step` seconds, less its mean.
    fn stretched(&self, tempo: f64, step: f64) -> Vec<f32> {
        let count = (self.seconds() * tempo / step) as usize;
        let at = |i: usize| ((i as f64 + 0.5) * step / tempo / STEP) as usize;
        (0..count).map(|i| self.pitch[at(i).min(self.pitch.len() - 1)]).collect()
    }
}

/// The median of at least one value, the upper of two; it changes their order.
fn middle(values: &mut [f32]) -> f32 {
    *values.select_nth_unstable_by(values.len() / 2, f32::total_cmp).1
}

/// The pitch of each frame where it belongs to the melody: hisses and consonants have none, whatever the tracker takes them for.
fn sung(contour: &Contour) -> Vec<Option<f32>> {
    let mut midi: Vec<Option<f32>> = contour.frames.iter().map(|f| f.midi().map(|m| m as f32)).collect();
    let mut all: Vec<f32> = midi.iter().flatten().copied().collect();
    if all.is_empty() {
        return midi;
    }
    let usual = middle(&mut all);
    midi.iter_mut().for_each(|m| *m = m.filter(|m| (m - usual).abs() <= WIDEST));
    let shortest = (SHORTEST / contour.hop).ceil() as usize;
    let mut runs: Vec<(usize, usize, f32)> = Vec::new();
    let mut at = 0;
    while at < midi.len() {
        let mut run = 0;
        while let Some(Some(here)) = midi.get(at + run) {
            if run > 0 && midi[at + run - 1].is_some_and(|before| (here - before).abs() > LEAP) {
                break;
            }
            run += 1;
        }
        if run < shortest {
            midi[at..at + run].fill(None);
        } else {
            let mut here: Vec<f32> = midi[at..at + run].iter().flatten().copied().collect();
            runs.push((at, run, middle(&mut here)));
        }
        at += run.max(1);
    }
    for (&(at, run, _), shift) in runs.iter().zip(octaves(&runs, contour.hop)) {
        midi[at..at + run].iter_mut().flatten().for_each(|m| *m += shift);
    }
    midi
}

/// By how many semitones each run of a pitch track is to be moved so that the tracker's octave errors are mended: the cheapest
/// way, where leaps cost what they are wide.
fn octaves(runs: &[(usize, usize, f32)], hop: f64) -> Vec<f32> {
    const SHIFTS: [f32; 3] = [0.0, 12.0, -12.0];
    // What it costs to move a run, and each second of it; leaps up to a sixth cost nothing.
    const MOVED: f32 = 1.0;
    const SECOND: f32 = 2.0;
    const FREE: f32 = 8.0;
    let mut costs = vec![[0.0_f32; 3]];
    let mut from: Vec<[usize; 3]> = Vec::new();
    for (i, &(_, len, pitch)) in runs.iter().enumerate() {
        let mut next = [0.0; 3];
        let mut came = [0; 3];
        for (k, shift) in SHIFTS.iter().enumerate() {
            let own = if k == 0 { 0.0 } else { MOVED + SECOND * len as f32 * hop as f32 };
            let before = |j: usize| {
                let leap = if i == 0 { 0.0 } else { (pitch + shift - runs[i - 1].2 - SHIFTS[j]).abs() };
                costs[i][j] + (leap - FREE).max(0.0)
            };
            let j = (0..3).fold(0, |a, b| if before(b) < before(a) { b } else { a });
            (next[k], came[k]) = (own + before(j), j);
        }
        costs.push(next);
        from.push(came);
    }
    let last = costs[runs.len()];
    let mut k = (0..3).fold(0, |a, b| if last[b] < last[a] { b } else { a });
    let mut shifts = vec![0.0; runs.len()];
    for i in (0..runs.len()).rev() {
        shifts[i] = SHIFTS[k];
        k = from[i][k];
    }
    shifts
}

/// Songs, ready to be searched.
#[derive(Clone, Debug)]
pub struct Searcher {
    /// The coarse contours of all songs, one after the other.
    coarse: Vec<f32>,
    /// Where each begins, and the end of all.
    begin: Vec<usize>,
    /// For each song, the values of its coarse contour at which phrases begin.
    phrases: Vec<Vec<u32>>,
}

/// A song's pitch at a time in seconds; a rest holds the note before it.
fn pitch_at(song: &Song, seconds: f64) -> f32 {
    let after = song.notes.partition_point(|n| n.start <= seconds);
    song.notes[after.max(1) - 1].midi as f32
}

/// A place at which a song may be begun, and how well the query fits there.
#[derive(Clone, Copy, Debug)]
struct Place {
    song: usize,
    start: usize,
    tempo: f64,
    distance: f32,
}

impl Searcher {
    /// For these songs.
    pub fn new(songs: &[Song]) -> Self {
        let (mut coarse, mut begin, mut phrases) = (Vec::new(), vec![0], Vec::new());
        for song in songs {
            let count = (song.seconds() / COARSE).ceil() as usize;
            coarse.extend((0..count).map(|i| pitch_at(song, (i as f64 + 0.5) * COARSE)));
            begin.push(coarse.len());
            phrases.push(song.phrases.iter().map(|&p| (song.notes[p].start / COARSE) as u32).collect());
        }
        Self { coarse, begin, phrases }
    }

    /// The songs that fit best, the best first, among the `songs` that this was made for.
    pub fn search(&self, songs: &[Song], query: &Query, options: &SearchOptions) -> Vec<Match> {
        let mut places = self.scaled(query, options);
        places.truncate(options.refined.max(options.warped));
        places.iter_mut().for_each(|place| refine(&songs[place.song], query, place));
        places.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        places.truncate(options.warped);
        let mut matches: Vec<Match> = places.iter().map(|p| warp(&songs[p.song], query, p)).collect();
        matches.iter_mut().for_each(|found| found.distance += unlike(query, &songs[found.song]));
        matches.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        give_scores(&mut matches, songs.len(), !query.embedding.is_empty());
        matches
    }

    /// Every song with the place at which it fits best by linear scaling, the best first.
    fn scaled(&self, query: &Query, options: &SearchOptions) -> Vec<Place> {
        let steps = (((options.quickest / options.slowest).log2() / 0.07).ceil() as usize).max(1);
        let tempo = |k: usize| options.slowest * (options.quickest / options.slowest).powf(k as f64 / steps as f64);
        let queries: Vec<(f64, Vec<f32>)> = (0..=steps)
            .map(|k| {
                let mut stretched = query.stretched(tempo(k), COARSE);
                let mean = stretched.iter().sum::<f32>() / stretched.len().max(1) as f32;
                stretched.iter_mut().for_each(|x| *x -= mean);
                (tempo(k), stretched)
            })
            .collect();
        let longest = (query.seconds() / COARSE) as usize;
        let mut best = Vec::with_capacity(self.phrases.len());
        for song in 0..self.phrases.len() {
            let contour = &self.coarse[self.begin[song]..self.begin[song + 1]];
            let starts = if options.anywhere { &self.phrases[song][..] } else { &[0] };
            let mut here = Place { song, start: 0, tempo: 1.0, distance: f32::INFINITY };
            for &start in starts {
                // Its last notes are like the beginning of anything.
                if start > 0 && (contour.len().saturating_sub(start as usize)) * 2 < longest {
                    continue;
                }
                let contour = &contour[(start as usize).min(contour.len() - 1)..];
                for (tempo, stretched) in &queries {
                    let distance = apart(stretched, contour);
                    if distance < here.distance {
                        here = Place { song, start: start as usize, tempo: *tempo, distance };
                    }
                }
            }
            best.push(here);
        }
        best.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        best
    }
}

/// Mean difference of a query without its mean and the beginning of a song without its own; what the song is too short for
/// counts as a semitone.
fn apart(query: &[f32], song: &[f32]) -> f32 {
    let len = query.len().min(song.len());
    if len == 0 {
        return f32::INFINITY;
    }
    let (query_part, song) = (&query[..len], &song[..len]);
    let mean = (song.iter().sum::<f32>() - query_part.iter().sum::<f32>()) / len as f32;
    let sum: f32 = query_part.iter().zip(song).map(|(q, s)| (s - q - mean).abs().min(MOST)).sum();
    (sum + (query.len() - len) as f32) / query.len() as f32
}

/// What a difference of two pitches counts. One of an octave is the tracker's error more often than the singer's.
fn cost(difference: f32) -> f32 {
    const OCTAVE: f32 = 1.0;
    let apart = difference.abs();
    apart.min((apart - 12.0).abs() + OCTAVE).min(MOST)
}

/// Linear scaling with the median key, at tempos near a place's.
fn refine(song: &Song, query: &Query, place: &mut Place) {
    let start = place.start as f64 * COARSE;
    let q = &query.pitch;
    let mut best = (f32::INFINITY, place.tempo);
    let mut differences = Vec::new();
    for k in -2..=2 {
        let tempo = place.tempo * (f64::from(k) * 0.025).exp2();
        let step = STEP * tempo;
        let count = q.len().min(((song.seconds() - start) / step).ceil() as usize).max(1);
        differences.clear();
        let mut note = song.notes.partition_point(|n| n.start <= start).max(1) - 1;
        for j in (0..count).step_by(2) {
            let t = start + (j as f64 + 0.5) * step;
            while note + 1 < song.notes.len() && song.notes[note + 1].start <= t {
                note += 1;
            }
            differences.push(q[j] - song.notes[note].midi as f32);
        }
        let key = middle(&mut differences);
        let sum: f32 = differences.iter().map(|d| cost(d - key)).sum();
        let rest = (q.len() - count) as f32 / 2.0;
        let distance = (sum + rest) / (differences.len() as f32 + rest);
        if distance < best.0 {
            best = (distance, tempo);
        }
    }
    (place.distance, place.tempo) = best;
}

/// Compares a query and a song by dynamic time warping near a place.
fn warp(song: &Song, query: &Query, place: &Place) -> Match {
    let start = place.start as f64 * COARSE;
    let step = STEP * place.tempo;
    let q = &query.pitch;
    let count = (q.len() * 3 / 2).min(((song.seconds() - start) / step).ceil() as usize).max(1);
    let s: Vec<f32> = (0..count).map(|j| pitch_at(song, start + (j as f64 + 0.5) * step)).collect();
    let mut differences: Vec<f32> = q.iter().zip(&s).map(|(q, s)| q - s).collect();
    let mut key = middle(&mut differences);
    let mut found = path(q, &s, key);
    // Along the path the key is better known.
    let mut differences: Vec<f32> = q.iter().zip(&found.1).map(|(q, &j)| q - s[j]).collect();
    let better = middle(&mut differences);
    if (better - key).abs() >= 0.1 {
        let again = path(q, &s, better);
        if again.0 < found.0 {
            (key, found) = (better, again);
        }
    }
    let end = found.1.last().map_or(0, |j| j + 1);
    let tempo = place.tempo * end as f64 / q.len() as f64;
    Match {
        song: place.song,
        distance: f64::from(found.0 + place.distance) + HURRY * tempo.log2().abs(),
        score: 0.0,
        key: f64::from(key),
        tempo,
        at: (start, start + end as f64 * step),
    }
}

/// The cheapest way through a query and a song in a key: its cost for each value of the query, and the value of the song for each.
fn path(q: &[f32], s: &[f32], key: f32) -> (f32, Vec<usize>) {
    const OFF: f32 = 0.15;
    let (n, m) = (q.len(), s.len());
    let band = n / 5 + 4;
    let width = 2 * band + 1;
    let far = f32::INFINITY;
    // Column k of row i is the song's value i + k - band.
    let mut costs = vec![far; width];
    let mut from = vec![0_u8; n * width];
    for i in 0..n {
        let mut next = vec![far; width];
        for k in 0..width {
            let Some(j) = (i + k).checked_sub(band) else { continue };
            // Beyond the song's end its last note counts as held, at the price of a semitone.
            let here = if j < m { cost(q[i] - s[j] - key) } else { 1.0 };
            let at = |k: usize| costs.get(k).copied().unwrap_or(far);
            let (before, step) = if i == 0 {
                (if j <= 4 { OFF * j as f32 } else { far }, 1)
            } else {
                // The song goes on by 1, 0 or 2 values.
                let ways = [(at(k), 1), (at(k + 1) + OFF, 0), (if k > 0 { at(k - 1) + OFF } else { far }, 2)];
                ways.into_iter().fold((far, 1), |a, b| if b.0 < a.0 { b } else { a })
            };
            next[k] = before + here;
            from[i * width + k] = step;
        }
        costs = next;
    }
    let (mut k, cost) = costs.iter().copied().enumerate().fold((0, far), |a, b| if b.1 < a.1 { b } else { a });
    let mut along = vec![0; n];
    for i in (0..n).rev() {
        along[i] = (i + k).saturating_sub(band).min(m - 1);
        match from[i * width + k] {
            0 => k += 1,
            2 => k -= 1,
            _ => {}
        }
    }
    (cost / n as f32, along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::notes::SungNote;

    #[test]
    fn embeddings_tell_songs_of_the_same_notes_apart() -> Result<(), String> {
        let midi = [60.0, 62.0, 64.0, 65.0, 67.0, 65.0, 64.0, 62.0];
        let note = |(i, &midi): (usize, &f64)| SungNote { start: i as f64, end: i as f64 + 1.0, midi };
        let song = |id: &str, embedding: &[f32]| {
            let song = Song::new(id, "", 60.0, midi.iter().enumerate().map(note).collect(), &[])?;
            Ok::<_, String>(Song { embedding: embedding.to_vec(), ..song })
        };
        let songs = [
            song("none", &[])?,
            song("across", &[1.0, 0.0])?,
            song("like", &[0.6, 0.8])?,
            song("against", &[0.0, -1.0])?,
        ];
        let pitch = midi.iter().flat_map(|&m| [m as f32; 20]).collect();
        let mut query = Query { pitch, silence: 0.0, embedding: vec![0.0, 1.0] };
        let searcher = Searcher::new(&songs);
        let ids = |query: &Query| -> Vec<&str> {
            let found = searcher.search(&songs, query, &SearchOptions::default());
            assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            found.iter().map(|found| songs[found.song].id.as_str()).collect()
        };
        assert_eq!(ids(&query), ["like", "none", "across", "against"]);
        query.embedding.clear();
        assert_eq!(ids(&query), ["none", "across", "like", "against"]);
        Ok(())
    }
}
