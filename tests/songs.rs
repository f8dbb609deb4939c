//! Songs found by their notes: readers of MIDI and ABC, catalogues, `humdinger catalogue` and `humdinger identify`.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::Result;
use humdinger::data::songbook::read_songs;
use humdinger::data::synth::tunes;
use humdinger::melody::abc::{AbcTune, read_abc};
use humdinger::melody::catalogue::Catalogue;
use humdinger::melody::midi::midi_file;
use humdinger::melody::midi_in::{melody, named, parts};
use humdinger::melody::notes::SungNote;
use humdinger::melody::song::Song;
use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};
use program::{fail, humdinger, scratch, succeed, text};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

fn tune(abc: &str) -> AbcTune {
    let mut tunes = read_abc(abc);
    assert_eq!(tunes.len(), 1);
    tunes.remove(0).unwrap()
}

/// Pitches and lengths in eighths of tunes at `Q:1/4=120`.
fn sung(body: &str) -> Vec<(i32, f64)> {
    let tune = tune(&format!("X:1\nT:t\nM:4/4\nL:1/8\nQ:1/4=120\nK:C\n{body}"));
    tune.notes.iter().map(|n| (n.midi as i32, ((n.end - n.start) * 400.0).round() / 100.0)).collect()
}

#[test]
fn abc_pitches_and_lengths() {
    assert_eq!(sung("C c c' C, B"), [(60, 1.0), (72, 1.0), (84, 1.0), (48, 1.0), (71, 1.0)]);
    assert_eq!(sung("C2 D/ E3/2 F/4 G// A3/"), [(60, 2.0), (62, 0.5), (64, 1.5), (65, 0.25), (67, 0.25), (69, 1.5)]);
    // Accidentals last to the end of the bar, in their octave.
    assert_eq!(
        sung("^F F f | F _B B =B ^^C"),
        [(66, 1.0), (66, 1.0), (77, 1.0), (65, 1.0), (70, 1.0), (70, 1.0), (71, 1.0), (62, 1.0)]
    );
    // Broken rhythm, triplets, ties, chords, grace notes, chord symbols and decorations.
    assert_eq!(sung("C>D E<F"), [(60, 1.5), (62, 0.5), (64, 0.5), (65, 1.5)]);
    assert_eq!(sung("(3CDE F2"), [(60, 0.67), (62, 0.67), (64, 0.67), (65, 2.0)]);
    assert_eq!(sung("C2-|C2 D- E"), [(60, 4.0), (62, 1.0), (64, 1.0)]);
    assert_eq!(sung("[CEG]2 \"Am\"{cd}A !trill!~B (cd)"), [(67, 2.0), (69, 1.0), (71, 1.0), (72, 1.0), (74, 1.0)]);
    // Between lines of old files stands an exclamation mark alone: what lies between two of them is music.
    assert_eq!(sung("C D! E F|G A!"), sung("C D E F|G A"));
    // Rests take their time.
    let tune = tune("X:1\nL:1/4\nQ:120\nK:C\nC z D Z E");
    let starts: Vec<f64> = tune.notes.iter().map(|n| n.start).collect();
    assert_eq!(starts, [0.0, 1.0, 3.5]);
}

#[test]
fn abc_repeats_and_endings() {
    let letters = |body: &str| -> String {
        sung(body).iter().map(|(midi, _)| "C_D_EF_G_A_B".chars().nth((*midi - 60) as usize).unwrap()).collect()
    };
    assert_eq!(letters("|:C D:|E F|"), "CDCDEF");
    assert_eq!(letters("C D:|E F|"), "CDCDEF");
    assert_eq!(letters("|:C D|1 E:|2 F|| G"), "CDECDFG");
    assert_eq!(letters("|:C D|[1 E:|[2 F|] G"), "CDECDFG");
    assert_eq!(letters("|:C::D:|"), "CCDD");
    assert_eq!(letters("|:C :| |:D E:|"), "CCDEDE");
}

