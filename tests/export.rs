//! What a plan says about its run: the list of commands, and the JSON of `docs/plan-format.md`.
//!
//! Where `HUMDINGER_PLANS` names a folder, the plans of all cases and of both recipes are written there, for
//! `tools/dawn/run`.

#![cfg(feature = "app")]

#[path = "common/cases.rs"]
mod common;

use humdinger::Result;
use humdinger::cases;
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Command, Graph, PLAN_FORMAT, Plan, States, Target};
use humdinger::tensor::Tensor;
use humdinger::train::Recipe;
use humdinger::train::network::{Network, Pass};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::Arc;

/// Every plan that is exported here, by name: the cases with their gradients, and what both recipes run.
fn plans() -> Result<Vec<(String, Plan)>> {
    let mut plans = Vec::new();
    for case in cases::all() {
        let graph = common::build(&case, Arc::new(States::new()), true)?.graph;
        plans.push((case.title(), Plan::new(graph, Target::Gpu)?));
    }
    for recipe in [Recipe::Notebook, Recipe::Melody] {
        for samples in [0, 1_000_000] {
            let classifier = recipe.classifier(10);
            let (network, adam) = Network::of(recipe, &recipe.front_end(), classifier, 1, true, samples)?;
            let train = Pass::Train { augment: true };
            for (mode, count) in [(train, 4), (train, 64), (Pass::Evaluate, 1), (network.evaluation(), 1)] {
                let mut graph = network.graph(mode, count, adam.as_ref())?;
                fuse(&mut graph, Fusions::for_target(Target::Gpu))?;
                plans.push((format!("{recipe:?} {mode:?} {count} {samples}"), Plan::new(graph, Target::Gpu)?));
            }
        }
    }
    Ok(plans)
}

fn list<'a>(of: &'a Json, name: &str) -> &'a [Json] {
    of[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {of}"))
}

fn number(of: &Json) -> usize {
    of.as_u64().unwrap_or_else(|| panic!("{of} is no number")) as usize
}

/// A place lies inside its buffer, and starts where a binding may.
fn check_place(buffers: &[Json], place: &Json) {
    let [buffer, offset, length] = [0, 1, 2].map(|i| number(&place[i]));
    assert!(offset % 64 == 0 && length > 0, "{place}");
    assert!(offset + length <= number(&buffers[buffer]["length"]), "{place} in {}", buffers[buffer]);
}

fn check(plan: &Plan, json: &Json) -> Result<()> {
    assert_eq!(json["format"], "humdinger-plan");
    assert_eq!(json["version"], PLAN_FORMAT);
    let [buffers, shaders, kernels] = ["buffers", "shaders", "kernels"].map(|name| list(json, name));
    assert_eq!(buffers.len(), plan.buffers.len());
    let commands = plan.commands()?;
    assert_eq!(list(json, "commands").len(), commands.len());
    let copies = commands.iter().filter(|command| matches!(command, Command::Copy { .. })).count();
    assert_eq!(commands.len() - copies, plan.launch_count());
    for (command, written) in commands.iter().zip(list(json, "commands")) {
        match command {
            Command::Copy { from, to, .. } => {
                assert_eq!(from.len, to.len);
                check_place(buffers, &written["from"]);
                check_place(buffers, &written["to"]);
            }
            Command::Dispatch(dispatch) => {
                let kernel = &kernels[number(&written["kernel"])];
                assert_eq!(shaders[number(&kernel["shader"])]["wgsl"], dispatch.source());
                for &(name, value) in dispatch.constants() {
                    assert_eq!(kernel["constants"][name].as_f64(), Some(value), "{name} of {}", dispatch.name());
                }
                let (bindings, read_only) = (list(written, "bindings"), list(kernel, "readOnly"));
                assert_eq!([bindings.len(), read_only.len()], [dispatch.bindings.len(); 2]);
                for ((binding, place), read_only) in dispatch.bindings.iter().zip(bindings).zip(read_only) {
                    assert_eq!(
                        *place,
                        serde_json::json!([binding.place.buffer, binding.place.offset, binding.place.len])
                    );
                    assert_eq!(*read_only, binding.read_only);
                    check_place(buffers, place);
                }
            }
        }
    }
    for (ports, name) in [(&plan.inputs, "inputs"), (&plan.outputs, "outputs")] {
        for (port, written) in ports.iter().zip(list(json, name)) {
            assert_eq!(written["name"], port.name.as_str());
            assert_eq!(written["below"].as_u64(), port.bound.map(|(bound, _)| bound as u64));
        }
    }
    Ok(())
}

#[test]
fn what_is_exported_is_what_runs() -> Result<()> {
    let folder = std::env::var_os("HUMDINGER_PLANS").map(PathBuf::from);
    for (i, (name, plan)) in plans()?.into_iter().enumerate() {
        let json = plan.export()?;
        check(&plan, &json)?;
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).expect("a folder for the plans");
            let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let text = serde_json::to_string(&json).expect("JSON");
            std::fs::write(folder.join(format!("{i:03}-{safe}.json")), text).expect("a plan is written");
        }
    }
    Ok(())
}

#[test]
fn constants_and_states_are_exported() -> Result<()> {
    let mut states = States::new();
    states.add("parameters", "w", Tensor::full([2, 3], 1.0))?;
    states.add("parameters", "v", Tensor::full([3], 1.0))?;
    let mut graph = Graph::new(Arc::new(states));
    let (w, v) = (graph.state("w")?, graph.state("v")?);
    let c = graph.constant([3], vec![0.1, f64::NAN, f64::NEG_INFINITY])?;
    let sum = graph.add(v, c)?;
    let y = graph.multiply(w, w)?;
    graph.output("sum", sum)?;
    graph.output("y", y)?;
    graph.assign(v, sum)?;
    let json = Plan::new(graph, Target::Gpu)?.export()?;
    let constant = list(&json, "buffers").iter().find(|buffer| buffer["kind"] == "constant").expect("a constant");
    assert_eq!(constant["values"][0].as_f64().map(|x| x as f32), Some(0.1));
    assert_eq!((&constant["values"][1], &constant["values"][2]), (&"NaN".into(), &"-Infinity".into()));
    let state = &list(&json, "states")[1];
    assert_eq!((&state["name"], &state["offset"], &state["length"]), (&"v".into(), &64.into(), &3.into()));
    assert_eq!(list(&json, "groups")[0]["length"], 128);
    assert!(list(&json, "buffers").iter().any(|buffer| buffer["kind"] == "state" && buffer["group"] == 0));
    Ok(())
}

#[test]
fn a_plan_for_the_cpu_has_no_commands() -> Result<()> {
    let mut graph = Graph::new(Arc::new(States::new()));
    let x = graph.input("x", [4])?;
    let y = graph.relu(x)?;
    graph.output("y", y)?;
    let error = Plan::new(graph, Target::Cpu)?.export().expect_err("a plan for the CPU");
    assert!(error.to_string().contains("CPU"), "{error}");
    Ok(())
}
