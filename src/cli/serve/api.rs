//! What can be asked for: one table, from which requests are routed and the OpenAPI document is made.

use super::upload::Refusal;
use crate::train::verdict::Decision;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// The seed where none is asked for, as for `train`.
const SEED: u64 = 1;
/// The most epochs that may be asked for.
const MOST_EPOCHS: usize = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Predict,
    Identify,
    Train,
    Training,
    StopTraining,
    Trained,
    Model,
    Health,
    OpenApi,
}

/// What there is beside what is always there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct There {
    /// A catalogue to look melodies up in.
    pub catalogue: bool,
    /// Training.
    pub training: bool,
}

impl Route {
    /// Each with its method and path, and what it is for.
    const ALL: [(Self, Method, &'static str, &'static str); 9] = [
        (
            Self::Predict,
            Method::POST,
            "/predict",
            "Name the song in a recording, as `humdinger predict --format json` does",
        ),
        (
            Self::Identify,
            Method::POST,
            "/identify",
            "Look for a melody in the catalogue, as `humdinger identify --format jsonl` does",
        ),
        (
            Self::Train,
            Method::POST,
            "/train",
            "Train a model on recordings, as `humdinger train` does from the base model; one at a time",
        ),
        (Self::Training, Method::GET, "/train", "How far training is, or how it ended"),
        (Self::StopTraining, Method::DELETE, "/train", "Stop training, or forget what was trained"),
        (Self::Trained, Method::GET, "/train/model", "The model that was trained: a safetensors file"),
        (Self::Model, Method::GET, "/model", "The model that answers: its songs, recipe, sample rate and threshold"),
        (Self::Health, Method::GET, "/health", "Whether the server answers; needs no token"),
        (Self::OpenApi, Method::GET, "/openapi.json", "This document"),
    ];

    /// Those that are there.
    fn there(there: There) -> impl Iterator<Item = (Self, Method, &'static str, &'static str)> {
        Self::ALL.into_iter().filter(move |(route, ..)| match route {
            Self::Identify => there.catalogue,
            Self::Train | Self::Training | Self::StopTraining | Self::Trained => there.training,
            Self::Predict | Self::Model | Self::Health | Self::OpenApi => true,
        })
    }

    /// Whether a request brings recordings.
    fn takes_sound(self) -> bool {
        matches!(self, Self::Predict | Self::Identify | Self::Train)
    }
}

/// What a method and a path mean.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Route(Route),
    /// The path is there, for these methods.
    OtherMethod(String),
    Nothing,
}

/// Looks a path up. It is compared as it was sent: nothing in it is decoded, and it names nothing but what is in the table.
pub(super) fn find(path: &str, method: &Method, there: There) -> Found {
    let mut allowed = Vec::new();
    for (route, wanted, ..) in Route::there(there).filter(|(_, _, known, _)| *known == path) {
        // An answer to HEAD is one to GET, of which hyper sends the head alone.
        if *method == wanted || *method == Method::HEAD && wanted == Method::GET {
            return Found::Route(route);
        }
        allowed.push(wanted.to_string());
        if wanted == Method::GET {
            allowed.push(Method::HEAD.to_string());
        }
    }
    if allowed.is_empty() { Found::Nothing } else { Found::OtherMethod(allowed.join(", ")) }
}

/// What is asked in a query.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub top: usize,
    pub min_confidence: Option<f64>,
    pub name: Option<String>,
    pub anywhere: bool,
    pub seed: u64,
    pub epochs: Option<usize>,
}