#[test]
fn abc_keys() {
    let first = |key: &str, body: &str| {
        let tune = tune(&format!("X:1\nL:1/8\nK:{key}\n{body}"));
        tune.notes.iter().map(|n| n.midi as i32).collect::<Vec<_>>()
    };
    assert_eq!(first("G", "F C"), [66, 60]);
    assert_eq!(first("D", "F C"), [66, 61]);
    assert_eq!(first("F", "B E"), [70, 64]);
    assert_eq!(first("Eb", "A E B"), [68, 63, 70]);
    assert_eq!(first("F#m", "F C G A"), [66, 61, 68, 69]);
    assert_eq!(first("A minor", "F"), [65]);
    assert_eq!(first("Ador", "F"), [66]);
    assert_eq!(first("G mixolydian", "F"), [65]);
    assert_eq!(first("HP", "F C G"), [66, 61, 67]);
    assert_eq!(first("none", "F"), [65]);
    assert_eq!(first("C clef=bass", "F"), [65]);
    assert_eq!(first("D Phr ^f", "F E"), [66, 63]);
    let changed = tune("X:1\nL:1/8\nK:C\nF [K:G] F\nK:C\nF");
    assert_eq!(changed.notes.iter().map(|n| n.midi as i32).collect::<Vec<_>>(), [65, 66, 65]);
}

#[test]
fn abc_files_of_several_tunes_and_what_is_wrong_with_them() {
    let tunes =
        read_abc("% a book\n\nX:1\nT:One\nT:Other name\nK:C\nCDEF\nw: la la\n\nX:2\nT:Two\nK:Q\nC\n\nX:3\nK:C\n\"C\n");
    assert_eq!(tunes.len(), 3);
    assert_eq!(tunes[0].as_ref().unwrap().title, "One");
    let (number, reason) = tunes[1].as_ref().unwrap_err();
    assert!(number == "2" && reason.contains("line 3") && reason.contains("K:Q"), "{reason}");
    assert!(tunes[2].as_ref().unwrap_err().1.contains('"'));
    // Of several voices the first.
    let voices = tune("X:1\nL:1/8\nV:1\nV:2\nK:C\nV:1\nCD\nV:2\nGA\nV:1\nEF\n");
    assert_eq!(voices.notes.iter().map(|n| n.midi as i32).collect::<Vec<_>>(), [60, 62, 64, 65]);
    // Without a tempo slow and quick notation are the same song.
    let [slow, quick] = ["1/2", "1/16"].map(|unit| tune(&format!("X:1\nL:{unit}\nK:C\nCDEFGA")));
    assert_eq!(slow.notes, quick.notes);
}

