//! The voice: a sum of harmonics under the formants of a vowel or a hum, with breath and consonants.
//!
//! Additive synthesis needs no filter for the tone and cannot alias. Every sine of a step comes from one sine and one cosine by the
//! Chebyshev recurrence `sin((k+1)x) = 2 cos(x) sin(kx) - sin((k-1)x)`, so that a harmonic costs two multiplications a sample.

use super::dsp::{Biquad, Dice, cos_turns, exp2, midi_to_hz, sin_turns};
use super::singer::{Onset, Performance, Singer};

/// The vowel index that stands for closed lips.
pub const HUM: usize = VOWELS.len();

/// First four formants of an adult's a, e, i, o, u, and the neutral vowel, in Hz. After G. Peterson and H. Barney, "Control methods used
/// in a study of the vowels" (1952), rounded.
const VOWELS: [[f64; 4]; 6] = [
    [750.0, 1150.0, 2450.0, 3400.0],
    [520.0, 1850.0, 2500.0, 3500.0],
    [290.0, 2250.0, 2950.0, 3600.0],
    [500.0, 880.0, 2450.0, 3400.0],
    [320.0, 850.0, 2300.0, 3300.0],
    [540.0, 1450.0, 2450.0, 3450.0],
];

/// The nose and throat behind closed lips.
const MURMUR: [f64; 4] = [260.0, 1050.0, 2250.0, 3200.0];

/// Half-power bandwidths of the formants.
const BANDWIDTHS: [f64; 4] = [80.0, 100.0, 140.0, 200.0];

/// No more harmonics than this, whatever the sample rate: above 6 kHz there is little in a voice but breath.
const MAX_HARMONICS: usize = 64;

/// What the mouth does at one control step.
#[derive(Clone, Copy)]
struct Mouth {
    formants: [f64; 4],
    /// 1 when the sound leaves through the nose alone.
    nasal: f64,
    /// On the voice's amplitude.
    open: f64,
    /// Amplitude of frication.
    hiss: f64,
}

/// Sings a performance: one sample per `1 / rate` seconds, `block` samples per control step, amplitude about 1.
pub fn sing(
    performance: &Performance,
    singer: &Singer,
    rate: f64,
    block: usize,
    samples: usize,
    d: &mut Dice,
) -> Vec<f64> {
    let dt = block as f64 / rate;
    let mouths = mouths(performance, singer, dt, d);
    let mut out = Vec::with_capacity(samples + block);
    let mut phase = d.unit();
    let mut before = [0.0; MAX_HARMONICS];
    let mut breath = Biquad::band_pass(1500.0 * singer.tract, 0.6, rate);
    let mut hiss = Biquad::high_pass(d.range(2000.0, 3200.0), 0.8, rate);
    let top = (0.48 * rate).min(6000.0);
    let mut was = (midi_to_hz(performance.pitch[0]), 0.0, 0.0);
    for (step, mouth) in mouths.iter().enumerate() {
        if out.len() >= samples {
            break;
        }
        let hz = midi_to_hz(performance.pitch[step]);
        let voiced = performance.level[step] * mouth.open;
        let count = ((top / hz.max(was.0)) as usize).clamp(1, MAX_HARMONICS);
        let mut after = [0.0; MAX_HARMONICS];
        for (k, a) in after.iter_mut().enumerate().take(count) {
            let n = (k + 1) as f64;
            // The lowest harmonics of the glottal pulse are weaker than a pure power law says.
            *a = voiced * exp2(-singer.tilt * LOG2[k]) * transfer(mouth, hz * n);
        }
        let aspiration = performance.level[step].sqrt() * singer.breathiness * 3.0;
        let slope = 1.0 / block as f64;
        for j in 0..block {
            let part = j as f64 * slope;
            phase += (was.0 + (hz - was.0) * part) / rate;
            phase -= phase.floor();
            let (mut low, mut sine) = (0.0, sin_turns(phase));
            let twice = 2.0 * cos_turns(phase);
            let mut tone = 0.0;
            for (a, b) in before.iter().zip(&after).take(count) {
                tone += (a + (b - a) * part) * sine;
                (low, sine) = (sine, twice * sine - low);
            }
            let air = was.1 + (aspiration - was.1) * part;
            let sharp = was.2 + (mouth.hiss - was.2) * part;
            let noise = d.noise();
            out.push(tone + air * breath.step(noise) + sharp * hiss.step(noise));
        }
        before = after;
        was = (hz, aspiration, mouth.hiss);
    }
    out.resize(samples, 0.0);
    out
}

