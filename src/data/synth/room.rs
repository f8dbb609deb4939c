//! From the mouth to the file: the room, the noises in it, the microphone and the recorder.

use super::dsp::{Biquad, Dice, db, exp2, rms, sin_turns};

/// Turns a dry voice into a recording with one channel per entry of the result, samples in [-1, 1]. `d` is drawn from in a fixed order, so
/// that the same dice give the same recording.
pub fn record(dry: Vec<f64>, rate: f64, stereo: bool, d: &mut Dice) -> Vec<Vec<f64>> {
    let mut voice = dry;
    let loudness = rms(&voice).max(1e-9);
    for x in &mut voice {
        *x /= loudness;
    }
    let reverberant = reverberate(&voice, rate, d);
    let microphone = Microphone::draw(rate, d);
    let background = Background::draw(d);
    let level = db(d.range(-34.0, -8.0));
    // A cheap recorder keeps 8 bits; one turned up too far cuts off the peaks.
    let bits = if d.chance(0.35) { 8 } else { 16 };
    let overdrive = if d.chance(0.15) { d.range(1.5, 5.0) } else { 1.0 };
    let channels = if stereo { 2 } else { 1 };
    let (lean, delay) = (d.range(-3.0, 3.0), d.below((0.0006 * rate) as usize + 1));
    let mut result = Vec::with_capacity(channels);
    for channel in 0..channels {
        let mut signal = background.noise(voice.len(), rate, d);
        let gain = if channel == 1 { db(lean) } else { 1.0 };
        let late = if channel == 1 { delay } else { 0 };
        for (s, v) in signal[late..].iter_mut().zip(&reverberant) {
            *s += gain * v;
        }
        microphone.run(&mut signal);
        let peak = signal.iter().fold(1e-9f64, |m, x| m.max(x.abs()));
        // Never louder than full scale unless it is meant to clip.
        let scale = level.min(0.98 / peak) * overdrive.max(1.0);
        let scale = if overdrive > 1.0 { (0.98 / peak) * overdrive } else { scale };
        let half = exp2(f64::from(bits - 1));
        for s in &mut signal {
            let x = (*s * scale).clamp(-1.0, 1.0 - 1.0 / half);
            *s = (x * half).round() / half;
        }
        result.push(signal);
    }
    result
}

/// What a telephone makes of a recording, in place: the band from 300 to 3 400 Hz, a level that follows the voice, eight bits by the
/// mu-law of ITU-T G.711, and now and then a packet of 20 ms that is lost, for which the one before is heard again, softer.
pub fn phone(signal: &mut [f64], rate: f64, d: &mut Dice) {
    for filter in
        [Biquad::high_pass(d.range(200.0, 350.0), 0.7, rate), Biquad::low_pass(d.range(2600.0, 3400.0), 0.7, rate)]
    {
        filter.run(signal);
    }
    let (fall, strength) = (exp2(-1.0 / (d.range(0.1, 0.5) * rate)), d.range(0.0, 0.7));
    let peak = signal.iter().fold(1e-9f64, |m, x| m.max(x.abs()));
    let mut level = 0.3 * peak;
    for x in signal.iter_mut() {
        level = x.abs().max(fall * level).max(0.02 * peak);
        *x *= 1.0 + strength * (0.3 * peak / level - 1.0).clamp(-0.7, 4.0);
    }
    let peak = signal.iter().fold(1e-9f64, |m, x| m.max(x.abs()));
    for x in signal.iter_mut() {
        // Chord by chord, as G.711 does it: the step doubles with every doubling of the size.
        let size = (x.abs() / peak * 8158.0 + 33.0).min(8191.0);
        let mut step = 2.0;
        while size >= 32.0 * step {
            step *= 2.0;
        }
        let coarse = ((size / step).floor() + 0.5) * step - 33.0;
        *x = peak * (coarse / 8158.0).clamp(0.0, 1.0) * if *x < 0.0 { -1.0 } else { 1.0 };
    }
    let packet = (0.02 * rate) as usize;
    let lost = if d.chance(0.4) { d.range(0.0, 0.05) } else { 0.0 };
    let mut at = packet;
    while lost > 0.0 && at + packet <= signal.len() {
        if d.chance(lost) {
            for i in at..at + packet {
                signal[i] = 0.6 * signal[i - packet];
            }
        }
        at += packet;
    }
}