/// Reads a query; a name or a value that means nothing is refused.
pub(super) fn asked(route: Route, query: &str) -> Result<Asked, Refusal> {
    let refuse = |text: String| Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    let top = if route == Route::Identify { 3 } else { 1 };
    let mut asked = Asked { top, min_confidence: None, name: None, anywhere: false, seed: SEED, epochs: None };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let Ok(value) = percent_decode_str(&value).decode_utf8().map(String::from) else {
            return refuse(format!("`{name}` is no UTF-8 text"));
        };
        match (name, route) {
            ("seed", Route::Train) => match value.parse() {
                Ok(seed) if i64::try_from(seed).is_ok() => asked.seed = seed,
                _ => return refuse("`seed` is no whole number from 0 on".into()),
            },
            ("epochs", Route::Train) => match value.parse() {
                Ok(epochs @ 1..=MOST_EPOCHS) => asked.epochs = Some(epochs),
                _ => return refuse(format!("`epochs` is no whole number from 1 to {MOST_EPOCHS}")),
            },
            ("top", Route::Predict | Route::Identify) => match value.parse() {
                Ok(top) if top > 0 => asked.top = top,
                _ => return refuse("`top` is no whole number from 1 on".into()),
            },
            ("name", Route::Predict | Route::Identify) => asked.name = Some(value),
            ("min_confidence", Route::Predict) => match value.parse() {
                Ok(least) if (0.0..=1.0).contains(&least) => asked.min_confidence = Some(least),
                _ => return refuse("`min_confidence` is not from 0 to 1".into()),
            },
            ("anywhere", Route::Identify) => match value.as_str() {
                "" | "true" => asked.anywhere = true,
                "false" => asked.anywhere = false,
                _ => return refuse("`anywhere` is true or false".into()),
            },
            _ => return refuse("the query has a name that means nothing here; GET /openapi.json lists them".into()),
        }
    }
    Ok(asked)
}

/// That the server answers.
pub(super) fn health() -> Value {
    json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})
}

/// The OpenAPI document.
pub(super) fn document(there: There) -> Value {
    let mut paths = json!({});
    for (route, method, path, summary) in Route::there(there) {
        let method = method.as_str().to_ascii_lowercase();
        let good = if route == Route::Train { "202" } else { "200" };
        let verb = if method == "delete" {
            "stop_"
        } else if route == Route::Training {
            "state_of_"
        } else {
            ""
        };
        let mut operation = json!({
            "summary": summary,
            "operationId": format!("{verb}{}", path.trim_matches('/').replace(['.', '/'], "_")),
            "responses": {},
        });
        operation["responses"][good] = if route == Route::Trained {
            json!({"description": "The file", "content": {"application/octet-stream": {"schema": sound()}}})
        } else {
            response("The answer", schema_of(route))
        };
        let responses = &mut operation["responses"];
        if route != Route::Health {
            responses["401"] = response("The token is missing or wrong", "Refusal");
        } else {
            operation["security"] = json!([]);
        }
        let responses = &mut operation["responses"];
        responses["403"] = response("The request comes from another site's page", "Refusal");
        responses["421"] = response("The Host header names another server", "Refusal");
        if route == Route::Trained {
            responses["404"] = response("There is no model: none was trained, or it is not finished", "Refusal");
        }
        if route == Route::Train {
            responses["409"] = response("Something is being trained already: GET /train", "Refusal");
        }
        if route.takes_sound() {
            responses["400"] = response("The query or the form is wrong, or the upload was cut off", "Refusal");
            responses["408"] = response("The upload took too long", "Refusal");
            responses["413"] = response("The recording is too large", "Refusal");
            responses["415"] = response("The body is compressed", "Refusal");
            let unread = if route == Route::Train { "Refusal" } else { schema_of(route) };
            responses["422"] = response("The recording cannot be read or used: `error` says why", unread);
            responses["503"] = response("Too much to do: Retry-After says when to come again", "Refusal");
            operation["parameters"] = parameters(route);
            operation["requestBody"] = match route {
                Route::Train => json!({
                    "required": true,
                    "description": "At least two songs with two recordings each: a field for each recording, named like its song",
                    "content": {
                        "multipart/form-data": {"schema": {"type": "object", "additionalProperties": sound()}},
                    },
                }),
                _ => json!({
                    "required": true,
                    "description": "A sound file of any kind that `humdinger predict` reads, as it is or in the field `file` of a form",
                    "content": {
                        "application/octet-stream": {"schema": sound()},
                        "audio/*": {"schema": sound()},
                        "multipart/form-data": {
                            "schema": {"type": "object", "required": ["file"], "properties": {"file": sound()}},
                        },
                    },
                }),
            };
        }
        paths[path][method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Humdinger",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Names the song that somebody hums, sings or whistles.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        // With a token where the server was started with one, and without elsewhere.
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
        },
    })
}

