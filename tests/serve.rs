//! `humdinger serve`: what it answers, and what it does with clients that are broken, hostile or too many.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/server.rs"]
mod server;

use program::{fail, humdinger, scratch, small_data, succeed, text};
use serde_json::Value;
use server::{Server, clip, clips, model};
use std::io::{Read, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A server that tests share, with patience enough for a busy machine.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["--upload-timeout", "600"]))
}

#[test]
fn the_answer_is_that_of_predict() {
    let server = shared();
    let path = clip();
    let said = succeed(&["predict", "--device", "cpu", "--model", text(model()), "--format", "json", text(path)]);
    let Value::Array(mut expected) = serde_json::from_str(&said).unwrap() else { panic!("{said}") };
    expected[0]["file"] = "clip.wav".into();
    let bytes = std::fs::read(path).unwrap();
    let answer = server.post("/predict?name=clip.wav", &bytes);
    assert_eq!((answer.status, answer.json()), (200, expected[0].clone()));
    // The same in a form, whose file has a name, and with more to ask.
    let form = [
        &b"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a/clip.wav\"\r\n\r\n"[..],
        &bytes,
        b"\r\n--xyz--\r\n",
    ]
    .concat();
    let kind = [("Content-Type", "multipart/form-data; boundary=xyz")];
    let answer = server.send("POST", "/predict", &kind, &form);
    assert_eq!((answer.status, answer.json()), (200, expected[0].clone()));
    let more = server.post("/predict?top=3&min_confidence=1", &bytes).json();
    assert_eq!((more["top"].as_array().map(Vec::len), &more["threshold"]), (Some(3), &1.0.into()));
    // In pieces, as programs send what they do not know the length of.
    let mut stream = server.connect();
    let head = server.head("POST", "/predict?name=clip.wav", &[("Transfer-Encoding", "chunked")]);
    stream.write_all(head.as_bytes()).unwrap();
    for part in bytes.chunks(10_000) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).unwrap();
        stream.write_all(&[part, b"\r\n"].concat()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(server::read(&mut stream).json(), expected[0]);
}

#[test]
fn what_is_no_recording_is_told_as_such() {
    let server = shared();
    let noise: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut cut = std::fs::read(clip()).unwrap();
    cut.truncate(40);
    for (what, bytes) in [("nothing", vec![]), ("noise", noise), ("a header alone", cut), ("text", b"hello".to_vec())] {
        let answer = server.post("/predict", &bytes);
        let object = answer.json();
        assert_eq!((answer.status, object["decision"].as_str()), (422, Some("error")), "{what}: {object}");
        assert!(object["error"].as_str().is_some_and(|why| why.len() > 5), "{what}: {object}");
    }
    let forms = [
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=x", "never begins"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nabc\r\n--x--\r\n",
        ),
        ("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut off"),
        ("multipart/form-data; boundary=x", "--x--\r\n"),
    ];
    for (kind, form) in forms {
        let answer = server.send("POST", "/predict", &[("Content-Type", kind)], form.as_bytes());
        assert!(answer.status == 400 && answer.json()["error"].is_string(), "{form}: {answer:?}");
    }
    for query in ["top=0", "top=", "x=1", "min_confidence=-1", "anywhere=true", "name=%ff"] {
        assert_eq!(server.post(&format!("/predict?{query}"), b"x").status, 400, "{query}");
    }
    assert_eq!(server.send("POST", "/predict", &[("Content-Encoding", "gzip")], b"x").status, 415);
}

#[test]
fn a_recording_that_is_too_long_is_refused_however_small_it_is() {
    // An hour of silence in 16-bit WAV is 58 MB at 8 kHz; as bytes of the least size it is 29.
    let server = Server::start(&["--max-duration", "60"]);
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data".to_vec();
    let sound = vec![128u8; 8_000 * 61];
    wav.extend((sound.len() as u32).to_le_bytes());
    wav.extend(&sound);
    let answer = server.post("/predict", &wav);
    let error = answer.json()["error"].as_str().unwrap_or_default().to_string();
    assert!(answer.status == 422 && error.contains("61 s") && error.contains("60 s"), "{answer:?}");
}

