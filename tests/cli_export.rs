//! What `humdinger export` writes and refuses.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, scratch, succeed, text};

#[test]
fn an_onnx_file_is_written_once_and_whole() {
    let file = scratch().join("base.onnx");
    let told = succeed(&["export", "--onnx", text(&file)]);
    assert!(told.contains("opset 17; 22 songs") && told.contains("8 s are used"), "{told}");
    let bytes = std::fs::read(&file).unwrap();
    let said = |what: &str| bytes.windows(what.len()).any(|part| part == what.as_bytes());
    // Names stand as they are in the file.
    assert!(said("samples") && said("probabilities") && said("OldMacDonald") && said("fourier_basis"));
    let again = fail(1, &["export", "--onnx", text(&file)]);
    assert!(again.contains("exists already") && again.contains("--force"), "{again}");
    succeed(&["export", "--onnx", text(&file), "--force"]);
    assert!(std::fs::read(&file).unwrap() == bytes, "the same model gives the same file");
}

#[test]
fn what_cannot_be_exported_is_named() {
    let missing = fail(1, &["export", "--onnx", text(&scratch().join("a.onnx")), "--model", "missing.safetensors"]);
    assert!(missing.contains("missing.safetensors") && missing.contains("no such file"), "{missing}");
    let nothing = fail(2, &["export"]);
    assert!(nothing.contains("--onnx"), "{nothing}");
}
