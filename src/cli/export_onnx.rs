//! `humdinger export --onnx`: a model for programs that run ONNX files.

use super::{check_free, plain, say};
use crate::Result;
use crate::train::base;
use crate::train::model::Model;
use crate::train::onnx;
use crate::train::weights::write_whole;
use std::path::Path;

/// Writes the file; over one that is there already only by `force`.
pub fn run(out: &Path, named: Option<&Path>, force: bool) -> Result<()> {
    check_free(out, force)?;
    let model = named.map_or_else(base::model, Model::read)?;
    let bytes = onnx::bytes(&model, named.unwrap_or(Path::new(base::NAME)))?;
    write_whole(out, &bytes)?;
    let (header, front_end) = (&model.header, &model.header.front_end);
    let seconds = front_end.window as f64 / f64::from(front_end.sample_rate);
    say(format!(
        "{}: {} bytes, opset {}; {} songs; `samples` [batch, {}, length] at {} Hz, of which {seconds} s are used",
        plain(&out.display().to_string()),
        bytes.len(),
        onnx::OPSET,
        header.classes.len(),
        front_end.channels,
        front_end.sample_rate,
    ))
}