/// A file, of sound or of a model.
fn sound() -> Value {
    json!({"type": "string", "contentMediaType": "application/octet-stream"})
}

fn response(description: &str, schema: &str) -> Value {
    let schema = match schema {
        "" => json!({"type": "object"}),
        name => json!({"$ref": format!("#/components/schemas/{name}")}),
    };
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn schema_of(route: Route) -> &'static str {
    match route {
        Route::Predict => "Prediction",
        Route::Identify => "Identification",
        Route::Model => "Model",
        Route::Train | Route::Training | Route::StopTraining => "Training",
        Route::Health => "Health",
        Route::Trained | Route::OpenApi => "",
    }
}

fn parameters(route: Route) -> Value {
    let parameter = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema});
    if route == Route::Train {
        let seed = json!({"type": "integer", "minimum": 0, "default": SEED});
        let epochs = json!({"type": "integer", "minimum": 1, "maximum": MOST_EPOCHS});
        let text = "The most passes over the recordings; as many as suit them where it is not given";
        return [parameter("seed", "Seed of what is random", seed), parameter("epochs", text, epochs)].to_vec().into();
    }
    let top = if route == Route::Identify { 3 } else { 1 };
    let top = json!({"type": "integer", "minimum": 1, "default": top});
    let mut all = vec![
        parameter("top", "How many of the likeliest songs to list", top),
        parameter(
            "name",
            "What the file is called; its ending helps where the contents leave doubt",
            json!({"type": "string"}),
        ),
    ];
    if route == Route::Identify {
        let text = "The singer may begin with any phrase, instead of the first";
        all.push(parameter("anywhere", text, json!({"type": "boolean", "default": false})));
    } else {
        let text =
            "Below this confidence the answer is `unknown`; what the model was stored with where it is not given";
        all.push(parameter("min_confidence", text, json!({"type": "number", "minimum": 0, "maximum": 1})));
    }
    all.into()
}

