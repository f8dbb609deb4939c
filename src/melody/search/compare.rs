//! How well what was sung fits a song, near a place at which it may have been begun.

use super::Place;
use super::query::{Query, STEP, middle};
use crate::melody::song::Song;

/// Semitones beyond which a difference counts no more: a wrong note is wrong.
pub(super) const MOST: f32 = 3.0;

/// What a value of a query counts in which nothing is sung, beside one that is sung throughout: a rest is no mistake.
const UNVOICED: f32 = 0.1;

/// Half of the time, in seconds, over which a singer keeps the key.
const KEY_HELD: f64 = 1.5;

/// A song's pitch at a time in seconds; a rest holds the note before it.
pub(super) fn pitch_at(song: &Song, seconds: f64) -> f32 {
    let after = song.notes.partition_point(|n| n.start <= seconds);
    song.notes[after.max(1) - 1].midi as f32
}

/// What a difference of two pitches counts. One of an octave is the tracker's error more often than the singer's.
pub(super) fn cost(difference: f32) -> f32 {
    const OCTAVE: f32 = 1.0;
    let apart = difference.abs();
    apart.min((apart - 12.0).abs() + OCTAVE).min(MOST)
}

/// Linear scaling with the median key, at tempos near a place's.
pub(super) fn refine(song: &Song, query: &Query, place: &mut Place) {
    let start = place.start as f64 * super::COARSE;
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

/// How a query fits a song along the way on which it fits best.
pub(super) struct Fit<'a> {
    /// What was sung, and the song beside it.
    pub sung: Along<'a>,
    /// The song from the place on at the query's steps, some of it beyond what was sung.
    pub stretched: Vec<f32>,
    /// In how many ways, and how far, the singer differs: those of [`COUNTS`], in their order.
    pub measures: [f64; 6],
    /// Semitones from the song's key.
    pub key: f32,
    /// As a share of the song's own.
    pub tempo: f64,
    /// Where in the song it begins and ends, in seconds.
    pub at: (f64, f64),
}

impl Fit<'_> {
    /// How badly it fits, to choose those by that are worth a closer look.
    pub fn distance(&self) -> f64 {
        COUNTS.iter().zip(self.measures).map(|(count, measure)| count * measure).sum()
    }
}

/// The weight of each way in which a singer may differ from a song. Fitted to recordings of people with even numbers
/// (docs/results/song-book.md) by a conditional logistic regression, which maximises the probability of each recording's song among those
/// that were compared.
const COUNTS: [f64; 6] = [
    // A semitone, on average, from the song at an even tempo and in one key.
    8.1, // A semitone along the way, in the key of the moment: singers drift.
    5.8, // A semitone along the way, where leaps may all be wider or narrower than the song's.
    2.3, // Being held or hurried all the time.
    5.5, // Half or double the tempo: people sing near the tempo that they know.
    2.8, // How far the song's notes do not reach, as a logarithm: what hardly moves is easily like anything.
    2.5,
];

/// The share of values of a query at which the song is held or hurried.
pub(super) fn held(along: &[usize]) -> f64 {
    along.windows(2).filter(|pair| pair[1] - pair[0] != 1).count() as f64 / along.len() as f64
}

/// Compares a query and a song by dynamic time warping near a place.
pub(super) fn warp<'a>(song: &Song, query: &'a Query, place: &Place) -> Fit<'a> {
    let start = place.start as f64 * super::COARSE;
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
    let along = found.1;
    let end = along.last().map_or(0, |j| j + 1);
    let tempo = place.tempo * end as f64 / q.len() as f64;
    let sung = Along::new(query, &s, &along);
    let measures = [
        f64::from(place.distance),
        f64::from(sung.drifting(key)),
        f64::from(sung.scaled()),
        held(&along),
        tempo.log2().abs(),
        -f64::from((sung.spread() + 0.5).ln()),
    ];
    Fit { sung, stretched: s, measures, key, tempo, at: (start, start + end as f64 * step) }
}

/// What was sung, and the song beside it.
pub(super) struct Along<'a> {
    pub query: &'a [f32],
    pub song: Vec<f32>,
    /// How much each value counts.
    pub weights: Vec<f32>,
    total: f32,
    song_mean: f32,
}

impl<'a> Along<'a> {
    fn new(query: &'a Query, song: &[f32], along: &[usize]) -> Self {
        let weights: Vec<f32> = query.voiced.iter().map(|share| UNVOICED + (1.0 - UNVOICED) * share).collect();
        let song: Vec<f32> = along.iter().map(|&j| song[j]).collect();
        let total = weights.iter().sum();
        let mut sung = Self { query: &query.pitch, song, weights, total, song_mean: 0.0 };
        sung.song_mean = sung.mean(|i| sung.song[i]);
        sung
    }

