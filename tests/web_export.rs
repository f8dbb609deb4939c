//! `humdinger export`: the folder of a page.

#![cfg(feature = "app")]
// What stands in `common` is not all used here.
#![allow(dead_code)]

#[path = "common/program.rs"]
mod program;

use flate2::{Compression, write::GzEncoder};
use humdinger::cli::web;
use program::{fail, scratch, succeed, text};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_page_is_written_whole_and_replaced_only_by_another() {
    let out = scratch().join("page/a page");
    let said = succeed(&["export", "--web", text(&out)]);
    let files = web::files(None, None).expect("the files of the page");
    assert!(said.contains(&format!("{} files", files.len())), "{said}");
    assert_eq!(files[0].name, web::PAGE);
    assert_eq!(names(&out), files.iter().map(|file| file.name.to_string()).collect());
    for file in &files {
        assert_eq!(std::fs::read(out.join(file.name)).expect("a file"), *file.bytes, "{}", file.name);
    }
    assert_eq!(names(out.parent().expect("a parent")).len(), 1, "nothing unfinished is left");

    std::fs::write(out.join(web::PAGE), "of an earlier version").expect("a page");
    succeed(&["export", "--web", text(&out)]);
    assert_eq!(std::fs::read(out.join(web::PAGE)).expect("a file"), *files[0].bytes);

    std::fs::write(out.join("CNAME"), "somebody's").expect("a file");
    let said = fail(1, &["export", "--web", text(&out)]);
    assert!(said.contains("`CNAME` beside the page"), "{said}");
    assert!(out.join("CNAME").exists());
}

#[test]
fn what_is_no_page_stays() {
    let other = scratch().join("letters");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join("letter.txt"), "dear").expect("a file");
    let said = fail(1, &["export", "--web", text(&other)]);
    assert!(said.contains("letters") && said.contains("no page of this program"), "{said}");
    let said = fail(1, &["export", "--web", text(&other.join("letter.txt"))]);
    assert!(said.contains("letter.txt") && said.contains("name a folder"), "{said}");
    let said = fail(1, &["export", "--web", text(&scratch().join("none")), "--model", text(&other.join("letter.txt"))]);
    assert!(said.contains("letter.txt") && said.contains("safetensors"), "{said}");
    assert!(!scratch().join("none").exists());
    assert_eq!(std::fs::read(other.join("letter.txt")).expect("a file"), b"dear");
}

#[test]
fn no_file_of_the_page_asks_another_host() {
    for file in web::files(None, None).expect("the files of the page") {
        let Ok(text) = std::str::from_utf8(&file.bytes) else { continue };
        // What begins an address, but for the names of formats and comments.
        let asks = |line: &&str| {
            let code = line.split("// ").next().unwrap_or_default();
            // The namespace of SVG, which nobody fetches.
            let code = code.replace("http://www.w3.org/2000/svg", "");
            ["http://", "https://", "src=\"//", "href=\"//"].iter().any(|sign| code.contains(sign))
        };
        let found: Vec<&str> = text.lines().filter(asks).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.name);
    }
}

#[test]
fn the_page_with_the_base_model_is_small_when_it_is_compressed() {
    let gzipped = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory").len()
    };
    let files = web::files(None, None).expect("the files of the page");
    let all: usize = files.iter().map(|file| gzipped(&file.bytes)).sum();
    assert!(all < 1_500_000, "{all} bytes");
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| rest.split(to).next()).collect()
}

fn page_text(name: &str) -> String {
    let files = web::files(None, None).expect("the files of the page");
    let file = files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.to_vec()).expect("a text")
}

#[test]
fn all_words_of_the_page_are_in_one_table() {
    let table = page_text("words.js");
    let table = between(&table, "const en = {\n", "\n};")[0];
    let word = |line: &str| {
        let (key, text) = line.trim().split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let text = text.trim_end_matches(',').trim_matches('\'').replace("\\'", "'");
        (key.to_string(), text)
    };
    let words: BTreeMap<String, String> = table.lines().map(word).collect();
    let (page, script) = (page_text("index.html"), page_text("page.js"));
    // What stands in the page before its script runs is what the table says.
    let mut used = BTreeSet::new();
    for said in between(&page, "data-say=\"", "</") {
        let (key, rest) = said.split_once('"').expect("a key");
        let shown = rest.split_once('>').expect("a text").1;
        let said = words.get(key).unwrap_or_else(|| panic!("no words for {key}"));
        assert!(shown.is_empty() || shown == said, "{key}: {shown:?} in the page, {said:?} in the table");
        used.insert(key.to_string());
    }
    // Every key that the script names is there, and every word of the table is used.
    for call in ["say('", "notice('", "status('", "said('", "word('"] {
        for key in between(&script, call, "'") {
            assert!(words.contains_key(key), "no words for {key}");
        }
    }
    used.extend(words.keys().filter(|key| script.contains(&format!("'{key}'"))).cloned());
    let unused: Vec<&String> = words.keys().filter(|key| !used.contains(*key)).collect();
    assert!(unused.is_empty(), "{unused:?} are said nowhere");
    // No words but those of the table: text in the page is of elements that the table fills.
    let body = page.split("<body>").nth(1).expect("a body");
    for (at, _) in body.match_indices('>') {
        let text = body[at + 1..].split('<').next().unwrap_or_default().trim();
        let tag = body[..at].rsplit('<').next().unwrap_or_default();
        assert!(text.is_empty() || tag.contains("data-say"), "{text:?} is not in the table");
    }
}

#[test]
fn the_runner_is_short_and_knows_no_operation() {
    let runner = page_text("plan.js");
    assert!(runner.lines().count() < 150, "{} lines", runner.lines().count());
    assert!(!runner.lines().any(|line| line.starts_with("import ")), "it depends on something");
    for op in ["conv", "spectrum", "matmul", "relu", "adam", "humdinger.wasm"] {
        assert!(!runner.to_lowercase().contains(op), "{op}");
    }
    for word in ["@param", "@typedef", "@returns"] {
        assert!(runner.contains(word), "{word} is missing");
    }
    let example = page_text("example.html");
    let script = between(&example, "<script type=\"module\">\n", "</script>")[0];
    let lines = script.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 20, "{lines} lines");
}
