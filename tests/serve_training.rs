//! `POST /train` of `humdinger serve`: what it trains is what `train` trains, one at a time, within bounds, and only what is asked for.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/server.rs"]
mod server;

use program::{scratch, succeed, text};
use serde_json::Value;
use server::{Answer, Server};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Field = (String, String, Vec<u8>);

/// Three songs with three recordings each, in folders of their names.
fn songs() -> &'static (PathBuf, Vec<Field>) {
    static SONGS: OnceLock<(PathBuf, Vec<Field>)> = OnceLock::new();
    SONGS.get_or_init(|| {
        let (sung, folder) = (scratch().join("sung"), scratch().join("songs"));
        let tunes = ["Twinkle", "Greensleeves", "YankeeDoodle"];
        let list = tunes.join(",");
        succeed(&["synth", "--out", text(&sung), "--singers", "3", "--seconds", "3", "--tunes", &list]);
        let mut files: Vec<_> = std::fs::read_dir(&sung).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
        files.sort();
        let mut fields = Vec::new();
        for path in &files {
            let tune = tunes.iter().find(|tune| text(path).ends_with(&format!("{tune}.wav"))).unwrap();
            // Names tell who sings, and nobody is to be in training and validation.
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            let bytes = std::fs::read(path).unwrap();
            std::fs::create_dir_all(folder.join(tune)).unwrap();
            std::fs::write(folder.join(tune).join(&name), &bytes).unwrap();
            fields.push((tune.to_string(), name, bytes));
        }
        assert_eq!(fields.len(), 9);
        (folder, fields)
    })
}

/// A form with a field for each recording.
fn form(fields: &[Field]) -> Vec<u8> {
    let mut form = Vec::new();
    for (song, name, bytes) in fields {
        let head = format!("Content-Disposition: form-data; name=\"{song}\"; filename=\"{name}\"");
        form.extend(format!("--xyz\r\n{head}\r\n\r\n").into_bytes());
        form.extend(bytes);
        form.extend(b"\r\n");
    }
    form.extend(b"--xyz--\r\n");
    form
}

fn train(server: &Server, query: &str, fields: &[Field]) -> Answer {
    let kind = [("Content-Type", "multipart/form-data; boundary=xyz")];
    server.send("POST", &format!("/train{query}"), &kind, &form(fields))
}

