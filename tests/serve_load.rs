//! `humdinger serve` under load: many at once, uploads that stop, more bytes than anybody wants. Memory stays where it was.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/server.rs"]
mod server;

use server::{Answer, Server, clip};
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// The answers to what many clients ask at once.
fn at_once(count: usize, ask: impl Fn(usize) -> Answer + Sync) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let ask = &ask;
        let clients: Vec<_> = (0..count).map(|number| scope.spawn(move || ask(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn two_hundred_at_once_are_all_answered_and_memory_stays_flat() {
    let server = Server::start(&["--upload-timeout", "600"]);
    let bytes = std::fs::read(clip()).unwrap();
    let expected = server.post("/predict", &bytes).json();
    let right = |answer: &Answer| answer.status == 200 && answer.json() == expected;
    let answers = at_once(200, |_| server.post("/predict", &bytes));
    assert!(answers.iter().all(right), "{:?}", answers.iter().find(|answer| !right(answer)));
    #[cfg(target_os = "linux")]
    let before = server.most_memory();
    // Once more, among nonsense, path tricks and uploads that are cut off.
    let answers = at_once(200, |number| match number % 4 {
        0 => server.post("/predict", &bytes),
        1 => server.post("/predict", &bytes[..number % 40]),
        2 => server.get("/../../etc/passwd"),
        _ => {
            let length = bytes.len().to_string();
            let mut cut = server.connect();
            cut.write_all(server.head("POST", "/predict", &[("Content-Length", &length)]).as_bytes()).unwrap();
            cut.write_all(&bytes[..number]).unwrap();
            cut.shutdown(Shutdown::Write).unwrap();
            server::read(&mut cut)
        }
    });
    for (number, answer) in answers.iter().enumerate() {
        let good = match number % 4 {
            0 => right(answer),
            1 => answer.status == 422,
            2 => answer.status == 404,
            _ => answer.status == 400,
        };
        assert!(good, "{number}: {answer:?}");
    }
    #[cfg(target_os = "linux")]
    {
        let grown = server.most_memory() - before;
        assert!(grown < 16 << 20, "{grown} bytes more than before");
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn where_there_is_too_much_to_do_some_are_told_to_come_again() {
    let server = Server::start(&["--queue", "1", "--upload-timeout", "600"]);
    let bytes = std::fs::read(clip()).unwrap();
    let answers = at_once(24, |_| server.post("/predict", &bytes));
    let (done, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!done.is_empty() && !busy.is_empty(), "{} {}", done.len(), busy.len());
    assert!(busy.iter().all(|answer| answer.status == 503 && answer.header("retry-after").is_some()), "{busy:?}");
}

#[test]
fn uploads_that_stop_or_are_cut_off_hurt_nobody() {
    let server = Server::start(&["--upload-timeout", "2"]);
    let bytes = std::fs::read(clip()).unwrap();
    let head = server.head("POST", "/predict", &[("Content-Length", &bytes.len().to_string())]);
    // One that says no more, and waits.
    let mut waits = server.connect();
    waits.write_all(head.as_bytes()).unwrap();
    waits.write_all(&bytes[..100]).unwrap();
    // One that has ended, and reads; some that are gone.
    let mut cut = server.connect();
    cut.write_all(head.as_bytes()).unwrap();
    cut.write_all(&bytes[..1_000]).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    for part in [0, 10, 1_000] {
        for _ in 0..20 {
            let mut gone = server.connect();
            gone.write_all(head.as_bytes()).unwrap();
            gone.write_all(&bytes[..part]).unwrap();
        }
    }
    let answer = server::read(&mut cut);
    assert!(
        answer.status == 400 && answer.json()["error"].as_str().is_some_and(|e| e.contains("cut off")),
        "{answer:?}"
    );
    assert_eq!(server.post("/predict", &bytes).status, 200);
    let started = Instant::now();
    let answer = server::read(&mut waits);
    assert!(answer.status == 408 && started.elapsed() < Duration::from_secs(60), "{answer:?}");
    assert_eq!(server.post("/predict", &bytes).status, 200);
}

#[cfg(target_os = "linux")]
#[test]
fn a_gigabyte_of_zeros_is_refused_without_being_held() {
    let server = Server::start(&["--max-upload", "8"]);
    assert_eq!(server.get("/model").status, 200);
    let before = server.most_memory();
    let zeros = vec![0u8; 1 << 20];
    // Of a length that is said, and of one that is not.
    let mut sized = server.connect();
    sized.write_all(server.head("POST", "/predict", &[("Content-Length", "1000000000")]).as_bytes()).unwrap();
    for _ in 0..953 {
        sized.write_all(&zeros).unwrap();
    }
    assert_eq!(server::read(&mut sized).status, 413);
    let mut chunked = server.connect();
    chunked.write_all(server.head("POST", "/predict", &[("Transfer-Encoding", "chunked")]).as_bytes()).unwrap();
    let chunk = [&b"100000\r\n"[..], &zeros, b"\r\n"].concat();
    for _ in 0..1_000 {
        chunked.write_all(&chunk).unwrap();
    }
    assert_eq!(server::read(&mut chunked).status, 413);
    let grown = server.most_memory() - before;
    assert!(grown < 40 << 20, "{grown} bytes more than before");
    // What is taken is judged: eight million zeros are no sound.
    assert_eq!(server.post("/predict", &zeros).status, 422);
    // Who waits to be asked for the body is told at once, and sends none of it.
    let mut polite = server.connect();
    let expect = [("Content-Length", "1000000000"), ("Expect", "100-continue")];
    polite.write_all(server.head("POST", "/predict", &expect).as_bytes()).unwrap();
    assert_eq!(server::read(&mut polite).status, 413);
}
