//! Clips of no song, so that a network can learn what it does not know: the pieces of a clip in another order, each at a pitch
//! of its own, which is a tune that nobody sings by the same voice into the same microphone; noises; and silence.

use crate::data::draws::Stream;
use crate::data::synth::dsp::Biquad;
use std::f64::consts::TAU;

/// Of the strangers, the shares that are noise, and silence.
const NOISE: f64 = 0.15;
const SILENCE: f64 = 0.02;
/// Lengths of a piece in seconds.
const PIECE: [f64; 2] = [0.15, 0.8];
/// How far a piece goes up or down, and how far it slides meanwhile, in octaves.
const LEAP: f64 = 0.5;
const SLIDE: f64 = 0.15;
/// Seconds in which a piece sets in and ends, so that nothing clicks.
const EDGE: f64 = 0.006;

/// Makes a window of a clip into one of no song.
pub fn make(window: &mut [f32], sample_rate: u32, stream: &mut Stream) {
    // The first number said that this is to become a stranger.
    stream.unit();
    let kind = stream.unit();
    let rate = f64::from(sample_rate);
    if kind < SILENCE {
        window.fill(0.0);
    } else if kind < SILENCE + NOISE {
        noise(window, rate, stream);
    } else {
        shuffle(window, rate, stream);
    }
}

/// Noise of any colour, steady or swelling, or a steady tone in it.
fn noise(window: &mut [f32], rate: f64, stream: &mut Stream) {
    let (centre, width) = (stream.log_uniform(60.0, 0.45 * rate), stream.log_uniform(0.1, 3.0));
    let coloured = stream.chance(0.7);
    let mut filter = Biquad::band_pass(centre, width, rate);
    let (beat, depth) = (stream.log_uniform(0.1, 8.0) / rate, stream.unit() * f64::from(u8::from(stream.chance(0.5))));
    let tone = if stream.chance(0.3) { stream.log_uniform(60.0, 2000.0) / rate } else { 0.0 };
    let level = stream.log_uniform(1e-3, 0.3);
    for (i, x) in window.iter_mut().enumerate() {
        let white = 2.0 * stream.unit() - 1.0;
        let hiss = if coloured { filter.step(white) + 0.02 * white } else { white };
        let swell = 1.0 - depth * (0.5 + 0.5 * (TAU * beat * i as f64).sin());
        let hum = if tone > 0.0 { 2.0 * (TAU * tone * i as f64).sin() } else { 0.0 };
        *x = (level * (hiss * swell + hum)) as f32;
    }
}

/// Pieces of the window one after the other, each from anywhere, at a pitch of its own.
fn shuffle(window: &mut [f32], rate: f64, stream: &mut Stream) {
    let source = window.to_vec();
    let edge = EDGE * rate;
    let mut done = 0;
    while done < window.len() {
        let length = ((stream.uniform(PIECE[0], PIECE[1]) * rate) as usize).clamp(1, window.len() - done);
        let from = stream.unit() * source.len() as f64;
        let (leap, slide) = (stream.uniform(-LEAP, LEAP), stream.uniform(-SLIDE, SLIDE));
        let (mut at, mut speed) = (from, (leap - slide / 2.0).exp2());
        let faster = (slide / length as f64).exp2();
        for (i, x) in window[done..done + length].iter_mut().enumerate() {
            let whole = at as usize % source.len();
            let part = (at - at.floor()) as f32;
            let next = source[(whole + 1) % source.len()];
            let gain = ((i as f64).min((length - 1 - i) as f64) / edge).min(1.0) as f32;
            *x = gain * (source[whole] + (next - source[whole]) * part);
            at += speed;
            speed *= faster;
        }
        done += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws::Purpose;

    #[test]
    fn strangers_are_repeatable_finite_and_not_the_clip() {
        let clip: Vec<f32> = (0..64_000).map(|i| (0.3 * f64::from(i)).sin() as f32).collect();
        let stranger = |item| {
            let mut window = clip.clone();
            make(&mut window, 8000, &mut Stream::new(Purpose::Stranger, 1, 2, item));
            window
        };
        let mut silent = 0;
        for item in 0..200 {
            let window = stranger(item);
            assert!(window.iter().all(|x| x.is_finite() && x.abs() <= 2.0), "item {item}");
            assert_ne!(window, clip);
            silent += usize::from(window.iter().all(|&x| x == 0.0));
        }
        assert!((1..20).contains(&silent), "{silent} of 200 are silent");
        assert_eq!(stranger(5), stranger(5));
        // A window may be shorter than any piece.
        for length in 0..40 {
            make(&mut vec![0.5; length], 8000, &mut Stream::new(Purpose::Stranger, 1, 2, length as u64));
        }
    }
}