/// The objects of the answers.
fn schemas() -> Value {
    let number = json!({"type": "number"});
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let share = json!({"type": "number", "minimum": 0, "maximum": 1});
    let song = json!({
        "type": "object",
        "required": ["song", "probability"],
        "properties": {"song": text, "probability": share},
    });
    let passage = json!({
        "type": "object",
        "required": ["start", "end", "song", "confidence"],
        "properties": {"start": number, "end": number, "song": text, "confidence": share},
    });
    let candidate = json!({
        "type": "object",
        "required": ["id", "title", "score", "key", "tempo", "beats_per_minute", "at"],
        "properties": {
            "id": text, "title": text, "score": share, "key": number, "tempo": number, "beats_per_minute": number,
            "at": {"type": "array", "items": number, "minItems": 2, "maxItems": 2},
        },
    });
    // And where there is none.
    let decisions: Vec<&str> = Decision::ALL.map(Decision::name).into_iter().chain(["error"]).collect();
    let epoch = json!({
        "type": "object",
        "required": ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "best"],
        "properties": {
            "epoch": {"type": "integer"}, "train_loss": number, "train_accuracy": share, "val_loss": number,
            "val_accuracy": share, "best": {"type": "boolean"},
        },
    });
    json!({
        "Prediction": {
            "type": "object",
            "required": ["file", "prediction", "confidence", "top", "decision", "threshold", "reason"],
            "properties": {
                "file": text,
                "prediction": {"type": ["string", "null"], "description": "The song, or `unknown`"},
                "confidence": {"type": ["number", "null"]},
                "top": {"type": "array", "items": song},
                "decision": {"enum": decisions},
                "threshold": share,
                "reason": text,
                "seconds": {"type": ["number", "null"]},
                "passages": {"type": "array", "items": passage, "description": "Of recordings of more than four windows"},
                "warnings": texts,
                "error": text,
            },
        },
        "Identification": {
            "type": "object",
            "required": ["file", "unknown", "candidates"],
            "properties": {
                "file": text,
                "unknown": {"type": "boolean"},
                "candidates": {"type": "array", "items": candidate},
                "warnings": texts,
                "error": text,
            },
        },
        "Model": {
            "type": "object",
            "required": [
                "model", "songs", "recipe", "sample_rate", "channels", "window_seconds", "threshold", "longest_seconds",
            ],
            "properties": {
                "model": text, "songs": texts, "recipe": text, "sample_rate": {"type": "integer"},
                "channels": {"type": "integer"}, "window_seconds": number, "threshold": share, "longest_seconds": number,
            },
        },
        "Training": {
            "type": "object",
            "required": ["state", "number", "songs", "recordings", "epochs", "seconds", "history", "error"],
            "properties": {
                "state": {"enum": ["none", "training", "done", "stopped", "failed"]},
                "number": {"type": "integer", "description": "Counts what was trained since the server was started"},
                "songs": texts,
                "recordings": {"type": "integer"},
                "epochs": {"type": "integer", "description": "At most so many; it ends where ten bring nothing"},
                "seconds": {"type": "number", "description": "How long it has taken"},
                "history": {"type": "array", "items": epoch},
                "error": {"type": ["string", "null"]},
                "warnings": texts,
            },
        },
        "Health": {
            "type": "object",
            "required": ["status", "version"],
            "properties": {"status": {"const": "ok"}, "version": text},
        },
        "Refusal": {"type": "object", "required": ["error"], "properties": {"error": text}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_they_are() {
        let found = |method, path| find(path, &method, There::default());
        assert_eq!(found(Method::POST, "/predict"), Found::Route(Route::Predict));
        assert_eq!(found(Method::HEAD, "/model"), Found::Route(Route::Model));
        assert_eq!(found(Method::GET, "/predict"), Found::OtherMethod("POST".into()));
        assert_eq!(found(Method::OPTIONS, "/model"), Found::OtherMethod("GET, HEAD".into()));
        let all = There { catalogue: true, training: true };
        assert_eq!(find("/identify", &Method::POST, all), Found::Route(Route::Identify));
        assert_eq!(find("/train", &Method::DELETE, all), Found::Route(Route::StopTraining));
        assert_eq!(find("/train", &Method::PUT, all), Found::OtherMethod("POST, GET, HEAD, DELETE".into()));
        for path in
            ["/identify", "/predict/", "//predict", "/Predict", "/%70redict", "/x/../predict", "/", "*", "", "/train"]
        {
            assert_eq!(found(Method::POST, path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn every_decision_is_described() {
        let described =
            &document(There::default())["components"]["schemas"]["Prediction"]["properties"]["decision"]["enum"];
        assert_eq!(*described, json!(["song", "below threshold", "unfamiliar", "no song", "silence", "error"]));
    }

    #[test]
    fn a_query_means_what_it_says_or_is_refused() {
        let read = |route, query| asked(route, query).map_err(|refusal| (refusal.status.as_u16(), refusal.text));
        let all = read(Route::Predict, "top=3&min_confidence=0.5&name=a%20b%2Fc+d.wav");
        let name = Some("a b/c d.wav".into());
        let expected = Asked { top: 3, min_confidence: Some(0.5), name, anywhere: false, seed: 1, epochs: None };
        assert_eq!(all, Ok(expected));
        let train = read(Route::Train, "seed=7&epochs=3").map(|asked| (asked.seed, asked.epochs));
        assert_eq!(train, Ok((7, Some(3))));
        for query in ["epochs=0", "epochs=1001", "seed=-1", "seed=18446744073709551615", "top=3", "name=a"] {
            assert!(read(Route::Train, query).is_err_and(|(status, _)| status == 400), "{query}");
        }
        assert_eq!(read(Route::Identify, "anywhere").map(|asked| (asked.top, asked.anywhere)), Ok((3, true)));
        let wrong = ["top=0", "top=x", "min_confidence=2", "min_confidence=NaN", "anywhere=true", "x=1", "name=%ff"];
        for query in wrong {
            assert!(read(Route::Predict, query).is_err_and(|(status, _)| status == 400), "{query}");
        }
    }
}