/// A WAV file of a few songs' clips, over and over.
fn long_wav(rate: u32, seconds: u32) -> Vec<u8> {
    let tone = |i: u32| {
        let t = f64::from(i) / f64::from(rate);
        // A note a second, over an octave.
        let note = 220.0 * f64::from(2).powf(f64::from((t as u32 * 5) % 12) / 12.0);
        (8_000.0 * (std::f64::consts::TAU * note * t).sin()) as i16
    };
    let sound: Vec<u8> = (0..rate * seconds).flat_map(|i| tone(i).to_le_bytes().repeat(2)).collect();
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 4).to_le_bytes());
    wav.extend(b"\x04\0\x10\0data");
    wav.extend((sound.len() as u32).to_le_bytes());
    wav.extend(sound);
    wav
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_recording_is_answered_without_being_held_decoded() {
    let server = Server::start(&["--upload-timeout", "600"]);
    server.post("/predict", &std::fs::read(clip()).unwrap());
    let before = server.most_memory();
    let wav = long_wav(44_100, 200);
    assert!(wav.len() > 34_000_000);
    let path = scratch().join("large.wav");
    std::fs::write(&path, &wav).unwrap();
    let answer = server.post("/predict", &wav).json();
    let grown = server.most_memory() - before;
    // The upload itself, whose memory grows by doubling, and what the model hears: decoded it would be 70 MB more.
    assert!(grown < 110_000_000, "{grown} bytes more than before");
    let said = succeed(&["predict", "--device", "cpu", "--model", text(model()), "--format", "json", text(&path)]);
    let expected: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&answer["prediction"], &answer["decision"]), (&expected[0]["prediction"], &expected[0]["decision"]));
    let apart = answer["confidence"].as_f64().unwrap() - expected[0]["confidence"].as_f64().unwrap();
    assert!(apart.abs() < 1e-5, "{answer} {expected}");
    assert!(answer["warnings"][0].as_str().is_some_and(|text| text.contains("only its first")), "{answer}");
}

#[test]
fn a_long_recording_gets_its_passages() {
    // The base model, which hears all of a recording; it also serves without any model file.
    let server = Server::of_base(&["--upload-timeout", "600"]);
    let path = scratch().join("long.wav");
    std::fs::write(&path, long_wav(8_000, 33)).unwrap();
    let said = succeed(&["predict", "--device", "cpu", "--format", "json", text(&path)]);
    let Value::Array(mut expected) = serde_json::from_str(&said).unwrap() else { panic!("{said}") };
    expected[0]["file"] = "recording".into();
    let answer = server.post("/predict", &std::fs::read(&path).unwrap());
    assert!(answer.json()["passages"].is_array(), "{answer:?}");
    assert_eq!((answer.status, answer.json()), (200, expected[0].clone()));
    assert_eq!(server.get("/model").json()["model"], "base");
}

#[test]
fn names_in_requests_lead_to_no_file() {
    let server = shared();
    let tricks = [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%252e%252e/etc/passwd",
        "/....//....//etc/passwd",
        "/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/etc/passwd%00.js",
        "/./upload.js",
        "/Cargo.toml",
        "/model/../../etc/passwd",
        "/%2e/",
        "/upload.js/",
        "/index.html/../../../etc/passwd",
    ];
    for path in tricks {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:"), "{path}");
    }
    // A recording's name is a name alone: this file is there, and a sound file, and is not read.
    let path = text(clip()).replace('/', "%2F").replace(' ', "%20");
    let answer = server.post(&format!("/predict?name={path}"), b"");
    assert!(answer.status == 422 && answer.json()["error"] == "is empty", "{answer:?}");
    for (target, status) in [("http://evil.example/model", 400), ("*", 404), ("model", 400)] {
        let answer = server.get(target);
        assert!(answer.status == status || answer.status == 400, "{target}: {answer:?}");
    }
}

