//! Finds the song that is sung among many.
//!
//! Hardly any singer keeps to the written key and tempo. So the pitch that was sung, stretched to each of several tempos, is laid
//! over the beginning of each song (linear scaling), and the two are compared without their means, which takes the key away. The
//! songs that fit best are compared once more, finer and in the key in which most of what was sung fits; and the best of those by
//! dynamic time warping around that tempo, which forgives notes that were held too long and breaths between them. Along the way that it
//! finds, singers may leave the key little by little, and sing all leaps too narrow; how much each of these counts is fitted to
//! recordings. Those that then fit best get a closer look, in which the key may move by leaps. Where songs and recording have embeddings, how alike those are counts as well: they know rhythm, and what pitch trackers miss. How good a
//! match is shows beside the next best: where many songs fit alike, none of them was meant.
//!
//! J.-S. R. Jang and H.-R. Lee, "A General Framework of Progressive Filtering and Its Application to Query by Singing/Humming",
//! IEEE Transactions on Audio, Speech, and Language Processing 16(2), 2008, describes both.

mod closer;
mod compare;
mod query;

use super::notes::SungNote;
use super::song::Song;
use compare::{Fit, MOST, pitch_at, refine, warp};
use rayon::prelude::*;
use std::borrow::Cow;

pub use query::Query;

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
    /// How many of those get a closer look; the others come after them.
    pub closer: usize,
}

impl Default for SearchOptions {
    /// From the beginning, half to twice as quick.
    fn default() -> Self {
        Self { anywhere: false, slowest: 0.5, quickest: 2.0, refined: 800, warped: 200, closer: 60 }
    }
}

/// A song that may be the one that was sung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Its place among the songs.
    pub song: usize,
    /// How badly the song fits, the smaller, the likelier: the difference of two songs' is the logarithm of how much likelier the one is.
    pub distance: f64,
    /// How sure it is, from 0 to 1; from [`UNKNOWN_BELOW`] on it is taken for the song.
    pub score: f64,
    /// Semitones from the song's key to the one that it was sung in.
    pub key: f64,
    /// The tempo in which it was sung, as a share of the song's own.
    pub tempo: f64,
    /// Where in the song the singer began, and stopped, in seconds at the song's own tempo; stopped before they began where they went on
    /// from the end with the beginning.
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
    const UNRELATED: f64 = 22.5;
    let more = (songs.max(1) as f64 / 28.0).ln();
    let (limit, unrelated) =
        if embedded { (8.5 - 1.28 * more, UNRELATED + UNLIKE) } else { (7.5 - 1.23 * more, UNRELATED) };
    let others = matches.iter().skip(1).take(OTHERS).map(|m| m.distance).chain(std::iter::repeat(unrelated));
    let background = others.take(OTHERS).sum::<f64>() / OTHERS as f64;
    for found in matches {
        found.score = 1.0 / (1.0 + (found.distance - background + limit).exp());
    }
}

/// What an embedding that is at a right angle to a song's counts, as a [`Match::distance`]. Chosen with recordings among 2 028 songs.
const UNLIKE: f64 = 5.0;

/// How unlike a query a song is by their embeddings, as a [`Match::distance`]: 0 for the same, and where the query has none. A song that has none is
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

/// Seconds from one value of the coarse contour of a song to the next.
const COARSE: f64 = 0.125;

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

/// A place at which a song may be begun, and how well the query fits there.
#[derive(Clone, Copy, Debug)]
struct Place {
    song: usize,
    start: usize,
    tempo: f64,
    distance: f32,
}

/// A song as it is sung from a place: from the end on with the beginning, unless it was begun there.
fn around<'a>(song: &'a Song, place: &Place) -> Cow<'a, Song> {
    if place.start == 0 {
        return Cow::Borrowed(song);
    }
    let length = song.seconds();
    let later = |note: &SungNote| SungNote { start: note.start + length, end: note.end + length, midi: note.midi };
    let notes = song.notes.iter().copied().chain(song.notes.iter().map(later)).collect();
    Cow::Owned(Song { notes, ..song.clone() })
}

impl Searcher {
    /// For these songs.
    pub fn new(songs: &[Song]) -> Self {
        let (mut coarse, mut begin, mut phrases) = (Vec::new(), vec![0], Vec::new());
        for song in songs {
            let count = (song.seconds() / COARSE).ceil() as usize;
            coarse.extend((0..count).map(|i| pitch_at(song, (i as f64 + 0.5) * COARSE)));
            begin.push(coarse.len());
            let start = |&phrase: &usize| ((song.notes[phrase].start / COARSE) as usize).min(count - 1) as u32;
            phrases.push(song.phrases.iter().map(start).collect());
        }
        Self { coarse, begin, phrases }
    }

