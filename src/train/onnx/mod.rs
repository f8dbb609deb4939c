//! A model as an ONNX file: samples in, probabilities out, for the many programs that run such files without this one.
//!
//! The front end is part of it, in operators that every runtime has: the spectrum is a convolution with a windowed Fourier basis
//! (browsers' runtimes lack `STFT`), the filter bank a matrix (`MelWeightMatrix` has other bands), a change of key and tempo
//! the interpolation of rows and columns. Opset 17.
//!
//! | input | |
//! |---|---|
//! | `samples` `[N, channels, length]` | at the model's rate, between -1 and 1. Of any length: what is longer than the window is cut off, what is shorter repeated or followed by silence, as the model was trained |
//!
//! | output | |
//! |---|---|
//! | `probabilities` `[N, outputs]` | as `humdinger predict` says them of a window: the mean over the test-time augmentations, each less where it is like nothing in training; 0 in silence |
//! | `familiarity` `[N]` | how near the sound is to the training clips, from 0 to 1; 1 in silence, and where the model does not know |
//! | `logits` `[N, A, outputs]` | under each of the model's A test-time augmentations, before the temperature |
//! | `vectors` `[N, A, C]` | what the last layer sees |
//!
//! The metadata says which output is which song (`songs`, JSON), and which are examples of no song (`no_songs`, their numbers): where one of
//! these is the likeliest, or the likeliest is below `threshold`, or everything is 0, `humdinger predict` answers "unknown".

mod front_end;
mod head;
#[allow(missing_docs)]
pub mod schema;
mod writer;

use super::model::Model;
use super::network::Network;
use crate::{Error, Result};
use prost::Message;
use schema::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use std::path::Path;
use writer::{Axis, Writer};

/// The version of ONNX's operators.
pub const OPSET: i64 = 17;
/// The version of the file format that came with it.
const IR_VERSION: i64 = 8;

/// The bytes of an ONNX file of this model; `path` is where it came from, for messages.
///
/// # Errors
/// Where its weights do not fit its recipe.
pub fn bytes(model: &Model, path: &Path) -> Result<Vec<u8>> {
    Ok(file(model, path)?.encode_to_vec())
}