/// How training ended.
fn ended(server: &Server) -> Value {
    let started = Instant::now();
    loop {
        let told = server.get("/train").json();
        if told["state"] != "training" {
            return told;
        }
        assert!(started.elapsed() < Duration::from_secs(900), "{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The same recordings several times over, under other names.
fn many() -> Vec<Field> {
    let again = |time: usize| {
        let fields = songs().1.iter().cloned();
        fields.map(move |(song, name, bytes)| (song, format!("{time} {name}"), bytes))
    };
    (0..5).flat_map(again).collect()
}

#[test]
fn what_is_trained_is_what_train_trains() {
    let (folder, fields) = songs();
    let server = Server::of_base(&[]);
    let document = server.get("/openapi.json").json();
    let described = |answer: &Answer, method: &str, path: &str| {
        let response = &document["paths"][path][method]["responses"][answer.status.to_string()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}: {answer:?} is not described");
        server::check(&answer.json(), schema, &document, path);
    };
    let before = server.get("/train");
    described(&before, "get", "/train");
    assert_eq!(before.json()["state"], "none");
    described(&server.get("/train/model"), "get", "/train/model");
    let begun = train(&server, "?seed=7&epochs=3", fields);
    described(&begun, "post", "/train");
    let told = begun.json();
    assert_eq!((begun.status, &told["state"], &told["recordings"]), (202, &"training".into(), &9.into()));
    assert_eq!(told["songs"], serde_json::json!(["Greensleeves", "Twinkle", "YankeeDoodle"]));
    // One at a time, and others are answered meanwhile.
    let second = train(&server, "", fields);
    described(&second, "post", "/train");
    assert!(
        second.status == 409 && second.json()["error"].as_str().is_some_and(|e| e.contains("DELETE")),
        "{second:?}"
    );
    assert_eq!(server.post("/predict", &fields[0].2).status, 200);
    let told = ended(&server);
    assert_eq!((&told["state"], &told["number"]), (&"done".into(), &1.into()), "{told}");
    assert_eq!(told["history"].as_array().map(Vec::len), Some(3));
    let after = server.get("/train");
    described(&after, "get", "/train");
    let model = server.get("/train/model");
    assert_eq!((model.status, model.header("content-type")), (200, Some("application/octet-stream")));
    let out = scratch().join("run");
    succeed(&["train", "--device", "cpu", "--data", text(folder), "--seed", "7", "--epochs", "3", "--out", text(&out)]);
    assert!(model.body == std::fs::read(out.join("model.safetensors")).unwrap(), "the same file");
    // Once it is over it can be forgotten, and begun anew.
    let forgotten = server.send("DELETE", "/train", &[], b"");
    described(&forgotten, "delete", "/train");
    assert_eq!((forgotten.status, &forgotten.json()["state"]), (200, &"none".into()));
    assert_eq!(server.get("/train/model").status, 404);
    // The server's own model is as it was.
    assert_eq!(server.get("/model").json()["model"], "base");
    assert_eq!(train(&server, "?epochs=1", fields).json()["number"], 2);
    assert_eq!(ended(&server)["state"], "done");
}

#[test]
fn training_ends_when_it_is_asked_to_or_its_time_is_over() {
    let server = Server::of_base(&["--max-training", "1"]);
    let begun = train(&server, "?epochs=1000", &many());
    assert_eq!(begun.status, 202, "{begun:?}");
    let told = ended(&server);
    assert_eq!(told["state"], "failed", "{told}");
    assert!(told["error"].as_str().is_some_and(|why| why.contains("--max-training")), "{told}");
    assert_eq!(server.get("/train/model").status, 404);

    let server = Server::of_base(&[]);
    assert_eq!(train(&server, "?epochs=1000", &many()).status, 202);
    let stopped = server.send("DELETE", "/train", &[], b"").json();
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    let started = Instant::now();
    // The step in progress is still done; then there is room for another.
    while train(&server, "?epochs=1", &songs().1).status == 409 {
        assert!(started.elapsed() < Duration::from_secs(120), "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let told = ended(&server);
    assert_eq!((&told["state"], &told["number"]), (&"done".into(), &2.into()), "{told}");
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_its_name() {
    let server = Server::of_base(&[]);
    let fields = &songs().1;
    let refused = |fields: &[Field]| {
        let answer = train(&server, "", fields);
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_string())
    };
    let has = |(status, error): (u16, String), expected: u16, words: &str| {
        assert!(status == expected && error.contains(words), "{status} {error}, not {expected} {words}");
    };
    has(refused(&[]), 422, "song");
    let twinkle: Vec<Field> = fields.iter().filter(|(song, ..)| song == "Twinkle").cloned().collect();
    has(refused(&twinkle), 422, "1 song");
    let other = fields.iter().find(|(song, ..)| song == "Greensleeves").cloned();
    let lonely = [&twinkle[..], other.as_slice()].concat();
    has(refused(&lonely), 422, "Greensleeves");
    let twice = [&fields[..], &fields[..1]].concat();
    has(refused(&twice), 422, &format!("{}/{}", fields[0].0, fields[0].1));
    let letter = [&fields[..], &[("Twinkle".into(), "letter.txt".into(), b"dear".to_vec())]].concat();
    has(refused(&letter), 422, "Twinkle/letter.txt");
    for song in ["", "..", ".hidden", "a/b", "a\\b", "a:b"] {
        has(refused(&[(song.into(), "1.wav".into(), vec![])]), 400, "name");
    }
    // Hours of silence, small as they are.
    let mut silence = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data".to_vec();
    silence.extend((8_000u32 * 550).to_le_bytes());
    silence.extend(vec![128u8; 8_000 * 550]);
    let hours: Vec<Field> = (0..7).map(|i| ("Silence".into(), format!("{i}.wav"), silence.clone())).collect();
    has(refused(&hours), 422, "3600 s");
    let thousands: Vec<Field> = (0..1001).map(|i| ("x".into(), format!("{i}.wav"), vec![])).collect();
    has(refused(&thousands), 413, "1000");
    for query in ["?epochs=0", "?epochs=x", "?seed=-1", "?top=3", "?name=a"] {
        assert_eq!(train(&server, query, fields).status, 400, "{query}");
    }
    let no_form = server.post("/train", &fields[0].2);
    assert!(
        no_form.status == 400 && no_form.json()["error"].as_str().is_some_and(|e| e.contains("form")),
        "{no_form:?}"
    );
    assert_eq!(server.send("PUT", "/train", &[], b"").header("allow"), Some("POST, GET, HEAD, DELETE"));
    assert_eq!(server.send("POST", "/train", &[("Origin", "http://evil.example")], b"").status, 403);
    assert_eq!(server.send("DELETE", "/train", &[("Origin", "http://evil.example")], b"").status, 403);
    assert_eq!(server.get("/train").json()["state"], "none");
    // No recording leads to a file, whatever it is called.
    let path = text(&songs().0.join("Twinkle")).to_string();
    let name = &fields.iter().find(|(song, ..)| song == "Twinkle").unwrap().1;
    let named = [("Twinkle".to_string(), format!("{path}/{name}"), vec![])];
    has(refused(&named), 422, &format!("Twinkle/{name}: is empty"));
}

#[test]
fn nothing_is_trained_where_that_is_not_wanted_or_the_token_is_missing() {
    let server = Server::of_base(&["--max-training", "0"]);
    assert_eq!(train(&server, "", &songs().1).status, 404);
    assert_eq!(server.get("/train").status, 404);
    let document = server.get("/openapi.json").json();
    assert!(document["paths"].as_object().unwrap().keys().all(|path| !path.contains("train")), "{document}");
    assert!(server.get("/about.json").json()["train"].is_null());
    assert_eq!(Server::of_base(&[]).get("/about.json").json()["train"], "train");
    let server = Server::of_base(&["--token", "a-long-secret"]);
    assert_eq!(train(&server, "", &songs().1).status, 401);
    for (method, path) in [("GET", "/train"), ("DELETE", "/train"), ("GET", "/train/model")] {
        assert_eq!(server.send(method, path, &[], b"").status, 401, "{method} {path}");
    }
}