    /// The songs that fit best, the best first, among the `songs` that this was made for.
    pub fn search(&self, songs: &[Song], query: &Query, options: &SearchOptions) -> Vec<Match> {
        let mut places = self.scaled(query, options, options.refined.max(options.warped));
        places.par_iter_mut().for_each(|place| refine(&around(&songs[place.song], place), query, place));
        places.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        places.truncate(options.warped);
        let compared = |place: &Place| {
            let song = &songs[place.song];
            let fit = warp(&around(song, place), query, place);
            (fit.distance() + unlike(query, song), *place, fit)
        };
        let mut fits: Vec<(f64, Place, Fit<'_>)> = places.par_iter().map(compared).collect();
        fits.sort_by(|a, b| a.0.total_cmp(&b.0));
        let closer = options.closer.clamp(1, fits.len().max(1));
        let mut matches: Vec<Match> = fits
            .par_iter()
            .enumerate()
            .map(|(i, (distance, place, fit))| {
                let song = &songs[place.song];
                let goes_on = fit.at.1 > song.seconds() && place.start > 0;
                let end = if goes_on { fit.at.1 - song.seconds() } else { fit.at.1 };
                let distance = if i < closer { closer::distance(fit) + unlike(query, song) } else { *distance };
                Match {
                    song: place.song,
                    distance,
                    score: 0.0,
                    key: f64::from(fit.key),
                    tempo: fit.tempo,
                    at: (fit.at.0, end),
                }
            })
            .collect();
        let (looked, rest) = matches.split_at_mut(closer.min(fits.len()));
        looked.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        // What did not get a closer look is no nearer than what did.
        let farthest = looked.last().map_or(0.0, |found| found.distance);
        rest.iter_mut().for_each(|found| found.distance = found.distance.max(farthest));
        give_scores(&mut matches, songs.len(), !query.embedding.is_empty());
        matches
    }

    /// The `most` songs that fit best by linear scaling, each with the place at which it does, the best first.
    fn scaled(&self, query: &Query, options: &SearchOptions, most: usize) -> Vec<Place> {
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
        let of_song = |song: usize| {
            let contour = &self.coarse[self.begin[song]..self.begin[song + 1]];
            let starts = if options.anywhere { &self.phrases[song][..] } else { &[0] };
            let mut here = Place { song, start: 0, tempo: 1.0, distance: f32::INFINITY };
            // Who has begun with the chorus goes on with the first verse.
            let twice = if options.anywhere { [contour, contour].concat() } else { Vec::new() };
            let contour = if options.anywhere { &twice } else { contour };
            for &start in starts {
                let contour = &contour[start as usize..];
                for (tempo, stretched) in &queries {
                    let distance = apart(stretched, contour);
                    if distance < here.distance {
                        here = Place { song, start: start as usize, tempo: *tempo, distance };
                    }
                }
            }
            here
        };
        let mut best: Vec<Place> = (0..self.phrases.len()).into_par_iter().with_min_len(64).map(of_song).collect();
        let order = |a: &Place, b: &Place| a.distance.total_cmp(&b.distance).then(a.song.cmp(&b.song));
        if best.len() > most {
            best.select_nth_unstable_by(most, order);
            best.truncate(most);
        }
        best.sort_unstable_by(order);
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
    let mean = sum(query_part, song, |difference| difference) / len as f32;
    let sum = sum(query_part, song, |difference| (difference - mean).abs().min(MOST));
    (sum + (query.len() - len) as f32) / query.len() as f32
}

/// The sum of what `value` makes of each difference of a song and a query, in sums side by side that vectors of numbers hold.
fn sum(query: &[f32], song: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let ((queries, query), (songs, song)) = (query.as_chunks::<LANES>(), song.as_chunks::<LANES>());
    for (q, s) in queries.iter().zip(songs) {
        for i in 0..LANES {
            sums[i] += value(s[i] - q[i]);
        }
    }
    let rest: f32 = query.iter().zip(song).map(|(q, s)| value(s - q)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let pitch: Vec<f32> = midi.iter().flat_map(|&m| [m as f32; 20]).collect();
        let voiced = vec![1.0; pitch.len()];
        let mut query = Query { pitch, voiced, silence: 0.0, embedding: vec![0.0, 1.0] };
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

    #[test]
    fn who_begins_with_the_last_phrase_goes_on_with_the_first() -> Result<(), String> {
        let verse = [60.0, 64.0, 67.0, 72.0, 71.0, 67.0, 69.0, 65.0];
        let bridge = [62.0, 62.0, 64.0, 62.0, 59.0, 57.0, 55.0, 55.0];
        let chorus = [67.0, 65.0, 64.0, 62.0, 60.0, 62.0, 55.0, 60.0];
        let song = |id: &str, phrases: &[[f64; 8]]| {
            let notes = phrases.as_flattened().iter().enumerate();
            let notes = notes.map(|(i, &midi)| SungNote { start: 0.5 * i as f64, end: 0.5 * i as f64 + 0.5, midi });
            let marks: Vec<f64> = (0..phrases.len()).map(|i| 4.0 * i as f64).collect();
            Song::new(id, "", 120.0, notes.collect(), &marks)
        };
        let songs = [song("other", &[chorus, bridge, bridge])?, song("sung", &[verse, bridge, chorus])?];
        let pitch: Vec<f32> = chorus.iter().chain(&verse).flat_map(|&midi| [midi as f32 + 3.0; 10]).collect();
        let voiced = vec![1.0; pitch.len()];
        let query = Query { pitch, voiced, silence: 0.0, embedding: Vec::new() };
        let options = SearchOptions { anywhere: true, ..SearchOptions::default() };
        let best = Searcher::new(&songs).search(&songs, &query, &options)[0];
        assert_eq!(songs[best.song].id, "sung");
        assert!((best.at.0 - 8.0).abs() < 0.01 && (best.at.1 - 4.0).abs() < 0.3, "{:?}", best.at);
        assert!((best.key - 3.0).abs() < 0.01 && (best.tempo - 1.0).abs() < 0.05, "{} {}", best.key, best.tempo);
        Ok(())
    }
}