/// The same as the message that is written.
///
/// # Errors
/// As [`bytes`].
pub fn file(model: &Model, path: &Path) -> Result<ModelProto> {
    let header = &model.header;
    let (network, _) = Network::of(header.recipe, &header.front_end, header.classifier(), 0, false, 0)?;
    super::model::fitting(&network.states, &model.weights, path, false)?;
    // What our own graph refuses, such as a transform that is no power of two, is refused here in the same words.
    network.graph(network.evaluation(), 1, None)?;
    let mut writer = Writer::default();
    let (front_end, outputs, augmentations) = (&header.front_end, header.outputs, header.front_end.augmentations.len());
    let front_end_outputs = front_end::write(&mut writer, &network)?;
    let [logits, vectors] = head::network(&mut writer, model, front_end_outputs.image)?;
    let [probabilities, in_distribution] =
        head::confidence(&mut writer, model, &logits, &vectors, &front_end_outputs.audible);
    let batch = || Axis::Any("batch");
    writer.output("probabilities", &probabilities, &[batch(), Axis::Is(outputs)], "one for each song of the metadata");
    writer.output("familiarity", &in_distribution, &[batch()], "how near it is to the training clips, from 0 to 1");
    let shape = [batch(), Axis::Is(augmentations), Axis::Is(outputs)];
    let logits = head::by_augmentation(&mut writer, &logits, augmentations, outputs);
    writer.output("logits", &logits, &shape, "under each test-time augmentation, before the temperature");
    let width = network.vector_length();
    let vectors = head::by_augmentation(&mut writer, &vectors, augmentations, width);
    writer.output(
        "vectors",
        &vectors,
        &[batch(), Axis::Is(augmentations), Axis::Is(width)],
        "what the last layer sees",
    );
    let facts = [
        ("songs", json(&header.names())?),
        ("no_songs", json(&header.no_songs())?),
        ("recipe", header.recipe.name().into()),
        ("sample_rate", front_end.sample_rate.to_string()),
        ("channels", front_end.channels.to_string()),
        ("window", front_end.window.to_string()),
        ("threshold", header.unknown_threshold.to_string()),
        ("temperature", header.temperature.to_string()),
        ("humdinger", json(header)?),
    ];
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    Ok(ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("humdinger".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some("Names the song that somebody hums, sings or whistles: samples in, probabilities out.".into()),
        graph: Some(writer.finish(header.recipe.name())),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: facts.into_iter().map(entry).collect(),
    })
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Data(format!("the model's header cannot be written: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Recipe;
    use crate::train::base;
    use crate::train::model::read_weights;
    use std::collections::HashSet;
    use std::sync::Arc;

    /// A model of the recipe `notebook` that has learned nothing.
    fn notebook() -> Result<Model> {
        let base = base::model()?;
        let (recipe, mut classes) = (Recipe::Notebook, base.header.classes.clone());
        classes[2] = "Noise".into();
        let header = super::super::model::Header {
            recipe,
            outputs: classes.len() + 1,
            classes,
            front_end: recipe.front_end(),
            usual_distance: None,
            ..base.header
        };
        let (network, _) = Network::new(recipe, &header.front_end, header.outputs, 1, false)?;
        let pool = Arc::new(crate::cpu::Pool::new(1));
        let mut session = crate::cpu::CpuSession::<f32>::new(network.states, pool)?;
        Ok(Model { header, weights: read_weights(&mut session, 0)?, distribution: None })
    }

    #[test]
    fn every_node_reads_what_is_there_before_it() -> Result<()> {
        for (model, no_songs) in [(base::model()?, "[]"), (notebook()?, "[2]")] {
            let bytes = bytes(&model, Path::new("m.safetensors"))?;
            let read = ModelProto::decode(&*bytes).map_err(|e| Error::Data(e.to_string()))?;
            assert_eq!(read, file(&model, Path::new("m.safetensors"))?);
            let graph = read.graph.unwrap_or_default();
            let mut known: HashSet<String> =
                graph.initializer.iter().filter_map(|tensor| tensor.name.clone()).collect();
            assert_eq!(known.len(), graph.initializer.len(), "names are of one constant each");
            known.insert("samples".into());
            for node in &graph.node {
                let missing: Vec<_> = node.input.iter().filter(|input| !known.contains(*input)).collect();
                assert!(missing.is_empty(), "{node:?} reads {missing:?}");
                assert!(node.output.iter().all(|output| known.insert(output.clone())), "{node:?} writes again");
            }
            let outputs: Vec<_> = graph.output.iter().filter_map(|output| output.name.as_deref()).collect();
            assert_eq!(outputs, ["probabilities", "familiarity", "logits", "vectors"]);
            for tensor in &graph.initializer {
                let size = if tensor.data_type == Some(schema::FLOAT) { 4 } else { 8 };
                let elements: i64 = tensor.dims.iter().product();
                let bytes = tensor.raw_data.as_ref().map_or(0, Vec::len);
                assert_eq!(bytes, size * elements as usize, "{:?}", tensor.name);
            }
            let fact = |key: &str| {
                let entry = read.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(key));
                entry.and_then(|entry| entry.value.clone()).unwrap_or_default()
            };
            assert_eq!(fact("songs"), serde_json::to_string(&model.header.names()).unwrap_or_default());
            assert_eq!(fact("no_songs"), no_songs);
            assert_eq!(fact("sample_rate"), model.header.front_end.sample_rate.to_string());
        }
        Ok(())
    }

    #[test]
    fn weights_that_do_not_fit_are_named() -> Result<()> {
        let mut model = notebook()?;
        model.weights.tensors.remove("bn2.bias");
        let error = bytes(&model, Path::new("m.safetensors")).unwrap_err().to_string();
        assert!(error.contains("m.safetensors") && error.contains("`bn2.bias` [16] is missing"), "{error}");
        Ok(())
    }
}
