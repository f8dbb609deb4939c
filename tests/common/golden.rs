//! Reading the golden files of tools/golden_engine.py, and holding results against them.

#![allow(dead_code, reason = "each test file uses a part")]

#[cfg(feature = "gpu")]
#[path = "gpu.rs"]
mod gpu;

use humdinger::Shape;
use humdinger::cpu::{CpuSession, Pool};
#[cfg(feature = "gpu")]
use humdinger::gpu::GpuSession;
use humdinger::graph::{PlanId, Session, States, Target};
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;
use std::sync::Arc;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine")
}

/// A golden file: the cases of one operation.
pub struct Golden {
    bytes: Vec<u8>,
    cases: serde_json::Value,
}

impl Golden {
    /// The names of all golden files.
    pub fn all() -> Vec<String> {
        let entries = std::fs::read_dir(folder()).expect("tests/golden/engine");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let named = paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
        named.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    }

    pub fn read(name: &str) -> Self {
        let path = folder().join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let cases = header.metadata().as_ref().and_then(|m| m.get("cases")).expect("the header has `cases`");
        Self { cases: serde_json::from_str(cases).expect("JSON"), bytes }
    }

    pub fn cases(&self) -> Vec<Case<'_>> {
        let cases = self.cases.as_array().expect("an array of cases");
        assert!(!cases.is_empty());
        let name = |case: &serde_json::Value| case["name"].as_str().expect("a name").to_owned();
        let tensors = || SafeTensors::deserialize(&self.bytes).expect("safetensors");
        cases.iter().map(|case| Case { name: name(case), parameters: case, tensors: tensors() }).collect()
    }
}

/// One case: its parameters and tensors. What is missing is a mistake in the file or the test, and panics.
pub struct Case<'a> {
    pub name: String,
    parameters: &'a serde_json::Value,
    tensors: SafeTensors<'a>,
}

impl Case<'_> {
    fn bytes(&self, key: &str, dtype: Dtype) -> Vec<u8> {
        let name = format!("{}.{key}", self.name);
        let view = self.tensors.tensor(&name).unwrap_or_else(|_| panic!("there is no tensor {name}"));
        assert_eq!(view.dtype(), dtype, "{name}");
        view.data().to_vec()
    }

    pub fn has(&self, key: &str) -> bool {
        self.tensors.tensor(&format!("{}.{key}", self.name)).is_ok()
    }

    /// Whether a tensor holds indices.
    pub fn is_index(&self, key: &str) -> bool {
        self.tensors.tensor(&format!("{}.{key}", self.name)).is_ok_and(|view| view.dtype() == Dtype::I32)
    }

    pub fn shape(&self, key: &str) -> Shape {
        let name = format!("{}.{key}", self.name);
        Shape::new(self.tensors.tensor(&name).unwrap_or_else(|_| panic!("there is no tensor {name}")).shape())
    }

    pub fn real(&self, key: &str) -> Vec<f32> {
        let bytes = self.bytes(key, Dtype::F32);
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
    }

    pub fn doubles(&self, key: &str) -> Vec<f64> {
        let bytes = self.bytes(key, Dtype::F64);
        bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
    }

    pub fn indices(&self, key: &str) -> Vec<u32> {
        let bytes = self.bytes(key, Dtype::I32);
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
    }

    pub fn parameter(&self, key: &str) -> &serde_json::Value {
        let value = &self.parameters[key];
        assert!(!value.is_null(), "case {} has no parameter {key}", self.name);
        value
    }

    pub fn has_parameter(&self, key: &str) -> bool {
        !self.parameters[key].is_null()
    }

    pub fn number(&self, key: &str) -> f64 {
        self.parameter(key).as_f64().expect("a number")
    }

    pub fn number_or(&self, key: &str, otherwise: f64) -> f64 {
        self.parameters[key].as_f64().unwrap_or(otherwise)
    }

    pub fn numbers(&self, key: &str) -> Vec<f64> {
        let array = self.parameter(key).as_array().expect("an array");
        array.iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    pub fn integer(&self, key: &str) -> usize {
        self.parameter(key).as_u64().expect("an integer") as usize
    }

    pub fn integers(&self, key: &str) -> Vec<usize> {
        self.numbers(key).into_iter().map(|v| v as usize).collect()
    }

    pub fn pair(&self, key: &str) -> [usize; 2] {
        self.integers(key).try_into().expect("two integers")
    }

    pub fn text(&self, key: &str) -> &str {
        self.parameter(key).as_str().expect("text")
    }

    pub fn flag(&self, key: &str) -> bool {
        self.parameter(key).as_bool().expect("true or false")
    }
}

/// What the issue asks of single operations.
pub const TOLERANCE: f64 = 1e-5;

/// Sessions on all devices that are here, with their names.
pub fn sessions(states: &Arc<States>) -> Vec<(&'static str, Target, Box<dyn Session>)> {
    let cpu = CpuSession::<f32>::new(states.clone(), Arc::new(Pool::new(2))).expect("a CPU session");
    #[cfg_attr(not(feature = "gpu"), expect(unused_mut, reason = "there is no other device"))]
    let mut all: Vec<(_, _, Box<dyn Session>)> = vec![("cpu", Target::Cpu, Box::new(cpu))];
    #[cfg(feature = "gpu")]
    if let Some(gpu) = gpu::gpu() {
        let session = GpuSession::with_guards(gpu, states.clone()).expect("a GPU session");
        all.push(("gpu", Target::Gpu, Box::new(session)));
    }
    all
}

pub fn read(session: &mut dyn Session, plan: PlanId, name: &str, len: usize) -> Vec<f32> {
    let mut data = vec![f32::NAN; len];
    session.read(plan, name, &mut data).unwrap_or_else(|error| panic!("reading {name}: {error}"));
    data
}

/// The largest error in units of the expected tensor's root mean square; infinite where something is not a number.
pub fn error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let scale = (want.iter().map(|&x| square(x)).sum::<f64>() / want.len() as f64).sqrt();
    let worst = got
        .iter()
        .zip(want)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs())
        .fold(0.0, |worst, e| if e.is_nan() { f64::INFINITY } else { f64::max(worst, e) });
    if worst == 0.0 { 0.0 } else { worst / scale }
}

/// Collects what is off, so that one run shows every mismatch.
#[derive(Default)]
pub struct Verdict(Vec<String>);

impl Verdict {
    pub fn check(&mut self, what: &str, got: &[f32], want: &[f32], tolerance: f64) {
        let error = error(got, want);
        if error.is_nan() || error > tolerance {
            self.0.push(format!("{what}: relative error {error:.2e}, allowed {tolerance:.0e}"));
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "PyTorch computes something else:\n{}", self.0.join("\n"));
        }
    }
}