/// A MIDI file of these tracks: name, channel, and notes that begin every beat and last for `length` of it.
fn midi(tracks: &[(&str, u8, &[u8], f64)], tempo: u32) -> Vec<u8> {
    let meta = |message| TrackEvent { delta: u28::new(0), kind: TrackEventKind::Meta(message) };
    let make = |&(name, channel, keys, length): &(&'static str, u8, &[u8], f64)| {
        let mut track = vec![meta(MetaMessage::TrackName(name.as_bytes())), meta(MetaMessage::Tempo(u24::new(tempo)))];
        let mut events: Vec<(u32, bool, u8)> = Vec::new();
        for (i, &key) in keys.iter().enumerate() {
            events.push((100 * i as u32, true, key));
            events.push((100 * i as u32 + (100.0 * length) as u32, false, key));
        }
        events.sort();
        let mut now = 0;
        for (at, on, key) in events {
            let (key, vel) = (u7::new(key), u7::new(if on { 90 } else { 0 }));
            let delta = u28::new(at - now);
            let message = MidiMessage::NoteOn { key, vel };
            track.push(TrackEvent { delta, kind: TrackEventKind::Midi { channel: u4::new(channel), message } });
            now = at;
        }
        track.push(meta(MetaMessage::EndOfTrack));
        track
    };
    // The names outlive the file.
    let leaked: Vec<(&'static str, u8, &[u8], f64)> =
        tracks.iter().map(|t| (&*t.0.to_owned().leak(), t.1, t.2, t.3)).collect();
    let header = Header::new(Format::Parallel, Timing::Metrical(u15::new(100)));
    let mut bytes = Vec::new();
    Smf { header, tracks: leaked.iter().map(make).collect() }.write_std(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_part_that_sings_is_found_in_a_midi_file() {
    let tune: &[u8] = &[60, 62, 64, 65, 67, 65, 64, 62];
    let bass: &[u8] = &[36, 36, 43, 43, 36, 36, 43, 43];
    let drums: &[u8] = &[38; 40];
    // Pads sound on into the next note.
    let pad: &[u8] = &[72, 76, 79, 72, 76, 79, 72, 76];
    let bytes = midi(
        &[("Bass", 1, bass, 0.9), ("Drums", 9, drums, 0.1), ("Strings", 2, pad, 2.5), ("x", 3, tune, 0.9)],
        500_000,
    );
    let found = parts(&bytes).unwrap();
    assert_eq!(found.len(), 3, "drums are no melody");
    let sings = melody(&found).unwrap();
    assert_eq!((sings.track, sings.channel), (4, 4));
    assert!((sings.notes[1].start - 0.5).abs() < 1e-9 && (sings.tempo - 120.0).abs() < 1e-9);
    assert_eq!(named(&found, "bass").unwrap().track, 1);
    assert_eq!(named(&found, "3").unwrap().track, 3);
    assert!(named(&found, "flute").is_none());
    // A name says more than what is played.
    let bytes = midi(&[("Vocals", 1, bass, 0.9), ("Flute", 2, tune, 0.9)], 250_000);
    let found = parts(&bytes).unwrap();
    assert_eq!(melody(&found).unwrap().track, 1);
    assert!((found[0].tempo - 240.0).abs() < 1e-9);
    for nonsense in [&b"MThd"[..], b"", b"RIFF....", &bytes[..20]] {
        assert!(parts(nonsense).is_err());
    }
}

#[test]
fn melodies_are_on_top_and_too_few_notes_are_none() {
    let note = |start: f64, end: f64, midi: f64| SungNote { start, end, midi };
    let notes = vec![
        note(5.0, 6.0, 60.0),
        note(5.0, 6.0, 67.0),
        note(5.5, 7.0, 64.0),
        note(8.0, 8.2, 62.0),
        note(8.2, 8.4, 60.0),
    ];
    let song = Song::new("a", "A", 100.0, notes.clone(), &[]).unwrap();
    let told: Vec<(f64, f64, f64)> = song.notes.iter().map(|n| (n.start, n.end, n.midi)).collect();
    assert_eq!(told.len(), 4);
    assert_eq!((told[0], told[1]), ((0.0, 0.5, 67.0), (0.5, 2.0, 64.0)));
    assert_eq!(song.phrases, [0, 2], "a rest ends a phrase");
    assert!(Song::new("a", "A", 100.0, notes[..2].to_vec(), &[]).unwrap_err().contains("no melody"));
}

#[test]
fn a_catalogue_comes_back_and_damage_is_told() -> Result<()> {
    let mut catalogue = Catalogue::default();
    for (id, title) in [("b", "Weißt du, wie viel"), ("a", "a_b c"), ("dir/c", "")] {
        let notes = (0..6).map(|i| SungNote {
            start: f64::from(i) * 0.3,
            end: f64::from(i) * 0.3 + 0.2,
            midi: 60.0 + f64::from(i),
        });
        assert!(catalogue.add(Song::new(id, title, 97.3, notes.collect(), &[0.6]).unwrap()).is_none());
    }
    let path = Path::new("songs.cat");
    let bytes = catalogue.to_bytes();
    assert_eq!(Catalogue::from_bytes(&bytes, path)?, catalogue);
    assert_eq!(catalogue.songs().iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a", "b", "dir/c"]);
    for at in 20..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let error = Catalogue::from_bytes(&damaged, path).unwrap_err().to_string();
        assert!(error.contains("songs.cat"), "byte {at}: {error}");
        assert!(error.contains(if at < 24 { "version" } else { "damaged" }), "byte {at}: {error}");
        assert!(Catalogue::from_bytes(&bytes[..at], path).is_err());
    }
    // Embeddings come back, too, with what they are of; without any the file is one that programs of before read.
    assert_eq!(bytes[20..24], 1u32.to_le_bytes());
    catalogue.embed("a model", vec![Some(vec![0.6, 0.8]), None, Some(vec![-1.0, 0.0])]);
    let again = Catalogue::from_bytes(&catalogue.to_bytes(), path)?;
    assert_eq!((again.embedded_by(), &again), ("a model", &catalogue));
    assert_eq!(again.songs()[2].embedding, [-1.0, 0.0]);
    assert!(Catalogue::from_bytes(b"RIFF", path).unwrap_err().to_string().contains("no catalogue"));
    Ok(())
}

/// A folder with the built-in tunes, as MIDI files and in ABC, and what is no melody.
fn book(folder: &Path) {
    std::fs::create_dir_all(folder.join("more")).unwrap();
    for (i, tune) in tunes().iter().enumerate() {
        let mut now = 0.0;
        let mut notes = Vec::new();
        for note in &tune.notes {
            let end = now + note.beats * 60.0 / tune.tempo;
            if let Some(semitone) = note.semitone {
                notes.push(SungNote { start: now, end, midi: 62.0 + f64::from(semitone) });
            }
            now = end;
        }
        if i % 2 == 0 {
            std::fs::write(folder.join(format!("{}.mid", tune.name)), midi_file(&notes).unwrap()).unwrap();
        } else {
            // In sixteenths; the tempo is that of quarters.
            const NAMES: [&str; 12] = ["C", "^C", "D", "^D", "E", "F", "^F", "G", "^G", "A", "^A", "B"];
            let sixteenths = |n: &SungNote| ((n.end - n.start) * tune.tempo / 15.0).round();
            let abc = |n: &SungNote| {
                let (octave, degree) = ((n.midi as i32).div_euclid(12) - 5, (n.midi as i32).rem_euclid(12));
                let marks = if octave < 0 { ",".repeat(-octave as usize) } else { "'".repeat(octave as usize) };
                // Each note in a bar of its own: no accidental reaches the next.
                format!("{}{marks}{}|", NAMES[degree as usize], sixteenths(n))
            };
            let body: String = notes.iter().map(abc).collect();
            let text = format!("X:7\nT:{} of old\nL:1/16\nQ:1/4={}\nK:C\n{body}\n", tune.name, tune.tempo);
            std::fs::write(folder.join(format!("more/{}.abc", tune.name)), text).unwrap();
        }
    }
    std::fs::write(folder.join("broken.mid"), b"MThd").unwrap();
    std::fs::write(folder.join("empty.abc"), b"T:no number\n").unwrap();
    std::fs::write(folder.join("notes.txt"), b"buy milk\n").unwrap();
}

#[test]
fn songs_are_found_by_their_notes() {
    let (songs, sings, catalogue) = (scratch().join("songs"), scratch().join("sings"), scratch().join("songs.cat"));
    book(&songs);
    let made = humdinger().args(["catalogue", "make", text(&songs), "--out", text(&catalogue)]).output().unwrap();
    assert!(made.status.success());
    let (said, warned) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(said.contains(&format!("{} songs, 2 that could not be read", tunes().len())), "{said}");
    for refused in ["broken.mid", "empty.abc: holds no tune"] {
        assert!(warned.contains(refused), "{refused}: {warned}");
    }
    succeed(&["synth", "--out", text(&sings), "--singers", "2", "--seconds", "8", "--styles", "hum"]);
    let identify = |more: &[&str]| {
        succeed(&[&["identify", "--catalogue", text(&catalogue), "--format", "jsonl"], more, &[text(&sings)]].concat())
    };
    let answers = identify(&[]);
    let (mut right, mut all) = (0, 0);
    for line in answers.lines() {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        let file = answer["file"].as_str().unwrap();
        let tune = file.rsplit('_').next().unwrap().strip_suffix(".wav").unwrap();
        let best = &answer["candidates"][0];
        let id = best["id"].as_str().unwrap();
        all += 1;
        let good = id.rsplit('/').next() == Some(tune);
        right += usize::from(good);
        if good {
            let title = best["title"].as_str().unwrap();
            assert_eq!(title, if id.starts_with("more/") { format!("{tune} of old") } else { tune.to_owned() });
            assert!((0.4..2.5).contains(&best["tempo"].as_f64().unwrap()), "{line}");
            assert_eq!(best["at"][0].as_f64().unwrap(), 0.0);
        }
    }
    println!("{right} of {all}");
    assert!(all == 24 && right >= 21, "{right} of {all}");

    // Without its song, a recording is of none of them.
    let unknown = |answers: &str| answers.matches("\"unknown\":true").count();
    let before = unknown(&answers);
    let names = succeed(&["catalogue", "list", text(&catalogue)]);
    let ids: Vec<&str> = names.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(ids.len(), tunes().len());
    let sung = |id: &&&str| {
        let name = id.rsplit('/').next().unwrap();
        answers.contains(&format!("_{name}.wav"))
    };
    let removed: Vec<&str> = ids.iter().filter(sung).copied().collect();
    assert_eq!(removed.len(), 12);
    succeed(&[&["catalogue", "remove", text(&catalogue)], &removed[..]].concat());
    let after = unknown(&identify(&[]));
    println!("unknown: {before} of {all} known, {after} of {all} others");
    assert!(before <= 2 && after >= 12, "{before}, {after}");
    // What counts as unknown is the caller's choice.
    assert_eq!(unknown(&identify(&["--min-score", "0"])), 0);
    assert_eq!(unknown(&identify(&["--min-score", "1"])), 24);
    assert!(identify(&["--top", "2"]).lines().all(|line| line.matches("\"id\"").count() == 2));

    // A recording is a melody, too: the same person's own is found again.
    let clip = std::fs::read_dir(&sings)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| text(p).ends_with("_Twinkle.wav"))
        .unwrap();
    assert!(succeed(&["catalogue", "add", text(&catalogue), text(&clip)]).contains("1 added"));
    assert!(succeed(&["catalogue", "add", text(&catalogue), text(&clip)]).contains("1 replaced"));
    let table = succeed(&["identify", "--catalogue", text(&catalogue), text(&clip)]);
    let id = clip.file_stem().unwrap().to_str().unwrap();
    assert!(table.starts_with(id), "{table}");
    // The same from standard input; with pictures of it.
    let (svg, pictures) = (scratch().join("sung.svg"), scratch().join("pictures"));
    let with = |plot: &Path, more: &[&str]| {
        let mut command = humdinger();
        command.args(["identify", "--catalogue", text(&catalogue), "--plot", text(plot)]).args(more);
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Who does not listen is told in the answer.
        let _ = running.stdin.take().unwrap().write_all(&std::fs::read(&clip).unwrap());
        running.wait_with_output().unwrap()
    };
    let heard = with(&svg, &["-"]);
    assert!(heard.status.success() && heard.stdout.starts_with(id.as_bytes()), "{heard:?}");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    // The notes of the song, and the pitch over them.
    assert!(drawn.contains(&format!("-: {id}</text>")), "{drawn}");
    let boxes = drawn.matches("fill=\"#abd6b2\"").count();
    assert!(boxes >= 6 && drawn.matches("<polyline").count() >= 3, "{boxes}");
    let both = with(&pictures, &["-", text(&clip)]);
    assert!(both.status.success(), "{both:?}");
    for name in ["standard-input".to_owned(), id.to_owned()] {
        let bytes = std::fs::read(pictures.join(format!("{name}.png"))).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    }
    let told = with(&svg, &["-", text(&clip)]);
    assert!(
        told.status.code() == Some(2) && String::from_utf8_lossy(&told.stderr).contains("name a folder"),
        "{told:?}"
    );
    let told = with(&svg, &["-", "-"]);
    assert!(told.status.code() == Some(2) && String::from_utf8_lossy(&told.stderr).contains("only once"), "{told:?}");
    let csv = succeed(&["identify", "--catalogue", text(&catalogue), "--format", "csv", text(&clip)]);
    assert!(csv.lines().nth(1).unwrap().contains(&format!("false,1,{id},{id},")), "{csv}");
}

#[test]
fn synthetic_singers_sing_any_songs() {
    let folder = scratch().join("own-songs");
    std::fs::create_dir_all(&folder).unwrap();
    // Nothing that is built in: triplets and lengths that are no whole beats.
    let tunes = [
        "C2 (3EGE c3 B A2 z G4 F/E/D C4",
        "d c B A3/2 G3 F E d2 A2 z2 B c d3 A6",
        "G (3GAB d2 g3 f e d c B A4 G2 D2 G6",
    ];
    for (i, body) in tunes.iter().enumerate() {
        let text = format!("X:1\nT:Song_{i}\nL:1/8\nQ:1/4=110\nK:G\n{body} {body}\n");
        std::fs::write(folder.join(format!("my_song {i}.abc")), text).unwrap();
    }
    let (sings, catalogue) = (scratch().join("own-sings"), scratch().join("own.cat"));
    let said =
        succeed(&["synth", "--tunes", text(&folder), "--singers", "4", "--out", text(&sings), "--styles", "hum"]);
    assert!(said.contains("12 recordings (0 whistled) of 3 tunes by 4 people"), "{said}");
    // Labels and people are read from the names.
    let checked = succeed(&["check", text(&sings), "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(
        checked["songs"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["my-song-0", "my-song-1", "my-song-2"]
    );
    assert_eq!(checked["people"].as_object().unwrap().len(), 4);
    succeed(&["catalogue", "make", text(&folder), "--out", text(&catalogue)]);
    let answers = succeed(&["identify", "--catalogue", text(&catalogue), "--format", "jsonl", text(&sings)]);
    let right = |line: &&str| {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = answer["candidates"][0]["id"].as_str().unwrap().replace(['_', ' '], "-");
        answer["file"].as_str().unwrap().ends_with(&format!("_{name}.wav"))
    };
    let count = answers.lines().filter(right).count();
    assert!(count >= 11, "{count} of 12: {answers}");

    let told =
        fail(2, &["synth", "--tunes", &format!("Twinkle,{}", text(&folder)), "--out", text(&scratch().join("x"))]);
    assert!(told.contains("--tunes") && told.contains("`Twinkle` is a built-in tune"), "{told}");
    let empty = scratch().join("no-songs");
    std::fs::create_dir_all(&empty).unwrap();
    assert!(fail(1, &["synth", "--tunes", text(&empty), "--out", text(&scratch().join("x"))]).contains("no melody in"));
}

#[test]
fn numbered_notation_is_read() {
    let folder = scratch().join("numbered");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("a.jianpu", "title: Frère Jacques\nTempo: 60\n1 2 3 1 | 1 2 3 1 |\n3 4 5- |\n0 #5, 5,_ 1'-\n");
    write("b.jianpu", "1 2 3 8\n");
    write("c.jianpu", "tempo: soon\n1 2 3 4\n");
    write("d.jianpu", "composer: me\n1 2 3 4\n");
    let book = read_songs(&[folder], None).unwrap();
    let [song] = &book.songs[..] else { panic!("{:?}", book.songs) };
    assert_eq!((song.id.as_str(), song.title.as_str(), song.tempo), ("a", "Frère Jacques", 60.0));
    let midi: Vec<f64> = song.notes.iter().map(|n| n.midi).collect();
    assert_eq!(midi, [60.0, 62.0, 64.0, 60.0, 60.0, 62.0, 64.0, 60.0, 64.0, 65.0, 67.0, 56.0, 55.0, 72.0]);
    let starts: Vec<f64> = song.notes[10..].iter().map(|n| n.start).collect();
    assert_eq!(starts, [10.0, 13.0, 14.0, 14.5]);
    assert_eq!(song.phrases, [0, 4, 8, 11]);
    let told: Vec<&str> = ["`8` is no note", "`tempo: soon`", "`composer:`"].to_vec();
    assert_eq!(book.refused.len(), 3);
    for ((_, reason), told) in book.refused.iter().zip(told) {
        assert!(reason.contains(told), "{reason}");
    }
}

#[test]
fn wrong_usage_is_told() {
    let folder = scratch().join("wrong");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.abc"), "X:1\nK:C\nCDEFGA\n").unwrap();
    std::fs::write(
        folder.join("a.mid"),
        midi(&[("x", 0, &[60, 62, 64, 65], 0.5), ("y", 1, &[40, 41, 42, 43], 0.5)], 500_000),
    )
    .unwrap();
    let catalogue = folder.join("songs.cat");
    let said = succeed(&["catalogue", "make", text(&folder), "--out", text(&catalogue), "--track", "y"]);
    assert!(said.contains("a.mid: track 2, channel 2 \"y\" of 2 parts sings"), "{said}");
    // Two files of one name keep their endings.
    let list = succeed(&["catalogue", "list", text(&catalogue)]);
    assert!(list.contains("a.abc\t") && list.contains("a.mid\t"), "{list}");
    let before = std::fs::read(&catalogue).unwrap();
    assert!(fail(1, &["catalogue", "remove", text(&catalogue), "a.mid", "none"]).contains("`none`"));
    assert_eq!(std::fs::read(&catalogue).unwrap(), before, "nothing is removed where something is wrong");
    assert!(fail(1, &["catalogue", "make", "nowhere", "--out", "x.cat"]).contains("no such file"));
    assert!(fail(1, &["identify", "--catalogue", text(&folder.join("a.abc")), "x.wav"]).contains("no catalogue"));
    assert!(fail(2, &["identify", "--catalogue", text(&catalogue), "--top", "0", "x.wav"]).contains("--top"));
    assert!(
        fail(2, &["identify", "--catalogue", text(&catalogue), "--min-score", "2", "x.wav"]).contains("--min-score")
    );
    let book = read_songs(&[folder.join("a.mid")], Some("z")).unwrap();
    assert!(book.refused[0].1.contains("no track or part `z`"), "{:?}", book.refused);
}
