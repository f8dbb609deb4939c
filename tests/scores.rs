//! Scores in MusicXML, plain and packed.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::data::songbook::read_songs;
use humdinger::melody::midi_in::{Part, melody, named};
use humdinger::melody::musicxml::read;
use program::scratch;
use std::io::Write;

/// A score of these parts, each its measures in MusicXML, four divisions a quarter; without a tempo.
fn score(title: &str, parts: &[(&str, &[&str])]) -> String {
    let list = parts.iter().enumerate();
    let list: String = list
        .map(|(i, (name, _))| format!(r#"<score-part id="P{i}"><part-name>{name}</part-name></score-part>"#))
        .collect();
    let measures = |measures: &[&str]| -> String {
        let text = |(i, measure): (usize, &&str)| {
            let first = if i == 0 { "<attributes><divisions>4</divisions></attributes>" } else { "" };
            format!(r#"<measure number="{}">{first}{measure}</measure>"#, i + 1)
        };
        measures.iter().enumerate().map(text).collect()
    };
    let bodies = parts.iter().enumerate();
    let bodies: String = bodies.map(|(i, (_, m))| format!(r#"<part id="P{i}">{}</part>"#, measures(m))).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE score-partwise PUBLIC \"-//Recordare//DTD MusicXML 3.1 Partwise//EN\" \
         \"http://www.musicxml.org/dtds/partwise.dtd\">\n<score-partwise version=\"3.1\"><work><work-title>{title}</work-title></work>\
         <part-list>{list}</part-list>{bodies}</score-partwise>"
    )
}

/// A note of MusicXML: step and octave, a duration, and what else stands in it.
fn xml(pitch: &str, duration: u32, more: &str) -> String {
    let (step, octave) = pitch.split_at(1);
    let pitch = format!("<pitch><step>{step}</step><octave>{octave}</octave></pitch>");
    format!("<note>{pitch}<duration>{duration}</duration>{more}</note>")
}

/// Pitches, starts and lengths in quarters at 60 quarters a minute.
fn told(part: &Part) -> Vec<(f64, f64, f64)> {
    let rounded = |x: f64| (x * 1000.0).round() / 1000.0;
    part.notes.iter().map(|n| (n.midi, rounded(n.start), rounded(n.end - n.start))).collect()
}

#[test]
fn music_xml_notes_in_their_voices_and_times() {
    let sixty = r#"<direction><sound tempo="60"/></direction>"#;
    let flat = "<note><pitch><step>B</step><alter>-1</alter><octave>3</octave></pitch><duration>4</duration></note>";
    let tie = |kind: &str| format!(r#"<tie type="{kind}"/>"#);
    let rest = "<note><rest/><duration>2</duration></note>";
    let first =
        [sixty, &xml("C4", 4, ""), &xml("E4", 4, "<chord/>"), rest, flat, &xml("D4", 6, &tie("start"))].concat();
    let grace = "<note><grace/><pitch><step>A</step><octave>5</octave></pitch></note>";
    // The second voice begins with the measure; from the second measure on it is twice as quick.
    let second = [
        &xml("D4", 4, &tie("stop")),
        grace,
        &xml("G4", 8, "<lyric><text>la</text></lyric>"),
        "<backup><duration>12</duration></backup>",
        r#"<sound tempo="120"/>"#,
        &xml("C3", 12, "<voice>2</voice>"),
    ]
    .concat();
    let drums = "<note><unpitched/><duration>16</duration></note>";
    let transpose = "<attributes><transpose><chromatic>-2</chromatic></transpose></attributes>";
    let clarinet = [transpose, &xml("D5", 16, "")].concat();
    let text = score("Größe", &[("Sopran", &[&first, &second]), ("Drums", &[drums]), ("Clarinet", &[&clarinet])]);
    let found = read(text.as_bytes()).unwrap();
    assert_eq!(found.title, "Größe");
    let shown: Vec<String> = found.parts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["part 1, voice 1 \"Sopran\"", "part 1, voice 2 \"Sopran\"", "part 3, voice 1 \"Clarinet\""]);
    assert_eq!(
        told(&found.parts[0]),
        [(60.0, 0.0, 1.0), (64.0, 0.0, 1.0), (58.0, 1.5, 1.0), (62.0, 2.5, 2.0), (67.0, 4.5, 1.0)]
    );
    assert_eq!(told(&found.parts[1]), [(48.0, 4.0, 1.5)]);
    assert_eq!(told(&found.parts[2]), [(72.0, 0.0, 4.0)]);
    // Words under the notes say who sings.
    assert_eq!(melody(&found.parts).unwrap().to_string(), shown[0]);
    assert_eq!(named(&found.parts, "clarinet").unwrap().track, 3);
    // In time order instead of part order, in UTF-16.
    let bodies = format!(
        "<score-timewise><part-list><score-part id=\"a\"/></part-list><measure><part id=\"a\">{sixty}{}</part></measure>\
         <measure><part id=\"a\">{}</part></measure></score-timewise>",
        xml("C4", 1, ""),
        xml("D4", 1, "")
    );
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(bodies.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let found = read(&wide).unwrap();
    assert_eq!(told(&found.parts[0]), [(60.0, 0.0, 1.0), (62.0, 1.0, 1.0)]);
}

#[test]
fn music_xml_repeats_and_endings() {
    const FORWARD: &str = r#"<barline location="left"><repeat direction="forward"/></barline>"#;
    const BACK: &str = r#"<barline location="right"><repeat direction="backward"/></barline>"#;
    let ending = |number: &str, kind: &str, repeat: &str| {
        format!(r#"<barline><ending number="{number}" type="{kind}"/>{repeat}</barline>"#)
    };
    let letters = |measures: &[(&str, &str, &str)]| -> String {
        let measures: Vec<String> = measures
            .iter()
            .map(|(before, note, after)| [*before, &xml(&format!("{note}4"), 4, ""), after].concat())
            .collect();
        let measures: Vec<&str> = measures.iter().map(String::as_str).collect();
        let found = read(score("", &[("", &measures)]).as_bytes()).unwrap();
        found.parts[0].notes.iter().map(|n| "C_D_EF_G_A_B".chars().nth((n.midi - 60.0) as usize).unwrap()).collect()
    };
    let back = r#"<repeat direction="backward"/>"#;
    assert_eq!(letters(&[("", "C", ""), ("", "D", BACK), ("", "E", "")]), "CDCDE");
    assert_eq!(letters(&[("", "C", ""), (FORWARD, "D", BACK), (FORWARD, "E", BACK)]), "CDDEE");
    let three = r#"<barline><repeat direction="backward" times="3"/></barline>"#;
    assert_eq!(letters(&[("", "C", three), ("", "D", "")]), "CCCD");
    let (first, second) = (ending("1", "start", ""), ending("2", "start", ""));
    let (stop, last) = (ending("1", "stop", back), ending("2", "discontinue", ""));
    // An ending of three measures.
    assert_eq!(
        letters(&[
            ("", "C", ""),
            (&first, "D", ""),
            ("", "E", ""),
            ("", "F", &stop),
            (&second, "G", &last),
            ("", "A", "")
        ]),
        "CDEFCGA"
    );
    let both = [ending("1, 2", "start", ""), ending("1, 2", "stop", back)];
    let third = ending("3", "start", "");
    assert_eq!(letters(&[("", "C", ""), (&both[0], "D", &both[1]), (&third, "E", ""), ("", "F", BACK)]), "CDCDCEF");
}

/// An archive with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (i, (name, content)) in files.iter().enumerate() {
        let packed = i > 0;
        let method = if packed { rawzip::CompressionMethod::DEFLATE } else { rawzip::CompressionMethod::STORE };
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
        let descriptor = if packed {
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(content.as_bytes()).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content.as_bytes()).unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

#[test]
fn compressed_scores_are_read_and_what_is_none_is_told() {
    let tune: String = ["C4", "D4", "E4", "F4"].iter().map(|pitch| xml(pitch, 4, "")).collect();
    let text = score("Packed", &[("Voice", &[&tune])]);
    let contents = |path: &str| {
        format!(
            r#"<container><rootfiles><rootfile full-path="{path}"/><rootfile full-path="x.pdf"/></rootfiles></container>"#
        )
    };
    let good = archive(&[("META-INF/container.xml", &contents("a/b.xml")), ("a/b.xml", &text)]);
    assert_eq!(read(&good).unwrap().title, "Packed");
    for (bytes, reason) in [
        (b"<a/>".to_vec(), "no MusicXML score: it holds a `a`"),
        (b"<score-partwise>".to_vec(), "no XML"),
        (b"la la".to_vec(), "no XML"),
        (b"PK\x03\x04".to_vec(), "unpacked"),
        (good[..good.len() / 2].to_vec(), "unpacked"),
        (archive(&[("a.xml", &text)]), "has no `META-INF/container.xml`"),
        (archive(&[("META-INF/container.xml", &contents("b.xml"))]), "`b.xml`"),
        (archive(&[("META-INF/container.xml", "<container/>")]), "names no score"),
        (score("", &[("a", &["<note><rest/><duration>4</duration></note>"])]).into_bytes(), "no notes"),
        (score("", &[("a", &[&xml("H4", 4, "")])]).into_bytes(), "note `H`"),
        (score("", &[("a", &[&xml("C4", 4, "").replace(">4<", ">four<")])]).into_bytes(), "`four`"),
        (text.replace("<part id=\"P0\"", "<part id=\"Q\"").into_bytes(), "part `Q`"),
        (text.replace("<divisions>4", "<divisions>0").into_bytes(), "0 divisions"),
    ] {
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(reason), "{error} lacks {reason}");
    }
    // Into a catalogue, the packed one and the plain.
    let folder = scratch().join("scores");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("packed.mxl"), good).unwrap();
    std::fs::write(folder.join("plain.musicxml"), text.replace("Packed", "a_b")).unwrap();
    std::fs::write(folder.join("pom.xml"), "<project/>").unwrap();
    let book = read_songs(std::slice::from_ref(&folder), None).unwrap();
    let titles: Vec<(&str, &str)> = book.songs.iter().map(|s| (s.id.as_str(), s.title.as_str())).collect();
    assert_eq!(titles, [("packed", "Packed"), ("plain", "a_b")]);
    assert_eq!(book.refused.len(), 1);
    assert!(book.refused[0].1.contains("`project`"), "{:?}", book.refused);
    assert!(read_songs(&[folder.join("packed.mxl")], Some("z")).unwrap().refused[0].1.contains("part 1, voice 1"));
}