    /// The weighted mean of what `value` makes of each place.
    fn mean(&self, value: impl Fn(usize) -> f32) -> f32 {
        self.weights.iter().enumerate().map(|(i, weight)| weight * value(i)).sum::<f32>() / self.total
    }

    /// Mean difference in the key of the moment.
    fn drifting(&self, key: f32) -> f32 {
        const EVERY: usize = 10;
        let half = (KEY_HELD / STEP) as usize;
        let differences: Vec<f32> = self.query.iter().zip(&self.song).map(|(q, s)| q - s - key).collect();
        let of_moment = |at: usize| {
            let around = at.saturating_sub(half)..(at + half).min(differences.len());
            middle(&mut differences[around].to_vec())
        };
        let keys: Vec<f32> = (0..differences.len()).step_by(EVERY).map(|i| of_moment(i + EVERY / 2)).collect();
        self.mean(|i| cost(differences[i] - keys[i / EVERY]))
    }

    /// Mean difference where all leaps may be wider or narrower by the same factor.
    fn scaled(&self) -> f32 {
        const WIDEST: f32 = 12.0;
        const FACTORS: (f32, f32) = (0.6, 1.4);
        // As if one leap of a semitone had been right: what hardly moves has no factor.
        const PRIOR: f32 = 0.5;
        let query_mean = self.mean(|i| self.query[i]);
        let q = |i: usize| self.query[i] - query_mean;
        let s = |i: usize| self.song[i] - self.song_mean;
        let together = self.mean(|i| s(i) * q(i).clamp(-WIDEST, WIDEST)) * self.total + PRIOR;
        let factor = together / (self.mean(|i| s(i) * s(i)) * self.total + PRIOR);
        let factor = factor.clamp(FACTORS.0, FACTORS.1);
        let rest: Vec<f32> = (0..self.query.len()).map(|i| q(i) - factor * s(i)).collect();
        let key = middle(&mut rest.clone());
        self.mean(|i| cost(rest[i] - key))
    }

    /// The standard deviation of the song's notes.
    fn spread(&self) -> f32 {
        self.mean(|i| (self.song[i] - self.song_mean).powi(2)).sqrt()
    }
}

/// The cheapest way through a query and a song in a key: its cost for each value of the query, and the value of the song for each.
pub(super) fn path(q: &[f32], s: &[f32], key: f32) -> (f32, Vec<usize>) {
    const OFF: f32 = 0.15;
    let (n, m) = (q.len(), s.len());
    let band = n / 5 + 4;
    let width = 2 * band + 1;
    let far = f32::INFINITY;
    // Column k of row i is the song's value i + k - band. One more at either end, where nothing is.
    let (mut costs, mut next) = (vec![far; width + 2], vec![far; width + 2]);
    let mut from = vec![0_u8; n * width];
    let mut here = vec![0.0; width];
    for i in 0..n {
        // Columns before the song's beginning, and those beyond its end.
        let first = band.saturating_sub(i);
        let beyond = (m + band).saturating_sub(i).clamp(first, width);
        for (here, s) in here[first..beyond].iter_mut().zip(&s[(i + first - band).min(m)..]) {
            *here = cost(q[i] - s - key);
        }
        // There the song's last note counts as held, at the price of a semitone.
        here[beyond..].fill(1.0);
        next.fill(far);
        let to = next[first + 1..=width].iter_mut().zip(&mut from[i * width + first..(i + 1) * width]);
        let to = to.zip(&here[first..]);
        if i == 0 {
            to.enumerate().for_each(|(j, ((next, step), here))| {
                (*next, *step) = (if j <= 4 { OFF * j as f32 } else { far } + here, 1);
            });
        } else {
            // The song goes on by 2, 1 or 0 values.
            let before = costs[first..].iter().zip(&costs[first + 1..]).zip(&costs[first + 2..]);
            for (((next, step), here), ((two, one), none)) in to.zip(before) {
                let (two, none) = (two + OFF, none + OFF);
                let (least, by) = if none < *one { (none, 0) } else { (*one, 1) };
                let (least, by) = if two < least { (two, 2) } else { (least, by) };
                (*next, *step) = (least + here, by);
            }
        }
        std::mem::swap(&mut costs, &mut next);
    }
    let last = costs[1..=width].iter().copied().enumerate();
    let (mut k, cost) = last.fold((0, far), |a, b| if b.1 < a.1 { b } else { a });
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
