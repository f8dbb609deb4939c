//! `humdinger export`: the folder of a page.

#![cfg(feature = "app")]
// What stands in `common` is not all used here.
#![allow(dead_code)]

#[path = "common/program.rs"]
mod program;

use humdinger::cli::web;
use program::{fail, scratch, succeed, text};
use std::collections::BTreeSet;
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
