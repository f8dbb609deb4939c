use std::collections::BTreeSet;

use super::dsp::midi_to_hz;
use super::*;

fn small() -> Options {
    Options { singers: 3, seconds: 3.0, tunes: vec!["Twinkle".into(), "Augustin".into()], ..Options::default() }
}

/// The period of strongest autocorrelation among those of 60 to 2 000 Hz, as a frequency, and the correlation there.
fn pitch_of(frame: &[f32], rate: f64) -> (f64, f64) {
    let mean = frame.iter().sum::<f32>() / frame.len() as f32;
    let x: Vec<f64> = frame.iter().map(|v| f64::from(v - mean)).collect();
    let score = |lag: usize| {
        let (a, b) = (&x[..x.len() - lag], &x[lag..]);
        let dot = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(u, v)| u * v).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
    };
    let lags = (rate / 2000.0) as usize..(rate / 60.0) as usize;
    let scores: Vec<f64> = lags.clone().map(score).collect();
    let best = scores.iter().copied().fold(f64::MIN, f64::max);
    // The first peak nearly as high as the highest: the others are its multiples.
    let at = (1..scores.len() - 1)
        .find(|&i| scores[i] > 0.93 * best && scores[i] >= scores[i - 1] && scores[i] >= scores[i + 1])
        .unwrap_or(0);
    let (l, m, r) = (scores[at.saturating_sub(1)], scores[at], scores[at + 1]);
    let bend = 0.5 * (l - r) / (l - 2.0 * m + r).min(-1e-12);
    (rate / (lags.start as f64 + at as f64 + bend), best)
}

#[test]
fn same_seed_same_bytes_on_any_number_of_threads() {
    let base = tempfile::tempdir().unwrap();
    let options = small();
    let read = |folder: &Path| -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .map(|f| (f.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(f).unwrap()))
            .collect()
    };
    let make = |name: &str, threads: usize, options: &Options| {
        let out = base.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let summary = pool.install(|| write(&out, options, false)).unwrap();
        (summary, read(&out))
    };
    let (summary, one) = make("one", 1, &options);
    let (_, three) = make("three", 3, &options);
    assert!(one == three, "threads change the bytes");
    assert_eq!((summary.clips, summary.whistles, summary.tunes.len()), (6, 2, 2));
    assert_eq!(summary.bytes, one.iter().map(|(_, b)| b.len() as u64).sum::<u64>());
    let (_, other) = make("other", 2, &Options { seed: 2, ..options.clone() });
    assert!(one.iter().zip(&other).all(|(a, b)| a.0 == b.0 && a.1 != b.1), "another seed must change every clip");
    // Fewer tunes and people: the same clips.
    let (_, fewer) = make("fewer", 2, &Options { singers: 2, tunes: vec!["augustin".into()], ..options });
    assert!(fewer.len() == 2 && fewer.iter().all(|f| one.contains(f)), "a clip depends on what else is made");
    // Nothing temporary is left behind.
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 4);
}

/// A number that a change of any sample of any of these clips changes: the same on every machine.
#[test]
fn samples_are_pinned() {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let options = small();
    for channels in clips(&plan(&options).unwrap(), &options).unwrap() {
        for x in channels.iter().flatten() {
            sum = (sum ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(sum, PINNED, "the synthesiser's samples have changed: if that was meant, pin {sum:#018x}");
}

const PINNED: u64 = 0x54ca_6ec8_4f09_3125;

#[test]
fn fingerprints_tell_what_sounds_different() {
    let options = small();
    let all = |options: &Options| fingerprint(options).unwrap();
    let known = all(&options);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| all(&options)), known);
    }
    let others = [
        Options { seed: 2, ..options.clone() },
        Options { singers: 4, ..options.clone() },
        Options { first_person: 2, ..options.clone() },
        Options { tunes: vec!["Twinkle".into()], ..options.clone() },
        Options { takes: 2, ..options.clone() },
        Options { styles: Styles::Only(Style::Hum), ..options.clone() },
        Options { seconds: 3.1, ..options.clone() },
        Options { rate: 8_001, ..options.clone() },
        Options { channels: Channels::Mono, ..options.clone() },
        Options { anywhere: 0.2, ..options.clone() },
    ];
    for other in &others {
        assert_ne!(all(other), known, "{other:?}");
    }
    assert!(fingerprint(&Options { rate: 1, ..options.clone() }).is_err());
    // A tune in which any one note is another.
    let tune = tunes::find("Twinkle").unwrap();
    let before = fingerprint_of_sound(&[tune], &options);
    for at in [0, tune.notes.len() - 1] {
        let mut changed = tune.clone();
        changed.notes[at].beats *= 1.01;
        assert_ne!(fingerprint_of_sound(&[&changed], &options), before, "note {at}");
    }
}

#[test]
fn names_are_the_mlend_way() {
    let plans = plan(&Options { takes: 3, ..Options::default() }).unwrap();
    assert_eq!(plans.len(), 100 * 12 * 3);
    let names: BTreeSet<String> = plans.iter().map(Plan::file_name).collect();
    assert_eq!(names.len(), plans.len(), "two clips share a name");
    for name in ["S1_hum_1_Twinkle.wav", "S24_hum_2_YankeeDoodle.wav", "S3_whistle_1_Augustin.wav"] {
        assert!(names.contains(name), "{name} is missing");
    }
    assert_eq!(plans.iter().filter(|p| p.style == Style::Whistle).count(), plans.len() / 3);
    // With one take each, too, a third of every tune and of every person is whistled.
    let plans = plan(&Options::default()).unwrap();
    for tune in tunes().iter().take(12) {
        let whistled = plans.iter().filter(|p| p.tune.name == tune.name && p.style == Style::Whistle).count();
        assert!((33..=34).contains(&whistled), "{}", tune.name);
    }
}

