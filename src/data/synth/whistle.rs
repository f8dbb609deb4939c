//! The whistle: a nearly pure tone in a stream of air.

use super::dsp::{Biquad, Dice, db, midi_to_hz, sin_turns};
use super::singer::{Performance, Singer};

/// Whistles a performance: one sample per `1 / rate` seconds, `block` samples per control step, amplitude about 1.
///
/// The tone has a faint second harmonic. Its air is heard twice: as noise around the pitch, since the mouth resonates there, and as a
/// hiss over the whole band.
pub fn whistle(
    performance: &Performance,
    singer: &Singer,
    rate: f64,
    block: usize,
    samples: usize,
    d: &mut Dice,
) -> Vec<f64> {
    let overtone = db(d.range(-48.0, -26.0));
    let near = 6.0 * db(singer.whistle_noise_db);
    let far = db(singer.whistle_noise_db - d.range(6.0, 16.0));
    let quality = d.range(8.0, 25.0);
    let mut mouth = Biquad::band_pass(1000.0, quality, rate);
    let mut phase = d.unit();
    let mut was = (midi_to_hz(performance.pitch[0]), 0.0);
    let mut flutter = 0.0;
    let mut out = Vec::with_capacity(samples + block);
    for (&midi, &level) in performance.pitch.iter().zip(&performance.level) {
        if out.len() >= samples {
            break;
        }
        // Above its range the lips give no tone; a tone near half the sample rate would alias.
        let hz = midi_to_hz(midi).min(0.45 * rate);
        flutter = 0.8 * flutter + d.normal(0.0, 0.04);
        let amplitude = level * (1.0 + flutter);
        mouth.retune(Biquad::band_pass(hz, quality, rate));
        for j in 0..block {
            let part = j as f64 / block as f64;
            let f = was.0 + (hz - was.0) * part;
            let a = was.1 + (amplitude - was.1) * part;
            phase += f / rate;
            phase -= phase.floor();
            let second = if 2.0 * f < 0.48 * rate { overtone * sin_turns(2.0 * phase) } else { 0.0 };
            let noise = d.noise();
            out.push(a * (sin_turns(phase) + second) + a.max(0.0).sqrt() * (near * mouth.step(noise) + far * noise));
        }
        was = (hz, amplitude);
    }
    out.resize(samples, 0.0);
    out
}
