//! The pitch tracker against sounds whose pitch is known, and `humdinger pitch`.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use humdinger::data::synth::dsp::Dice;
use humdinger::data::synth::{Singer, Style, singer, tunes, voice, whistle};
use humdinger::melody::notes::{SungNote, notes, tuning};
use humdinger::melody::pitch::{Contour, PitchOptions, PitchTracker};
use humdinger::melody::{hz_to_midi, midi::midi_file, midi_to_hz, note_name};
use program::{fail, succeed};
use std::path::Path;
use wav::write_wav;

fn track(samples: &[f32], rate: u32) -> Contour {
    PitchTracker::new(rate, PitchOptions::default()).unwrap().track(samples)
}

/// A tone with `overtones` harmonics whose pitch at each second is `midi`.
fn tone(rate: u32, seconds: f64, overtones: usize, midi: impl Fn(f64) -> f64) -> Vec<f32> {
    let (mut phase, rate) = (0.0, f64::from(rate));
    let sample = |i: usize| {
        phase += midi_to_hz(midi(i as f64 / rate)) / rate;
        let turn = std::f64::consts::TAU * phase;
        (0.3 * (1..=overtones).map(|h| (turn * h as f64).sin() / h as f64).sum::<f64>()) as f32
    };
    (0..(seconds * rate) as usize).map(sample).collect()
}

#[test]
fn tones_have_their_pitch_to_a_few_cents() {
    for rate in [8000, 11_025, 44_100] {
        for (midi, overtones) in [(40.0, 8), (57.3, 6), (69.0, 4), (76.5, 3), (88.0, 1), (98.0, 1)] {
            let contour = track(&tone(rate, 0.6, overtones, |_| midi), rate);
            assert!((60..=62).contains(&contour.frames.len()), "{}", contour.frames.len());
            for frame in &contour.frames[5..55] {
                let found = frame.midi().unwrap_or_else(|| panic!("no pitch in {midi} at {rate} Hz"));
                assert!((found - midi).abs() < 0.05, "{found} instead of {midi} at {rate} Hz");
            }
        }
    }
}

#[test]
fn a_vibrato_is_followed() {
    let midi = |t: f64| 60.0 + 0.5 * (std::f64::consts::TAU * 5.0 * t).sin();
    let contour = track(&tone(8000, 2.0, 5, midi), 8000);
    for (i, frame) in contour.frames.iter().enumerate().take(195).skip(5) {
        assert!((frame.midi().unwrap() - midi(i as f64 * 0.01)).abs() < 0.12, "frame {i}");
    }
    assert_eq!(notes(&contour).len(), 1);
}

#[test]
fn silence_noise_and_numbers_that_are_none_have_no_pitch() {
    let mut dice = Dice::new(7, [1, 2, 3]);
    let noise: Vec<f32> = (0..16_000).map(|_| dice.normal(0.0, 0.1) as f32).collect();
    let voiced = |samples: &[f32]| track(samples, 8000).frames.iter().filter(|frame| frame.hz.is_some()).count();
    assert!(voiced(&noise) <= 6, "{} of 200 frames of noise", voiced(&noise));
    for samples in [vec![0.0; 8000], vec![0.5; 8000], vec![f32::NAN; 8000], vec![f32::INFINITY; 100], vec![], vec![0.1]]
    {
        assert_eq!(voiced(&samples), 0, "{:?}", samples.first());
    }
}

#[test]
fn options_out_of_range_are_named() {
    for (name, options) in [
        ("floor", PitchOptions { floor: 5.0, ..Default::default() }),
        ("ceiling", PitchOptions { ceiling: 5000.0, ..Default::default() }),
        ("hop", PitchOptions { hop: f64::NAN, ..Default::default() }),
        ("jump", PitchOptions { jump: -1.0, ..Default::default() }),
    ] {
        let error = PitchTracker::new(8000, options).err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
    }
}

/// Share of the frames in the middle of loud notes whose pitch is found within half a semitone of the synthesiser's own.
fn share_found(style: Style) -> f64 {
    let (rate, block, seconds) = (8000.0, 40, 8.0);
    let (mut right, mut all) = (0, 0);
    for person in 1..=6 {
        let singer = Singer::new(5, person);
        let mut dice = Dice::new(9, [5, person as u64, 0]);
        let tune = &tunes()[person % tunes().len()];
        let performance = singer::perform(tune, &singer, style, 0.0, seconds, block as f64 / rate, &mut dice);
        let samples = match style {
            Style::Hum => voice::sing(&performance, &singer, rate, block, 64_000, &mut dice),
            Style::Whistle => whistle::whistle(&performance, &singer, rate, block, 64_000, &mut dice),
        };
        let samples: Vec<f32> = samples.into_iter().map(|x| x as f32).collect();
        let contour = track(&samples, 8000);
        for note in performance.notes.iter().filter(|note| note.end < seconds && note.end - note.start > 0.2) {
            for i in (100.0 * note.start + 8.0) as usize..(100.0 * note.end - 8.0) as usize {
                let truth = performance.pitch[i * 2];
                all += 1;
                right += usize::from(contour.frames[i].midi().is_some_and(|midi| (midi - truth).abs() < 0.5));
            }
        }
    }
    assert!(all > 1000, "{all}");
    right as f64 / all as f64
}