#[test]
fn a_voice_sounds_at_the_pitch_of_its_performance() {
    let rate = 8000.0;
    let (mut frames, mut right) = (0, 0);
    for person in 0..12 {
        for style in [Style::Hum, Style::Whistle] {
            let singer = Singer::new(5, person);
            let mut dice = Dice::new(77, [5, person as u64, 0]);
            let p = singer::perform(&tunes()[person % 8], &singer, style, 0.3, 6.0, 0.005, &mut dice);
            let dry = match style {
                Style::Hum => voice::sing(&p, &singer, rate, 40, 48_000, &mut dice),
                Style::Whistle => whistle::whistle(&p, &singer, rate, 40, 48_000, &mut dice),
            };
            for note in p.notes.iter().filter(|n| n.end - n.start > 0.25 && n.end < 5.9) {
                let step = (0.5 * (note.start + note.end) / 0.005) as usize;
                let frame: Vec<f32> = dry[step * 40 - 320..step * 40 + 320].iter().map(|&x| x as f32).collect();
                let (hz, clarity) = pitch_of(&frame, rate);
                frames += 1;
                right += usize::from(clarity > 0.7 && (hz / midi_to_hz(p.pitch[step]) - 1.0).abs() < 0.03);
            }
        }
    }
    assert!(frames > 150, "only {frames} notes were long enough");
    assert!(right * 100 >= frames * 93, "{right} of {frames} notes sound at their pitch");
}

#[test]
fn a_faultless_singer_sings_the_tune() {
    let mut singer = Singer::new(1, 1);
    (singer.inaccuracy, singer.drift, singer.wrong_notes, singer.key_changes) = (0.0, 0.0, 0.0, 0.0);
    singer.interval_scale = 1.0;
    for tune in tunes() {
        let p = singer::perform(tune, &singer, Style::Hum, 0.0, 6.0, 0.005, &mut Dice::new(4, [0; 3]));
        let semitones: Vec<i32> = tune.notes.iter().filter_map(|n| n.semitone).collect();
        for (i, pair) in p.notes.windows(2).enumerate().take(semitones.len() - 1) {
            let sung = pair[1].midi - pair[0].midi;
            assert!((sung - f64::from(semitones[i + 1] - semitones[i])).abs() < 1e-9, "{} note {i}", tune.name);
        }
    }
}

#[test]
fn whistles_are_high_and_pure_and_hums_are_not() {
    let options = Options { channels: Channels::Mono, ..Options::default() };
    // Energy above 600 Hz against all energy, from first differences of a signal at 8 kHz: no transform needed for so coarse a question.
    let brightness = |x: &[f32]| {
        let mut high: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let all = dsp::rms(&high);
        dsp::Biquad::high_pass(600.0, 0.7, 8000.0).run(&mut high);
        dsp::rms(&high) / all
    };
    for person in 1..9 {
        let singer = Singer::new(1, person);
        let whistle = clip(&tunes()[0], &singer, Style::Whistle, 1, &options).unwrap();
        let hum = clip(&tunes()[0], &singer, Style::Hum, 1, &options).unwrap();
        assert_eq!((whistle.len(), whistle[0].len(), hum[0].len()), (1, 64_000, 64_000));
        assert!(brightness(&whistle[0]) > 0.7, "whistle of person {person}: {}", brightness(&whistle[0]));
        let (w, h) = (brightness(&whistle[0]), brightness(&hum[0]));
        assert!(w > h, "person {person}: whistle {w}, hum {h}");
        for x in whistle[0].iter().chain(&hum[0]) {
            assert!(x.is_finite() && x.abs() <= 1.0);
        }
    }
}

#[test]
fn rates_lengths_and_channels() {
    for rate in [4_000, 8_000, 11_025, 22_050, 44_100] {
        let options = Options { rate, seconds: 1.5, channels: Channels::Stereo, ..Options::default() };
        for style in [Style::Hum, Style::Whistle] {
            let made = clip(&tunes()[1], &Singer::new(1, 2), style, 1, &options).unwrap();
            assert_eq!(made.len(), 2);
            assert!(made.iter().all(|c| c.len() == (1.5 * f64::from(rate)).round() as usize));
            assert_ne!(made[0], made[1], "both channels are the same");
            assert!(made[0].iter().any(|x| x.abs() > 0.005), "silence");
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let refused = |options: Options, option: &str| match plan(&options) {
        Err(Error::Usage { option: named, .. }) => assert_eq!(named, option),
        other => panic!("{option}: {:?}", other.map(|p| p.len())),
    };
    refused(Options { singers: 0, ..small() }, "singers");
    refused(Options { takes: 0, ..small() }, "takes");
    refused(Options { rate: 100, ..small() }, "rate");
    refused(Options { seconds: f64::NAN, ..small() }, "seconds");
    refused(Options { seconds: 0.0, ..small() }, "seconds");
    refused(Options { anywhere: 1.5, ..small() }, "anywhere");
    refused(Options { tunes: vec!["Hakuna".into()], ..small() }, "tunes");
    refused(Options { tunes: vec!["Twinkle".into(), "twinkle".into()], ..small() }, "tunes");
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("precious"), "data").unwrap();
    let message = write(base.path(), &small(), false).unwrap_err().to_string();
    assert!(message.contains("not empty"), "{message}");
    assert_eq!(std::fs::read(base.path().join("precious")).unwrap(), b"data");
    let file = base.path().join("precious");
    assert!(write(&file, &small(), false).unwrap_err().to_string().contains("no folder"));
    // An empty folder is as good as none.
    let empty = base.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(write(&empty, &small(), false).unwrap().clips, 6);
}
