//! A running `humdinger serve`, and a client that says exactly what a test wants.

#![allow(dead_code)]

use super::program::{humdinger, scratch, small_data, succeed, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A model that is quick to ask.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let out = scratch().join("served");
        let data = text(small_data());
        succeed(&[
            "train",
            "--recipe",
            "notebook",
            "--device",
            "cpu",
            "--epochs",
            "1",
            "--data",
            data,
            "--out",
            text(&out),
        ]);
        out.join("model.safetensors")
    })
}

/// Recordings, in order of name.
pub fn clips() -> &'static [PathBuf] {
    static CLIPS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    CLIPS.get_or_init(|| {
        let mut clips: Vec<_> = std::fs::read_dir(small_data()).unwrap().map(|entry| entry.unwrap().path()).collect();
        clips.retain(|path| path.extension().is_some_and(|end| end == "wav"));
        clips.sort();
        clips
    })
}

pub fn clip() -> &'static Path {
    &clips()[0]
}

/// A server of a test's own.
pub struct Server {
    pub address: SocketAddr,
    /// Its first line.
    pub said: String,
    child: Child,
    /// Ends the server when this process does, also where it is kept in a static, which is never dropped.
    watcher: Option<Child>,
}

impl Server {
    /// With these arguments more, at a port that is free; it answers when this returns.
    pub fn start(arguments: &[&str]) -> Self {
        Self::of_base(&[&["--model", text(model())], arguments].concat())
    }

    /// The same with the model that comes with the program.
    pub fn of_base(arguments: &[&str]) -> Self {
        let mut child = humdinger()
            .args(["serve", "--device", "cpu", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let said = said.trim().to_string();
        let place = said.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_else(|| {
            let _ = child.kill();
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("{said:?}: {errors}");
        });
        let port = place.rsplit_once(':').unwrap().1.parse().unwrap();
        // Its standard input ends with whoever holds the other end.
        let last_words = format!("cat > /dev/null; kill {}", child.id());
        let watcher = std::process::Command::new("sh")
            .args(["-c", &last_words])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self { address: ([127, 0, 0, 1], port).into(), said, child, watcher: watcher.ok() }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(600))).unwrap();
        stream
    }

    /// The head of a request, which ends the connection.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}\r\n", self.address)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let headers = [headers, &[("Content-Length", &length)]].concat();
        self.raw(&[self.head(method, path, &headers).as_bytes(), body].concat())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.raw(self.head("GET", path, &[]).as_bytes())
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", path, &[], body)
    }

    /// The answer to these bytes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may be refused before all of it is sent.
        let _ = stream.write_all(bytes);
        read(&mut stream)
    }

    /// The most memory that the process has had, in bytes.
    #[cfg(target_os = "linux")]
    pub fn most_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Sends a signal and waits for the end: the exit code, and what was said on standard error.
    #[cfg(unix)]
    pub fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap().code(), errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First, so that it ends nobody who has the number after the server.
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer; status 0 where there was none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Reads one answer.
pub fn read(stream: &mut TcpStream) -> Answer {
    let mut from = BufReader::new(stream);
    let mut answer = Answer { status: 0, headers: Vec::new(), body: Vec::new() };
    let mut line = String::new();
    if from.read_line(&mut line).is_err() || line.is_empty() {
        return answer;
    }
    answer.status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    loop {
        line.clear();
        from.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    match length {
        Some(length) => {
            let _ = from.take(length).read_to_end(&mut answer.body);
        }
        None => {
            let _ = from.read_to_end(&mut answer.body);
        }
    }
    answer
}

/// Holds a value against a schema of the OpenAPI document, as far as that says anything: types, required and known properties, and
/// items of lists.
pub fn check(value: &Value, schema: &Value, document: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        let named = &document["components"]["schemas"][name];
        assert!(named.is_object(), "{place}: there is no schema {name}");
        return check(value, named, document, place);
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{place}: no type {other}"),
    };
    let right = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    assert!(right, "{place}: {value} is no {}", schema["type"]);
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{place}: {value} is none of {values:?}");
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(object.contains_key(name.as_str().unwrap()), "{place}: {name} is missing in {value}");
        }
        for (name, inner) in object {
            let inner_schema = properties.get(name).unwrap_or_else(|| panic!("{place}: {name} is not described"));
            check(inner, inner_schema, document, &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        check(item, &schema["items"], document, place);
    }
}