#[test]
fn synthetic_singers_are_followed() {
    let (hums, whistles) = (share_found(Style::Hum), share_found(Style::Whistle));
    println!("within half a semitone: hums {hums:.4}, whistles {whistles:.4}");
    assert!(hums > 0.97, "{hums}");
    assert!(whistles > 0.97, "{whistles}");
}

#[test]
fn a_scale_becomes_its_notes_and_a_midi_file() {
    // Thirty cents flat throughout, as singers without an instrument are.
    let scale = [60.0, 62.0, 64.0, 65.0, 67.0];
    let samples = tone(8000, 2.0, 5, |t| scale[((t / 0.4) as usize).min(4)] - 0.3);
    let found = notes(&track(&samples, 8000));
    assert_eq!(found.len(), 5, "{found:?}");
    for (i, (note, midi)) in found.iter().zip(scale).enumerate() {
        assert!((note.midi - midi + 0.3).abs() < 0.1, "{note:?}");
        assert!((note.start - 0.4 * i as f64).abs() < 0.04, "{note:?}");
    }
    assert!((tuning(&found) + 0.3).abs() < 0.05, "{}", tuning(&found));
    let bytes = midi_file(&found).unwrap();
    let file = midly::Smf::parse(&bytes).unwrap();
    let keys: Vec<u8> = file.tracks[0]
        .iter()
        .filter_map(|event| match event.kind {
            midly::TrackEventKind::Midi { message: midly::MidiMessage::NoteOn { key, .. }, .. } => Some(key.as_int()),
            _ => None,
        })
        .collect();
    assert_eq!(keys, [60, 62, 64, 65, 67]);
    let forever = [SungNote { start: 1e6, end: 1e6 + 1.0, midi: 60.0 }];
    assert!(midi_file(&forever).unwrap_err().to_string().contains("too long"));
    assert_eq!([note_name(69.0), note_name(60.4), note_name(-1.0)], ["A4", "C4", "B-2"]);
    assert!((hz_to_midi(midi_to_hz(33.3)) - 33.3).abs() < 1e-12);
}

#[test]
fn the_command_writes_tables_and_midi() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let wav = path("tone.wav");
    write_wav(Path::new(&wav), 16_000, tone(16_000, 1.0, 4, |_| 69.0).into_iter().map(|x| (x * 20_000.0) as i16));
    let table = succeed(&["pitch", &wav]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows[0], rows.len()), ("seconds,hz,midi,periodicity", 102));
    assert!(rows[51].starts_with("0.500,440.") || rows[51].starts_with("0.500,439.9"), "{}", rows[51]);
    let table = succeed(&["pitch", &wav, "--format", "notes"]);
    assert!(table.lines().nth(1).unwrap().ends_with(",A4"), "{table}");
    let told = succeed(&["pitch", &wav, "--out", &path("tone.mid")]);
    assert!(told.contains("1 notes") || told.contains("1 note"), "{told}");
    assert!(midly::Smf::parse(&std::fs::read(path("tone.mid")).unwrap()).is_ok());
    succeed(&["pitch", &wav, "--out", &path("tone.png")]);
    assert!(std::fs::read(path("tone.png")).unwrap().starts_with(b"\x89PNG"));
    succeed(&["pitch", &wav, "--out", &path("tone.svg")]);
    let drawn = std::fs::read_to_string(path("tone.svg")).unwrap();
    // One line along one note, from the first second's beginning to its end, at the height of A4.
    let (lines, notes) = (drawn.matches("<polyline").count(), drawn.matches("fill=\"#abd6b2\"").count());
    assert!((lines, notes) == (1, 1) && drawn.contains(">A#4<"), "{drawn}");
    assert!(fail(2, &["pitch", &wav, "--format", "picture"]).contains("--out"));
    assert!(fail(2, &["pitch", &wav, "--format", "picture", "--out", &path("x.txt")]).contains(".svg"));
    assert!(fail(2, &["pitch", &wav, "--format", "midi"]).contains("--out"));
    assert!(fail(2, &["pitch", &wav, "--floor", "2"]).contains("--floor"));
}
