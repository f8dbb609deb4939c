//! A plan as JSON, for programs that run it on a WebGPU device without this crate; the format is described in
//! `docs/plan-format.md`.

use super::{BufferKind, Command, Constant, Dispatch, Place, Plan, Port};
use crate::error::{Error, Result};
use crate::tensor::DType;
use serde_json::{Map, Value as Json, json};

/// The version of the format. It increases when a reader of an older version would be wrong.
pub const PLAN_FORMAT: u32 = 1;

impl Plan {
    /// The plan as JSON: shaders, kernels, buffers, commands, inputs and outputs, states by name. It contains the result of
    /// [`Plan::commands`] and no values of states.
    ///
    /// # Errors
    /// Those of [`Plan::commands`]; a constant of a shader that is not finite.
    pub fn export(&self) -> Result<Json> {
        let mut tables = Tables::default();
        let commands = self.commands()?.iter().map(|command| tables.command(command)).collect::<Result<Vec<_>>>()?;
        let states = self.graph.states();
        let groups: Vec<Json> = (states.groups().iter())
            .map(|group| json!({ "name": group.name, "length": group.len, "data": group.data }))
            .collect();
        let named: Vec<Json> = (states.iter())
            .map(|state| {
                json!({
                    "name": state.name,
                    "group": state.group.index(),
                    "shape": state.shape.dims(),
                    "offset": state.offset,
                    "length": state.shape.elements(),
                })
            })
            .collect();
        Ok(json!({
            "format": "humdinger-plan",
            "version": PLAN_FORMAT,
            "shaders": tables.shaders,
            "kernels": tables.kernels,
            "buffers": self.buffers.iter().map(|buffer| exported(buffer.dtype, buffer.len, &buffer.kind)).collect::<Vec<_>>(),
            "commands": commands,
            "inputs": self.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": self.outputs.iter().map(port).collect::<Vec<_>>(),
            "groups": groups,
            "states": named,
        }))
    }
}

/// What several commands share, each only once.
#[derive(Default)]
struct Tables {
    shaders: Vec<Json>,
    kernels: Vec<Json>,
}

impl Tables {
    fn command(&mut self, command: &Command) -> Result<Json> {
        match command {
            Command::Copy { from, to, .. } => Ok(json!({ "op": "copy", "from": place(from), "to": place(to) })),
            Command::Dispatch(dispatch) => Ok(json!({
                "op": dispatch.op,
                "kernel": self.kernel(dispatch)?,
                "bindings": dispatch.bindings.iter().map(|binding| place(&binding.place)).collect::<Vec<_>>(),
                "workgroups": dispatch.workgroups,
            })),
        }
    }

    fn kernel(&mut self, dispatch: &Dispatch) -> Result<usize> {
        let shader = json!({ "name": dispatch.name(), "wgsl": dispatch.source() });
        let shader = number(&mut self.shaders, shader);
        let mut constants = Map::new();
        for &(name, value) in &dispatch.constants {
            if !value.is_finite() {
                let detail = format!("shaders/{}.wgsl has the constant {name} = {value}", dispatch.name());
                return Err(Error::op(dispatch.op, format!("{detail}; only a finite one can be exported")));
            }
            constants.insert(name.into(), json!(value));
        }
        let read_only: Vec<bool> = dispatch.bindings.iter().map(|binding| binding.read_only).collect();
        let kernel = json!({ "shader": shader, "constants": constants, "readOnly": read_only });
        Ok(number(&mut self.kernels, kernel))
    }
}

/// The number of an entry of a list, to which it is added where it is new.
fn number(list: &mut Vec<Json>, entry: Json) -> usize {
    list.iter().position(|other| *other == entry).unwrap_or_else(|| {
        list.push(entry);
        list.len() - 1
    })
}

fn place(place: &Place) -> Json {
    json!([place.buffer, place.offset, place.len])
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Real => "f32",
        DType::Index => "u32",
    }
}

fn exported(dtype: DType, len: usize, kind: &BufferKind) -> Json {
    let mut buffer = json!({ "type": type_name(dtype), "length": len });
    let (kind, extra) = match kind {
        BufferKind::Temporary => ("temporary", None),
        BufferKind::Kept => ("kept", None),
        BufferKind::Input => ("input", None),
        BufferKind::Constant(Constant::Real(values)) => {
            let values: Vec<Json> = values.iter().map(|&value| real(value as f32)).collect();
            ("constant", Some(("values", json!(values))))
        }
        BufferKind::Constant(Constant::Index(values)) => ("constant", Some(("values", json!(values.to_vec())))),
        BufferKind::State(group) => ("state", Some(("group", json!(group.index())))),
    };
    buffer["kind"] = json!(kind);
    if let Some((name, value)) = extra {
        buffer[name] = value;
    }
    buffer
}

/// A number, or one of `"NaN"`, `"Infinity"` and `"-Infinity"`, which JSON has no numbers for and JavaScript's `Number` reads.
fn real(value: f32) -> Json {
    match value {
        value if value.is_nan() => json!("NaN"),
        f32::INFINITY => json!("Infinity"),
        f32::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

fn port(port: &Port) -> Json {
    json!({
        "name": port.name,
        "type": type_name(port.spec.dtype),
        "shape": port.spec.shape.dims(),
        "place": place(&port.place),
        "below": port.bound.map(|(bound, _)| bound),
    })
}