/// Gain of the vocal tract at `hz`: resonators in cascade (G. Fant, "Acoustic theory of speech production", 1960), each 1 at 0 Hz.
fn transfer(mouth: &Mouth, hz: f64) -> f64 {
    let square = hz * hz;
    let mut power = 1.0;
    for (f, b) in mouth.formants.iter().zip(BANDWIDTHS) {
        let (f2, bandwidth) = (f * f, b * (1.0 + 2.0 * mouth.nasal));
        let detune = f2 - square;
        power *= f2 * f2 / (detune * detune + square * bandwidth * bandwidth);
    }
    // The formants above the fourth lift what is near it; closed lips take away what is above the murmur.
    let lift = 1.0 + square / (3500.0 * 3500.0);
    let lips = 1.0 + mouth.nasal * square / (500.0 * 500.0);
    power.sqrt() * lift / lips
}

/// Binary logarithms of 1, 2, 3, ...: a table, since the library's differ from system to system in the last bit.
const LOG2: [f64; MAX_HARMONICS] = log2_table();

/// `log2 n = (2 / ln 2) artanh((n - 1) / (n + 1))` for each n, after halving n until it is below 2.
const fn log2_table() -> [f64; MAX_HARMONICS] {
    let mut table = [0.0; MAX_HARMONICS];
    let mut n = 0;
    while n < MAX_HARMONICS {
        let mut x = (n + 1) as f64;
        let mut whole = 0.0;
        while x >= 2.0 {
            x /= 2.0;
            whole += 1.0;
        }
        let z = (x - 1.0) / (x + 1.0);
        let (mut power, mut sum, mut odd) = (z, 0.0, 1.0);
        while odd < 60.0 {
            sum += power / odd;
            power *= z * z;
            odd += 2.0;
        }
        table[n] = whole + 2.0 * sum / std::f64::consts::LN_2;
        n += 1;
    }
    table
}

/// The mouth at every control step, moving from sound to sound as fast as a tongue can.
fn mouths(performance: &Performance, singer: &Singer, dt: f64, d: &mut Dice) -> Vec<Mouth> {
    let notes = &performance.notes;
    let steps = performance.pitch.len();
    let accent: [f64; 4] = std::array::from_fn(|_| exp2(d.normal(0.0, 0.06)));
    let shape = |vowel: usize| -> ([f64; 4], f64) {
        let (table, nasal) = if vowel == HUM { (&MURMUR, 1.0) } else { (&VOWELS[vowel], 0.0) };
        (std::array::from_fn(|i| table[i] * singer.tract * accent[i]), nasal)
    };
    let glide = 1.0 - exp2(-dt / 0.015);
    let jump = 1.0 - exp2(-dt / 0.004);
    let (mut formants, mut nasal) = shape(notes.first().map_or(HUM, |n| n.vowel));
    let (mut open, mut hiss) = (1.0, 0.0);
    // How long each onset lasts before the vowel, drawn per note: consonants take their time from the note before.
    let lengths: Vec<f64> = notes.iter().map(|n| onset_length(n.onset, d)).collect();
    let mut at = 0;
    let mut result = Vec::with_capacity(steps);
    for i in 0..steps {
        let time = i as f64 * dt;
        while at + 1 < notes.len() && notes[at + 1].start - lengths[at + 1] <= time {
            at += 1;
        }
        if let Some(note) = notes.get(at) {
            // A diphthong turns halfway; a final n or ng takes the last third.
            let turn = if note.ending == HUM { 0.7 } else { 0.5 };
            let turned = time > note.start + turn * (note.end - note.start);
            let vowel = shape(if turned { note.ending } else { note.vowel });
            let (mut target, mut nose, mut gate, mut noise) = (vowel.0, vowel.1, 1.0, 0.0);
            if time < note.start && time >= note.start - lengths[at] {
                match note.onset {
                    Onset::Open => {}
                    Onset::Glide => {
                        target[0] = 330.0 * singer.tract;
                        gate = 0.45;
                    }
                    Onset::Nasal => {
                        (target, nose) = shape(HUM);
                        gate = 0.6;
                    }
                    Onset::Stop => {
                        target[0] = 220.0 * singer.tract;
                        gate = 0.06;
                    }
                    Onset::Plosive => {
                        gate = 0.0;
                        if note.start - time < 0.3 * lengths[at] {
                            noise = 0.25;
                        }
                    }
                    Onset::Fricative => {
                        gate = 0.0;
                        noise = 0.12;
                    }
                }
            }
            for (f, t) in formants.iter_mut().zip(target) {
                *f += glide * (t - *f);
            }
            nasal += glide * (nose - nasal);
            open += jump * (gate - open);
            hiss += jump * (noise - hiss);
        }
        result.push(Mouth { formants, nasal, open, hiss });
    }
    result
}

fn onset_length(onset: Onset, d: &mut Dice) -> f64 {
    let (low, high) = match onset {
        Onset::Open => return 0.0,
        Onset::Glide => (0.04, 0.09),
        Onset::Nasal => (0.04, 0.1),
        Onset::Stop => (0.02, 0.06),
        Onset::Plosive => (0.05, 0.1),
        Onset::Fricative => (0.06, 0.14),
    };
    d.range(low, high)
}