/// A few echoes and a tail: the direct sound first, at its own level.
fn reverberate(voice: &[f64], rate: f64, d: &mut Dice) -> Vec<f64> {
    let mut out = voice.to_vec();
    let wet = db(d.range(-30.0, -8.0));
    for _ in 0..5 {
        let delay = (d.range(0.003, 0.045) * rate) as usize;
        let gain = wet * d.range(-1.0, 1.0);
        for (o, v) in out.iter_mut().skip(delay).zip(voice) {
            *o += gain * v;
        }
    }
    // Feedback combs in parallel (M. Schroeder, "Natural sounding artificial reverberation", 1962), each losing 60 dB in `decay` seconds.
    let decay = d.range(0.1, 0.7);
    for _ in 0..4 {
        let delay = ((d.range(0.023, 0.061) * rate) as usize).max(1);
        let feedback = db(-60.0 * delay as f64 / rate / decay);
        let mut line = vec![0.0; delay];
        let mut dull = 0.0;
        let mut at = 0;
        for (o, v) in out.iter_mut().zip(voice) {
            let echo = line[at];
            // Walls swallow the high end first.
            dull += 0.6 * (echo - dull);
            line[at] = v + feedback * dull;
            at = (at + 1) % delay;
            *o += 0.5 * wet * echo;
        }
    }
    out
}

struct Microphone(Vec<Biquad>);

impl Microphone {
    fn draw(rate: f64, d: &mut Dice) -> Self {
        let mut chain = vec![
            Biquad::high_pass(d.range(40.0, 280.0), d.range(0.5, 0.9), rate),
            Biquad::low_pass(d.range(2000.0, 9000.0), d.range(0.5, 0.9), rate),
        ];
        for _ in 0..2 {
            chain.push(Biquad::peak(300.0 * exp2(d.range(0.0, 3.3)), d.range(0.5, 2.0), d.normal(0.0, 4.0), rate));
        }
        Self(chain)
    }

    fn run(&self, signal: &mut [f64]) {
        for filter in &self.0 {
            filter.run(signal);
        }
    }
}

/// What is heard besides the voice; levels in decibels against it.
struct Background {
    hiss: f64,
    rumble: f64,
    mains: f64,
    mains_hz: f64,
    knocks: f64,
}

impl Background {
    fn draw(d: &mut Dice) -> Self {
        Self {
            hiss: db(d.range(-60.0, -18.0)),
            rumble: db(d.range(-55.0, -15.0)),
            mains: if d.chance(0.3) { db(d.range(-50.0, -20.0)) } else { 0.0 },
            mains_hz: if d.chance(0.6) { 50.0 } else { 60.0 },
            knocks: if d.chance(0.2) { d.range(0.1, 0.6) } else { 0.0 },
        }
    }

    fn noise(&self, samples: usize, rate: f64, d: &mut Dice) -> Vec<f64> {
        let mut slow = 0.0;
        let corner = (d.range(100.0, 500.0) / rate).min(0.5);
        let make_up = (2.0 / corner).sqrt();
        let mut knock = 0.0;
        let fall = exp2(-1.0 / (0.004 * rate));
        let phase = d.unit();
        let each = |i: usize| {
            slow += corner * (d.noise() - slow);
            if self.knocks > 0.0 && d.chance(self.knocks / rate) {
                knock = d.range(0.5, 4.0);
            }
            knock *= fall;
            let t = phase + self.mains_hz * i as f64 / rate;
            let mains =
                if self.mains > 0.0 { sin_turns(t) + 0.5 * sin_turns(2.0 * t) + 0.4 * sin_turns(3.0 * t) } else { 0.0 };
            let n = d.noise();
            self.hiss * n + self.rumble * make_up * slow + self.mains * mains + knock * n
        };
        (0..samples).map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_keeps_the_middle_and_its_bits() {
        let rate = 8000.0;
        let tone = |hz: f64| -> Vec<f64> { (0..8000).map(|i| 0.5 * sin_turns(hz * f64::from(i) / rate)).collect() };
        let heard = |hz: f64| {
            let mut signal = tone(hz);
            for (x, y) in signal.iter_mut().zip(tone(1000.0)) {
                *x = 0.1 * *x + y;
            }
            phone(&mut signal, rate, &mut Dice::new(9, [1, 2, 3]));
            assert!(signal.iter().all(|x| x.is_finite() && x.abs() < 4.0));
            let by = tone(hz);
            signal.iter().zip(&by).map(|(a, b)| a * b).sum::<f64>().abs() / by.iter().map(|b| b * b).sum::<f64>()
        };
        assert!(heard(60.0) < 0.2 * heard(900.0), "{} {}", heard(60.0), heard(900.0));
        let mut silence = vec![0.0; 4000];
        phone(&mut silence, rate, &mut Dice::new(9, [1, 2, 3]));
        assert!(silence.iter().all(|x| x.abs() < 1e-9));
    }
}
