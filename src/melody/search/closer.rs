//! A closer look at the songs that fit best, for those who cannot carry a tune: here the key moves along the way, so that a leap that is
//! sung wrong counts once, and not for as long as the singer stays in the key that they have slipped into.

use super::compare::{Along, Fit, cost, held, path};
use super::query::STEP;

/// What each of [`Fit::measures`] counts, and what each of the measures here does, in their order; fitted to recordings as
/// [`super::compare`] says, together.
const COUNTS: ([f64; 6], [f64; 4]) = ([5.7, 4.4, 1.65, 3.0, 2.2, 1.06], [4.3, 10.2, 4.8, 4.2]);

/// What a semitone counts by which the key moves: as much as to be a semitone off for so many seconds.
const MOVED: f64 = 0.25;

/// How badly a query fits a song near the way that was found; the difference of two songs' is the logarithm of how much likelier the
/// one was meant.
pub(super) fn distance(fit: &Fit<'_>) -> f64 {
    let best = on_a_way_of_its_own(fit);
    let here = [f64::from(best.difference), f64::from(best.moved), best.held, f64::from(astray(&fit.sung))];
    let sum = |counts: &[f64], measures: &[f64]| counts.iter().zip(measures).map(|(c, m)| c * m).sum::<f64>();
    sum(&COUNTS.0, &fit.measures) + sum(&COUNTS.1, &here)
}

/// A way through a query and a song on which the key moves.
struct Moving {
    /// Mean difference in semitones from the key of the moment.
    difference: f32,
    /// By how many semitones the key moves from one value to the next, on average.
    moved: f32,
    /// The share of values at which the song is held or hurried.
    held: f64,
}

/// The way that costs least where the key may move: keys for a way and ways for the keys, in turn, while that gains.
fn on_a_way_of_its_own(fit: &Fit<'_>) -> Moving {
    const ROUNDS: usize = 3;
    const HELD: f32 = 0.15;
    let (query, weights) = (fit.sung.query, &fit.sung.weights);
    let apart = |song: &[f32]| query.iter().zip(song).map(|(q, s)| q - s).collect::<Vec<f32>>();
    let mut keys = moving_key(&apart(&fit.sung.song), weights, fit.key).0;
    let mut best: Option<(f32, Moving)> = None;
    for _ in 0..ROUNDS {
        let in_key: Vec<f32> = query.iter().zip(&keys).map(|(q, key)| q - key).collect();
        let (_, along) = path(&in_key, &fit.stretched, 0.0);
        let song: Vec<f32> = along.iter().map(|&j| fit.stretched[j]).collect();
        let (new, difference, moved) = moving_key(&apart(&song), weights, fit.key);
        let held = held(&along);
        let price = difference + (MOVED / STEP) as f32 * moved + HELD * held as f32;
        if best.as_ref().is_some_and(|(least, _)| price >= *least) {
            break;
        }
        best = Some((price, Moving { difference, moved, held }));
        keys = new;
    }
    best.map_or(Moving { difference: 0.0, moved: 0.0, held: 0.0 }, |(_, best)| best)
}

/// The key of each moment where differences from it and its movements together cost least (dynamic programming over half semitones
/// around `key`); the mean difference that is left, and the mean movement.
fn moving_key(differences: &[f32], weights: &[f32], key: f32) -> (Vec<f32>, f32, f32) {
    const KEYS: usize = 33;
    const GRID: f32 = 0.5;
    let step = (MOVED / STEP) as f32 * GRID;
    let at = |k: usize| key + (k as f32 - (KEYS / 2) as f32) * GRID;
    let mut costs = [0.0_f32; KEYS];
    let mut from: Vec<[u8; KEYS]> = Vec::with_capacity(differences.len());
    for (&difference, &weight) in differences.iter().zip(weights) {
        let mut came: [u8; KEYS] = std::array::from_fn(|k| k as u8);
        for k in 1..KEYS {
            if costs[k - 1] + step < costs[k] {
                (costs[k], came[k]) = (costs[k - 1] + step, came[k - 1]);
            }
        }
        for k in (0..KEYS - 1).rev() {
            if costs[k + 1] + step < costs[k] {
                (costs[k], came[k]) = (costs[k + 1] + step, came[k + 1]);
            }
        }
        for (k, sum) in costs.iter_mut().enumerate() {
            *sum += weight * cost(difference - at(k));
        }
        from.push(came);
    }
    let mut k = (0..KEYS).fold(0, |a, b| if costs[b] < costs[a] { b } else { a });
    let mut keys = vec![0.0; differences.len()];
    for (key, came) in keys.iter_mut().zip(&from).rev() {
        *key = at(k);
        k = usize::from(came[k]);
    }
    let left = differences.iter().zip(weights).zip(&keys).map(|((d, weight), key)| weight * cost(d - key)).sum::<f32>();
    let moved = keys.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f32>();
    (keys, left / weights.iter().sum::<f32>(), moved / differences.len() as f32)
}

/// How often what is sung goes up, goes down or stays, within 0.6 s, where the song does not: 0 for never, 2 for always the other way.
fn astray(sung: &Along<'_>) -> f32 {
    const LAG: usize = 12;
    /// Semitones that are no movement.
    const STILL: f32 = 0.7;
    let way = |from: f32, to: f32| if (to - from).abs() < STILL { 0.0 } else { (to - from).signum() };
    let (mut sum, mut total) = (0.0, 1e-6);
    for i in LAG..sung.query.len() {
        let weight = sung.weights[i].min(sung.weights[i - LAG]);
        let (query, song) = (way(sung.query[i - LAG], sung.query[i]), way(sung.song[i - LAG], sung.song[i]));
        sum += weight * (query - song).abs();
        total += weight;
    }
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_slips_into_another_key_pays_once() {
        // A semitone up after a second, and two more after two.
        let differences: Vec<f32> = (0..60).map(|i| 5.0 + [0.0, 1.0, 3.0][i / 20]).collect();
        let (keys, difference, moved) = moving_key(&differences, &[1.0; 60], 5.0);
        assert_eq!((keys[0], keys[30], keys[59]), (5.0, 6.0, 8.0));
        assert!(difference < 1e-6 && (moved - 3.0 / 60.0).abs() < 1e-6, "{difference} {moved}");
    }

    #[test]
    fn a_short_slip_is_no_key() {
        let mut differences = vec![-2.0; 60];
        differences[30..33].fill(-4.0);
        let (keys, difference, moved) = moving_key(&differences, &[1.0; 60], -2.0);
        assert!(keys.iter().all(|key| *key == -2.0) && moved == 0.0);
        assert!((difference - 6.0 / 60.0).abs() < 1e-6, "{difference}");
    }
}
