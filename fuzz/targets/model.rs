//! Model files: their headers, with zeros for weights.
#![no_main]

use humdinger::train::model::Model;
use humdinger_fuzz::tensors;
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drop(Model::parse(data, Path::new("fuzz")));
    if let Ok(model) = Model::parse(&tensors(data), Path::new("fuzz")) {
        assert_eq!(model.header.names().len(), model.header.outputs);
    }
});