#[test]
fn only_the_right_method_is_answered() {
    let server = shared();
    for (method, path, allowed) in [
        ("GET", "/predict", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("POST", "/model", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("PUT", "/upload.js", "GET, HEAD"),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let head = server.send("HEAD", "/model", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn pages_of_other_sites_and_names_that_lead_here_are_refused() {
    let server = shared();
    let own = format!("http://{}", server.address);
    let origin = |origin: &str| server.send("GET", "/model", &[("Origin", origin)], b"").status;
    assert_eq!([origin(&own), origin("http://evil.example"), origin("null")], [200, 403, 403]);
    let host = |host: &str| {
        server.raw(format!("GET /model HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).status
    };
    let port = server.address.port();
    let named = host(&format!("localhost:{port}"));
    assert_eq!(
        [named, host("evil.example"), host(&format!("evil.example:{port}")), host("127.0.0.1:1")],
        [200, 421, 421, 421]
    );
    assert_eq!(server.raw(b"GET /model HTTP/1.1\r\nConnection: close\r\n\r\n").status, 400);
    for text in ["nonsense\r\n\r\n", "GET /model HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        assert!(matches!(server.raw(text.as_bytes()).status, 400 | 505), "{text:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    assert!(matches!(server.raw(long.as_bytes()).status, 0 | 400 | 414 | 431));
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    let server = Server::start(&["--token", "a-long-secret"]);
    assert_eq!(server.get("/health").status, 200);
    let refused = server.get("/model");
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    for path in ["/", "/upload.js", "/openapi.json", "/?token=wrong", "/nothing"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(server.post("/predict", &std::fs::read(clip()).unwrap()).status, 401);
    let with = |name: &str, value: &str| server.send("GET", "/model", &[(name, value)], b"").status;
    assert_eq!(with("Authorization", "Bearer a-long-secret"), 200);
    assert_eq!(with("Authorization", "Bearer a-long-secre"), 401);
    // A browser gets it by the address that was printed, and keeps it.
    let first = server.get("/?token=a-long-secret");
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap().to_string();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(with("Cookie", cookie.split(';').next().unwrap()), 200);
    assert_eq!(with("Cookie", "humdinger_token=x"), 401);
    let told = fail(2, &["serve", "--token", "short"]);
    assert!(told.contains("--token"), "{told}");
}

/// The local addresses at which a process listens, as the kernel writes them.
#[cfg(target_os = "linux")]
fn listening(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let here = fields.filter(|fields| fields[3] == "0A" && fields[1].ends_with(&format!(":{port:04X}")));
    here.map(|fields| fields[1].split(':').next().unwrap().to_string()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_else_is_answered_unless_asked_for() {
    assert_eq!(listening(shared().address.port()), ["0100007F"], "127.0.0.1 and nothing else");
    let everybody = Server::start(&["--host", "0.0.0.0"]);
    assert_eq!(listening(everybody.address.port()), ["00000000"]);
    let token = everybody.said.rsplit_once("?token=").map(|(_, token)| token.to_string());
    let token = token.filter(|token| token.len() == 32).unwrap_or_else(|| panic!("{}", everybody.said));
    assert_eq!(everybody.get("/model").status, 401);
    let answer = everybody.send("GET", "/model", &[("Authorization", &format!("Bearer {token}"))], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn the_document_describes_what_is_there() {
    let catalogue = catalogue();
    let server = Server::start(&["--catalogue", text(catalogue)]);
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let bytes = std::fs::read(clip()).unwrap();
    let mut seen = 0;
    // tests/serve_training.rs asks for what trains.
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/train"));
    for (path, methods) in paths {
        for method in ["get", "post", "put", "delete"] {
            let body: &[u8] = if method == "post" { &bytes } else { b"" };
            let answer = server.send(&method.to_uppercase(), path, &[], body);
            let Some(operation) = methods.get(method) else {
                assert_eq!(answer.status, 405, "{method} {path} is answered and not described");
                continue;
            };
            assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
            let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            server::check(&answer.json(), schema, &document, path);
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
    // Refusals are as they are described, too.
    let refused = |answer: server::Answer, operation: &Value| {
        let schema = &operation["responses"][answer.status.to_string()]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{answer:?} is not described");
        server::check(&answer.json(), schema, &document, "a refusal");
    };
    for path in ["/predict", "/identify"] {
        let operation = &document["paths"][path]["post"];
        refused(server.post(path, b"nonsense, and more of it"), operation);
        refused(server.post(&format!("{path}?x=1"), b""), operation);
        refused(server.send("POST", path, &[("Content-Encoding", "br")], b""), operation);
        refused(server.send("POST", path, &[("Origin", "null")], b""), operation);
    }
    // Without a catalogue there is nothing to identify, and nothing is said of it.
    assert_eq!(shared().post("/identify", &bytes).status, 404);
    assert!(shared().get("/openapi.json").json()["paths"].get("/identify").is_none());
}

fn catalogue() -> &'static std::path::Path {
    static FILE: OnceLock<std::path::PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = scratch().join("melodies");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Scale.jianpu"), "1 2 3 4 5 6 7 1' | 7 6 5 4 3 2 1- |\n").unwrap();
        std::fs::write(folder.join("Twinkle.jianpu"), "1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- |\n").unwrap();
        let out = scratch().join("songs.cat");
        succeed(&["catalogue", "make", text(&folder), "--out", text(&out)]);
        out
    })
}

#[test]
fn a_melody_is_identified_as_by_the_command() {
    let server = Server::start(&["--catalogue", text(catalogue())]);
    let path = clip();
    let said = succeed(&["identify", "--catalogue", text(catalogue()), "--format", "jsonl", "--anywhere", text(path)]);
    let mut expected: Value = serde_json::from_str(&said).unwrap();
    expected["file"] = "clip.wav".into();
    let answer = server.post("/identify?anywhere=true&name=clip.wav", &std::fs::read(path).unwrap());
    assert_eq!((answer.status, answer.json()), (200, expected));
    let listed = succeed(&["catalogue", "list", "--json", text(catalogue())]);
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((listed.len(), &listed[0]["title"], &listed[0]["notes"]), (2, &"Scale".into(), &15.into()));
    let told = fail(1, &["serve", "--catalogue", "missing.cat"]);
    assert!(told.contains("missing.cat"), "{told}");
}

#[test]
fn the_model_is_described_and_the_page_is_whole() {
    let server = shared();
    let described = server.get("/model").json();
    assert_eq!(described["songs"].as_array().map(Vec::len), Some(3));
    assert_eq!((&described["recipe"], &described["sample_rate"]), (&"notebook".into(), &11_000.into()));
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'self'")));
    let html = String::from_utf8(page.body).unwrap();
    let mut linked = 0;
    for name in html.split(['"', '\'']).filter(|name| name.ends_with(".js") || name.ends_with(".css")) {
        assert_eq!(server.get(&format!("/{name}")).status, 200, "{name}");
        linked += 1;
    }
    assert!(linked >= 1, "{html}");
    // Everything that `export --web` writes, and the page that sends.
    for file in humdinger::cli::web::files(None, None).unwrap() {
        let answer = server.get(&format!("/{}", file.name));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(file.content_type)), "{}", file.name);
    }
    assert_eq!(server.get("/about.json").json()["predict"], "predict?top=5");
    assert_eq!(server.get("/upload.html").status, 200);
    // Several requests on one connection.
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes()).unwrap();
        assert_eq!(server::read(&mut stream).status, 200);
    }
}

#[test]
fn the_folder_of_a_run_stands_for_its_model() {
    let server = Server::of_base(&["--model", text(model().parent().unwrap())]);
    let (described, of_file) = (server.get("/model").json(), shared().get("/model").json());
    assert_eq!(described["songs"], of_file["songs"]);
    assert_eq!(described["model"], text(model()));
    assert_eq!(server.get("/").status, 200);
    let told = fail(1, &["serve", "--model", text(small_data())]);
    assert!(told.contains("without model.safetensors"), "{told}");
}

#[cfg(unix)]
#[test]
fn it_ends_when_it_is_asked_to() {
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start(&["--verbose"]);
        let mut idle = server.connect();
        assert_eq!(server.get("/health").status, 200);
        let started = Instant::now();
        let (code, errors) = server.end(signal);
        assert!(code == Some(0) && started.elapsed() < Duration::from_secs(9), "{code:?} {errors}");
        assert!(!errors.contains("panicked") && errors.contains("GET /health 200 "), "{errors}");
        let mut rest = Vec::new();
        assert!(idle.read_to_end(&mut rest).is_ok() && rest.is_empty());
    }
    let port = shared().address.port().to_string();
    let told = fail(2, &["serve", "--device", "cpu", "--model", text(model()), "--port", &port]);
    assert!(told.contains("--port") && told.contains(&port), "{told}");
    for option in ["--max-upload", "--max-duration", "--upload-timeout", "--queue"] {
        assert!(fail(2, &["serve", option, "0"]).contains(option));
    }
}

#[test]
fn the_documentation_works_as_it_is_written() {
    let text_of = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-api.md")).unwrap();
    let server = shared();
    let folder = scratch().join("documentation");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, name) in ["clip", "twinkle-1", "twinkle-2", "joy-1", "joy-2"].into_iter().enumerate() {
        std::fs::copy(&clips()[number % clips().len()], folder.join(name).with_extension("wav")).unwrap();
    }
    let mut ran = 0;
    for block in text_of.split("```").skip(1).step_by(2) {
        let (kind, code) = block.split_once('\n').unwrap();
        let program: &[&str] = match kind {
            "sh" if code.starts_with("curl") => &["sh", "-ec"],
            "python" => &["python3", "-c"],
            _ => continue,
        };
        let code = code.replace("127.0.0.1:8765", &server.address.to_string());
        // Where a program is not installed, that is said and not passed over.
        let tool = if kind == "sh" { "curl" } else { "python3" };
        if std::process::Command::new(tool).arg("--version").output().is_err() {
            let text = format!("SKIPPED: {tool} is not installed, an example of docs/http-api.md was not run");
            let _ = writeln!(std::io::stderr(), "{text}");
            continue;
        }
        let output = humdinger_like(program[0]).args(&program[1..]).arg(&code).current_dir(&folder).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !output.stdout.is_empty(), "{code}\n{told}");
        ran += 1;
    }
    let examples = text_of.matches("```sh\ncurl").count() + text_of.matches("```python").count();
    assert!(examples >= 4 && ran <= examples, "{examples} {ran}");
    // Every route and every option is in it.
    let options = String::from_utf8(humdinger().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    let options = options.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 3);
    for option in options
        .filter(|option| !["--help", "--version", "--device", "--model", "--quiet", "--verbose"].contains(option))
    {
        let option = option.trim_end_matches([',', '.', ';', ':']);
        assert!(text_of.contains(option), "{option} is not in docs/http-api.md");
    }
    for route in ["/predict", "/identify", "/train", "/train/model", "/model", "/health", "/openapi.json"] {
        assert!(text_of.contains(route), "{route}");
    }
}

fn humdinger_like(program: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.stdin(std::process::Stdio::null()).env("NO_PROXY", "*").env("no_proxy", "*");
    command
}

#[test]
fn every_kind_of_recording_that_predict_reads_is_answered() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sounds"));
    let server = shared();
    let (mut read, mut refused) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let said = humdinger()
            .args(["predict", "--device", "cpu", "--model", text(model()), "--format", "json", text(&entry)])
            .output()
            .unwrap();
        let name = entry.file_name().unwrap().to_str().unwrap();
        let answer = server.post(&format!("/predict?name={name}"), &std::fs::read(&entry).unwrap());
        let Ok(Value::Array(mut expected)) = serde_json::from_slice(&said.stdout) else { continue };
        expected[0]["file"] = name.into();
        let mut object = answer.json();
        object.as_object_mut().unwrap().remove("warnings");
        if answer.status == 200 {
            assert_eq!(object, expected[0], "{name}");
            read += 1;
        } else {
            assert_eq!((answer.status, &expected[0]["decision"]), (422, &"error".into()), "{name}: {answer:?}");
            refused += 1;
        }
    }
    assert!(read >= 1, "{read} read, {refused} refused");
    assert!(clips().len() >= 3 && small_data().exists());
}
