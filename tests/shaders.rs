//! Every WGSL file is valid on its own and keeps to baseline WebGPU, as far as naga can tell without a GPU.

#[path = "common/cases.rs"]
mod common;

use humdinger::cases;
use humdinger::graph::{Plan, States, Target};
use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Baseline WebGPU.
const MAX_BUFFERS: usize = 8;
const MAX_WORKGROUP_MEMORY: u32 = 16 * 1024;
const MAX_INVOCATIONS: u32 = 256;
const MAX_SIZES: [u32; 3] = [256, 256, 64];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of every file in `shaders/`, by its name without the ending, behind those of the files in `shaders/shared/` that
/// some operation declares it with.
fn shaders() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let rust: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for entry in std::fs::read_dir(root().join("shaders")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("shared") {
            continue;
        }
        assert_eq!(path.extension().and_then(|ending| ending.to_str()), Some("wgsl"), "{}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let named = rust.split_once(&format!("shader!(\"{name}\"")).and_then(|(_, rest)| rest.split_once(')'));
        let shared = named.map_or("", |(shared, _)| shared).split(',').map(|one| one.trim().trim_matches('"'));
        let files = shared.filter(|one| !one.is_empty()).map(|one| root().join(format!("shaders/shared/{one}.wgsl")));
        let text = files.chain([path]).map(|path| std::fs::read_to_string(path).unwrap()).collect();
        all.insert(name, text);
    }
    all
}

/// Checks a shader with these values of its override constants. One that is neither named nor has a default is an error;
/// with no values at all, each of those is 1.
fn check(source: &str, constants: &[(&str, f64)]) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(source))?;
    let [entry] = &module.entry_points[..] else { return Err("there must be one entry point".into()) };
    if entry.name != "main" || entry.stage != naga::ShaderStage::Compute {
        return Err("the entry point must be the compute shader `main`".into());
    }

    let mut bindings = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            if !matches!(variable.space, naga::AddressSpace::Storage { .. }) {
                return Err(format!("{:?} is no storage buffer", variable.name));
            }
            if binding.group != 0 {
                return Err(format!("{:?} is not in group 0", variable.name));
            }
            bindings.push(binding.binding);
        }
    }
    bindings.sort_unstable();
    if bindings.iter().enumerate().any(|(i, &binding)| i != binding as usize) {
        return Err(format!("bindings must be 0, 1, ... without gaps or doubles, not {bindings:?}"));
    }
    if bindings.len() > MAX_BUFFERS {
        return Err(format!("{} storage buffers, {MAX_BUFFERS} is most", bindings.len()));
    }

    let mut values = PipelineConstants::default();
    for (_, constant) in module.overrides.iter() {
        let name = constant.name.clone().unwrap_or_default();
        let given = constants.iter().find(|(other, _)| *other == name).map(|&(_, value)| value);
        if let Some(value) = given.or((constants.is_empty() && constant.init.is_none()).then_some(1.0)) {
            values.insert(name, value);
        }
    }
    if let Some((name, _)) = constants.iter().find(|(name, _)| !values.contains_key(*name)) {
        return Err(format!("there is no override constant {name}"));
    }
    let (module, _) = naga::back::pipeline_constants::process_overrides(&module, &info, None, &values)
        .map_err(|error| format!("with {constants:?}: {error}"))?;
    let size = module.entry_points[0].workgroup_size;
    if size.iter().product::<u32>() > MAX_INVOCATIONS || size.iter().zip(MAX_SIZES).any(|(&size, most)| size > most) {
        return Err(format!("a workgroup of {size:?} invocations, with {constants:?}"));
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let memory: u32 = (module.global_variables.iter())
        .filter(|(_, variable)| matches!(variable.space, naga::AddressSpace::WorkGroup))
        .map(|(_, variable)| layouter[variable.ty].size.next_multiple_of(16))
        .sum();
    if memory > MAX_WORKGROUP_MEMORY {
        return Err(format!("{memory} bytes of workgroup memory, with {constants:?}"));
    }
    Ok(())
}

#[test]
fn every_shader_is_valid() {
    let mut failures = Vec::new();
    for (name, source) in shaders() {
        if let Err(error) = check(&source, &[]) {
            failures.push(format!("shaders/{name}.wgsl: {error}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// All Rust files below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_shader_is_used() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let sources: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for name in shaders().keys() {
        let declared =
            |source: &String| ["\")", "\", "].iter().any(|end| source.contains(&format!("shader!(\"{name}{end}")));
        assert!(sources.iter().any(declared), "no operation uses shaders/{name}.wgsl");
    }
}

/// With the constants that each case of the table launches it with; and the table reaches every shader.
#[test]
fn every_launch_of_the_table_is_valid() {
    let (mut failures, mut launched, mut seen) = (Vec::new(), BTreeSet::new(), HashSet::new());
    for case in cases::all() {
        let built =
            common::build(&case, Arc::new(States::new()), true).unwrap_or_else(|e| panic!("{}: {e}", case.title()));
        let plan = Plan::new(built.graph, Target::Gpu).unwrap();
        for launch in plan.steps.iter().flat_map(|step| step.launches()) {
            launched.insert(launch.name());
            let values: Vec<(&str, u64)> = launch.constants().iter().map(|&(name, v)| (name, v.to_bits())).collect();
            let fresh = seen.insert((launch.name(), values));
            if let (true, Err(error)) = (fresh, check(launch.source(), launch.constants())) {
                failures.push(format!("{}: shaders/{}.wgsl: {error}", case.title(), launch.name()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let untested: Vec<String> = shaders().into_keys().filter(|name| !launched.contains(name.as_str())).collect();
    assert!(untested.is_empty(), "no case of the table launches {}", untested.join(", "));
}

#[test]
fn the_check_refuses_what_browsers_refuse() {
    let main = |body: &str| format!("@compute @workgroup_size(64) fn main() {{ {body} }}");
    let buffer = |group: u32, binding: u32| {
        format!("@group({group}) @binding({binding}) var<storage, read_write> b{binding}: array<f32>;\n")
    };
    let nine: String = (0..9).map(|binding| buffer(0, binding)).collect();
    let memory = "override N: u32 = 8; var<workgroup> m: array<f32, N * 512>;".to_owned() + &main("m[0] = 1.0;");
    assert_eq!(check(&memory, &[]), Ok(()));
    assert_eq!(check(&memory, &[("N", 4.0)]), Ok(()));
    let table = [
        (memory.as_str(), &[("N", 9.0)][..], "bytes of workgroup memory"),
        (&memory, &[("M", 9.0)], "no override constant M"),
        ("fn main() {}", &[], "one entry point"),
        (&main("x = 1;"), &[], "x"),
        (&(nine + &main("")), &[], "9 storage buffers"),
        (&(buffer(1, 0) + &main("")), &[], "group 0"),
        (&(buffer(0, 1) + &main("")), &[], "without gaps"),
        ("override W: u32; @compute @workgroup_size(W, 2) fn main() {}", &[("W", 129.0)], "workgroup of [129, 2, 1]"),
        ("@group(0) @binding(0) var<uniform> u: f32; @compute @workgroup_size(1) fn main() {}", &[], "storage buffer"),
        ("enable f16; @compute @workgroup_size(1) fn main() { var x: f16; }", &[], ""),
    ];
    for (source, constants, message) in table {
        let error = check(source, constants).expect_err(source);
        assert!(error.contains(message), "{error}");
    }
}
