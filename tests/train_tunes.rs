//! `humdinger train --tunes`: models of songs of which there are no recordings.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, humdinger, scratch, succeed, text};

#[test]
fn songs_are_learned_from_their_notes() {
    let book = scratch().join("song book");
    std::fs::create_dir_all(&book).unwrap();
    std::fs::write(book.join("going_up.jianpu"), "1 1 2 3 4 5 6 7 | 1' 1' 7 6 5- 5- |\n").unwrap();
    let only = book.join("down.jianpu");
    std::fs::write(&only, "1' 7 6 5 4 3 2 1 | 5, 5, 6, 7, 1- 1- |\n").unwrap();
    let run = |name: &str, book: &std::path::Path| {
        let out = scratch().join(name);
        let train = ["train", "--tunes", text(book), "--singers", "3", "--epochs", "1", "--device", "cpu"];
        let done = humdinger().args(train).args(["--out", text(&out)]).output().unwrap();
        let told = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(done.status.success(), "{told:?}");
        (out, told)
    };
    let (first, [said, warned]) = run("run-of-notes", &book);
    assert!(said.contains("6 clips, 2 songs, 3 people"), "{said}");
    assert!(warned.contains("making the synthetic recordings in"), "{warned}");
    let model = succeed(&["inspect", text(&first.join("model.safetensors"))]);
    assert!(model.contains("going-up") && model.contains("down"), "{model}");
    let config = std::fs::read_to_string(first.join("config.toml")).unwrap();
    assert!(config.contains("song-book-by-3-singers-seed-1-"), "{config}");

    // The same songs are not sung again; others are.
    let (second, [_, warned]) = run("run-of-notes-again", &book);
    assert!(!warned.contains("making"), "{warned}");
    assert_eq!(config, std::fs::read_to_string(second.join("config.toml")).unwrap());

    // What is gone is made again, and nothing else in its place.
    let made = config.lines().find_map(|line| line.strip_prefix("data = \"")).unwrap().trim_end_matches('"');
    std::fs::remove_dir_all(made).unwrap();
    let longer = ["train", "--resume", text(&first), "--epochs", "2"];
    let gone = fail(1, &longer);
    assert!(gone.contains("are gone") && gone.contains("--tunes"), "{gone}");
    let others = fail(2, &[&longer[..], &["--tunes", "Twinkle,Greensleeves", "--singers", "3"]].concat());
    assert!(others.contains("--tunes") && others.contains("begun with"), "{others}");
    succeed(&[&longer[..], &["--tunes", text(&book), "--singers", "3"]].concat());
    assert!(std::path::Path::new(made).exists());

    std::fs::write(&only, "1' 7 6 5 4 3 2 1 | 1, 2, 3, 4, 5-, 5-, |\n").unwrap();
    let (other, [_, warned]) = run("run-of-other-notes", &book);
    assert!(warned.contains("making"), "{warned}");
    assert_ne!(config, std::fs::read_to_string(other.join("config.toml")).unwrap());
}

#[test]
fn what_cannot_be_learned_is_told() {
    let one = scratch().join("one-song");
    std::fs::create_dir_all(&one).unwrap();
    std::fs::write(one.join("a.jianpu"), "1 2 3 4 5 5 |\n").unwrap();
    let out = scratch().join("no-run");
    let wrong = |code, more: &[&str]| fail(code, &[&["train", "--out", text(&out)], more].concat());
    assert!(wrong(2, &["--tunes", text(&one)]).contains("--tunes: one song"));
    assert!(wrong(2, &["--tunes", "No such tune"]).contains("No such tune"));
    assert!(wrong(2, &["--tunes", text(&one), "--data", text(&one)]).contains("--data"));
    assert!(wrong(2, &["--singers", "5"]).contains("--tunes"));
    assert!(wrong(2, &["--tunes", "Twinkle,Greensleeves", "--singers", "0"]).contains("--singers"));
    assert!(!out.exists());
}
