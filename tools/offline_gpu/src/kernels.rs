//! The kernels of exported plans, and their translation by naga.

use crate::Result;
use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage, back};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// A shader with the values of its override constants.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub name: String,
    wgsl: String,
    pub constants: BTreeMap<String, f64>,
    /// How many buffers it binds.
    pub bindings: usize,
}

fn text<'a>(json: &'a Json, member: &str) -> Result<&'a str> {
    json[member].as_str().ok_or_else(|| format!("no text `{member}`"))
}

fn list<'a>(json: &'a Json, member: &str) -> Result<&'a [Json]> {
    json[member].as_array().map(Vec::as_slice).ok_or_else(|| format!("no list `{member}`"))
}

fn of_plan(json: &Json, into: &mut BTreeMap<String, Kernel>) -> Result<()> {
    let shaders = list(json, "shaders")?;
    for kernel in list(json, "kernels")? {
        let number = kernel["shader"].as_u64().ok_or("no number `shader`")?;
        let shader = shaders.get(number as usize).ok_or_else(|| format!("there is no shader {number}"))?;
        let constants = kernel["constants"].as_object().ok_or("no object `constants`")?;
        let constants = (constants.iter())
            .map(|(name, value)| Ok((name.clone(), value.as_f64().ok_or_else(|| format!("{name} is no number"))?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let name = text(shader, "name")?.to_owned();
        let key = format!("{name} {}", kernel["constants"]);
        let bindings = list(kernel, "readOnly")?.len();
        into.insert(key, Kernel { name, wgsl: text(shader, "wgsl")?.to_owned(), constants, bindings });
    }
    Ok(())
}

/// Every kernel, once, of the plans in a folder whose file name holds `pattern`; by name.
pub fn of_plans(folder: &Path, pattern: &str) -> Result<Vec<Kernel>> {
    let mut kernels = BTreeMap::new();
    let mut plans = 0;
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".json") || !name.contains(pattern) {
            continue;
        }
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let json = read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        json.and_then(|json| of_plan(&json, &mut kernels)).map_err(|error| format!("{}: {error}", path.display()))?;
        plans += 1;
    }
    if plans == 0 {
        return Err(format!("{} holds no plan with `{pattern}` in its name", folder.display()));
    }
    Ok(kernels.into_values().collect())
}

/// The module with its constants put in, validated.
fn module(kernel: &Kernel) -> Result<(Module, ModuleInfo)> {
    let module = naga::front::wgsl::parse_str(&kernel.wgsl).map_err(|error| error.emit_to_string(&kernel.wgsl))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(&kernel.wgsl))?;
    let values: PipelineConstants = kernel.constants.iter().map(|(name, &value)| (name.clone(), value)).collect();
    let (module, info) = process_overrides(&module, &info, None, &values).map_err(|error| error.to_string())?;
    Ok((module.into_owned(), info.into_owned()))
}

/// The checks that wgpu asks for: of arrays in workgroup memory and registers always, of buffers where the driver does
/// not check them itself (`checked`).
fn checks(checked: bool) -> BoundsCheckPolicies {
    BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked },
        image_load: BoundsCheckPolicy::Unchecked,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

fn write_spirv(module: &Module, info: &ModuleInfo, checked: bool) -> Result<Vec<u32>> {
    let options = back::spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: checks(checked),
        zero_initialize_workgroup_memory: back::spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let entry = back::spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    back::spv::write_vec(module, info, &options, Some(&entry)).map_err(|error| error.to_string())
}

/// The kernel as SPIR-V, as wgpu has it made: with checks of buffers, or without where the driver checks them.
pub fn spirv(kernel: &Kernel, checked: bool) -> Result<Vec<u32>> {
    let (module, info) = module(kernel)?;
    write_spirv(&module, &info, checked)
}

fn write_msl(module: &Module, info: &ModuleInfo) -> Result<()> {
    // The oldest that has `reverse_bits`: macOS 10.14.
    let options = back::msl::Options {
        lang_version: (2, 1),
        fake_missing_bindings: true,
        bounds_check_policies: checks(true),
        ..Default::default()
    };
    let pipeline = back::msl::PipelineOptions::default();
    back::msl::write_string(module, info, &options, &pipeline).map(drop).map_err(|error| error.to_string())
}

fn write_hlsl(module: &Module, info: &ModuleInfo) -> Result<String> {
    let options = back::hlsl::Options { fake_missing_bindings: true, ..Default::default() };
    let pipeline = back::hlsl::PipelineOptions::default();
    let mut text = String::new();
    let mut writer = back::hlsl::Writer::new(&mut text, &options, &pipeline);
    let reflection = writer.write(module, info, None).map_err(|error| error.to_string())?;
    // The names of entry points are results of their own.
    reflection.entry_point_names.into_iter().try_for_each(|name| name.map(drop).map_err(|error| error.to_string()))?;
    Ok(text)
}

/// The kernel as HLSL, whose entry point is `main`.
pub fn hlsl(kernel: &Kernel) -> Result<String> {
    let (module, info) = module(kernel)?;
    write_hlsl(&module, &info)
}

/// What came of translating a kernel, by target.
pub fn targets(kernel: &Kernel) -> Vec<(&'static str, Result<()>)> {
    match module(kernel) {
        Err(error) => vec![("a module", Err(error))],
        Ok((module, info)) => vec![
            ("SPIR-V", write_spirv(&module, &info, true).map(drop)),
            ("MSL", write_msl(&module, &info)),
            ("HLSL", write_hlsl(&module, &info).map(drop)),
        ],
    }
}
