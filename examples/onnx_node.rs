//! Builds small graphs that a file describes and runs them on every device that is here: the engine's side of tools/onnx_nodes.py.
//!
//!     cargo run --example onnx_node -- GRAPHS.json TENSORS.safetensors RESULTS.safetensors [f32|f64|gpu]..
//!
//! GRAPHS is an array of `{name, inputs: [{name, index}], steps: [[operation, [operand..], {parameter..}, [result..]]..], outputs: [..]}`.
//! The tensors of a graph are `<graph>/<input>`, real ones in f64. What each device makes is `<graph>/<device>/<output>` in f64, and the
//! standard output has a line `graph<TAB>device<TAB>what was said` for each that failed.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{CpuReal, Graph, Plan, Session, States, Target, Value};
use humdinger::ops::{ConvOptions, LossOptions, LossReduction, Windows};
use humdinger::tensor::{MAX_RANK, Shape, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;
type Results = HashMap<String, Tensor<f64>>;

/// The parameters of a step. What is missing is a mistake in the description.
struct Parameters<'a>(&'a Json);

impl Parameters<'_> {
    fn number(&self, key: &str) -> Answer<f64> {
        // JSON has no infinities.
        match &self.0[key] {
            Json::String(text) => Ok(text.parse()?),
            value => value.as_f64().ok_or_else(|| format!("no number {key} in {}", self.0).into()),
        }
    }

    fn size(&self, key: &str) -> Answer<usize> {
        self.0[key].as_u64().map(|n| n as usize).ok_or_else(|| format!("no size {key} in {}", self.0).into())
    }

    fn numbers(&self, key: &str) -> Answer<Vec<f64>> {
        let array = self.0[key].as_array().ok_or_else(|| format!("no list {key} in {}", self.0))?;
        let number = |value: &Json| match value {
            Json::String(text) => text.parse().ok(),
            value => value.as_f64(),
        };
        array.iter().map(|value| number(value).ok_or_else(|| format!("{value} is no number").into())).collect()
    }

    fn sizes(&self, key: &str) -> Answer<Vec<usize>> {
        Ok(self.numbers(key)?.into_iter().map(|n| n as usize).collect())
    }

    fn pair(&self, key: &str) -> Answer<[usize; 2]> {
        Ok(self.sizes(key)?.try_into().map_err(|sizes| format!("{key} {sizes:?} are not two"))?)
    }

    fn flag(&self, key: &str) -> bool {
        self.0[key].as_bool().unwrap_or(false)
    }

    fn shape(&self, key: &str) -> Answer<Shape> {
        shape(&self.sizes(key)?)
    }

    fn loss(&self, weights: Option<Value>) -> Answer<LossOptions> {
        let reduction = match self.0["reduction"].as_str() {
            Some("mean") => LossReduction::Mean,
            Some("sum") => LossReduction::Sum,
            Some("none") => LossReduction::None,
            other => return Err(format!("no reduction {other:?}").into()),
        };
        let ignore = self.0["ignore"].as_u64().map(|n| n as usize);
        Ok(LossOptions { weights, ignore, smoothing: 0.0, reduction })
    }
}

fn shape(dims: &[usize]) -> Answer<Shape> {
    if dims.len() > MAX_RANK {
        return Err(format!("{dims:?} has more than {MAX_RANK} axes").into());
    }
    Ok(Shape::new(dims))
}

/// Applies one step.
fn apply(graph: &mut Graph, op: &str, v: &[Value], p: &Parameters<'_>) -> Answer<Vec<Value>> {
    type One = fn(&mut Graph, Value) -> humdinger::Result<Value>;
    type Two = fn(&mut Graph, Value, Value) -> humdinger::Result<Value>;
    let ones: [(&str, One); 9] = [
        ("exp", Graph::exp),
        ("log", Graph::log),
        ("sqrt", Graph::sqrt),
        ("abs", Graph::abs),
        ("tanh", Graph::tanh),
        ("sigmoid", Graph::sigmoid),
        ("gelu", Graph::gelu),
        ("gelu_tanh", Graph::gelu_tanh),
        ("relu", Graph::relu),
    ];
    let twos: [(&str, Two); 9] = [
        ("add", Graph::add),
        ("subtract", Graph::subtract),
        ("multiply", Graph::multiply),
        ("divide", Graph::divide),
        ("equal", Graph::equal),
        ("maximum", Graph::maximum),
        ("minimum", Graph::minimum),
        ("keep", Graph::keep),
        ("matmul", Graph::matmul),
    ];
    if let (Some((_, function)), [x]) = (ones.iter().find(|(name, _)| *name == op), v) {
        return Ok(vec![function(graph, *x)?]);
    }
    if let (Some((_, function)), [a, b]) = (twos.iter().find(|(name, _)| *name == op), v) {
        return Ok(vec![function(graph, *a, *b)?]);
    }
    let one = match op {
        "constant" => graph.constant(p.shape("shape")?, p.numbers("values")?)?,
        "scale" => graph.scale(v[0], p.number("factor")?)?,
        "clamp" => graph.clamp(v[0], p.number("low")?, p.number("high")?)?,
        "dropout" => graph.dropout(v[0], v[1], p.number("p")?)?,
        "sum" => graph.sum(v[0], &p.sizes("axes")?, p.flag("keep"))?,
        "mean" => graph.mean(v[0], &p.sizes("axes")?, p.flag("keep"))?,
        "amax" => graph.amax(v[0], &p.sizes("axes")?, p.flag("keep"))?,
        "reshape" => graph.reshape(v[0], p.shape("shape")?)?,
        "permute" => graph.permute(v[0], &p.sizes("order")?)?,
        "expand" => graph.expand(v[0], p.shape("shape")?)?,
        "pad" => graph.pad(v[0], &p.sizes("before")?, &p.sizes("after")?, p.number("value")?)?,
        "slice" => graph.slice(v[0], p.size("axis")?, p.size("start")?..p.size("end")?, p.size("step")?)?,
        "flip" => graph.flip(v[0], p.size("axis")?)?,
        "concat" => graph.concat(v, p.size("axis")?)?,
        "gather" => graph.gather(v[0], v[1], p.size("axis")?)?,
        "gather_elements" => graph.gather_elements(v[0], v[1], p.size("axis")?)?,
        "one_hot" => graph.one_hot(v[0], p.size("classes")?)?,
        "softmax" => graph.softmax(v[0], p.size("axis")?)?,
        "log_softmax" => graph.log_softmax_over(v[0], p.size("axis")?)?,
        "layer_norm" => graph.layer_norm(v[0], [v[1], v[2]], p.number("epsilon")?)?,
        "cross_entropy" => graph.cross_entropy_with(v[0], v[1], p.loss(v.get(2).copied())?)?,
        "nll_loss" => graph.nll_loss(v[0], v[1], p.loss(v.get(2).copied())?)?,
        "linear" => graph.linear(v[0], v[1], v[2])?,
        "conv2d" => {
            let (stride, padding, dilation) = (p.pair("stride")?, p.pair("padding")?, p.pair("dilation")?);
            let options = ConvOptions { stride, padding, dilation, groups: p.size("groups")? };
            graph.conv2d(v[0], v[1], v.get(2).copied(), options)?
        }
        "max_pool2d" | "avg_pool2d" => {
            let (kernel, stride) = (p.pair("kernel")?, p.pair("stride")?);
            let (padding, dilation) = (p.pair("padding")?, p.pair("dilation")?);
            let windows = Windows { kernel, stride, padding, dilation, ceil: p.flag("ceil") };
            if op == "max_pool2d" {
                graph.max_pool2d(v[0], windows)?
            } else {
                graph.avg_pool2d(v[0], windows, p.flag("count_include_pad"))?
            }
        }
        "adaptive_avg_pool2d" => graph.adaptive_avg_pool2d(v[0], p.pair("output")?)?,
        "batch_norm_evaluate" => graph.batch_norm_evaluate(v[0], [v[1], v[2], v[3], v[4]], p.number("epsilon")?)?,
        "adam" => return Ok(graph.adam([v[0], v[1], v[2], v[3]], v[4])?.to_vec()),
        "sgd" => return Ok(graph.sgd([v[0], v[1], v[2]], v[3], p.flag("nesterov"))?.to_vec()),
        "batch_norm" => {
            let channel = [v[1], v[2], v[3], v[4]];
            let made = graph.batch_norm(v[0], channel, p.number("momentum")?, p.number("epsilon")?)?;
            return Ok(vec![made.y, made.running_mean, made.running_var]);
        }
        _ => return Err(format!("there is no operation {op} of {} operands", v.len()).into()),
    };
    Ok(vec![one])
}

fn text(value: &Json) -> Answer<&str> {
    value.as_str().ok_or_else(|| format!("{value} is no text").into())
}

fn list(value: &Json) -> Answer<&Vec<Json>> {
    value.as_array().ok_or_else(|| format!("{value} is no list").into())
}

/// One description with its tensors.
struct Test<'a> {
    name: &'a str,
    description: &'a Json,
    tensors: &'a SafeTensors<'a>,
}

impl Test<'_> {
    fn tensor(&self, input: &str) -> Answer<TensorView<'_>> {
        Ok(self.tensors.tensor(&format!("{}/{input}", self.name))?)
    }

    fn build(&self, states: &Arc<States>) -> Answer<Graph> {
        let (mut graph, mut values) = (Graph::new(states.clone()), HashMap::new());
        for input in list(&self.description["inputs"])? {
            let name = text(&input["name"])?;
            let shape = shape(self.tensor(name)?.shape())?;
            let value = if self.tensor(name)?.dtype() == Dtype::U32 {
                graph.index_input(name, shape)?
            } else {
                graph.input(name, shape)?
            };
            values.insert(name.to_owned(), value);
        }
        for step in list(&self.description["steps"])? {
            let find = |name: &Json| -> Answer<Value> {
                Ok(*values.get(text(name)?).ok_or_else(|| format!("nothing made {name}"))?)
            };
            let operands = list(&step[1])?.iter().map(find).collect::<Answer<Vec<Value>>>()?;
            let made = apply(&mut graph, text(&step[0])?, &operands, &Parameters(&step[2]))?;
            for (name, value) in list(&step[3])?.iter().zip(made) {
                values.insert(text(name)?.to_owned(), value);
            }
        }
        for output in list(&self.description["outputs"])? {
            let name = text(output)?;
            graph.output(name, *values.get(name).ok_or_else(|| format!("nothing made {name}"))?)?;
        }
        Ok(graph)
    }

    /// Runs the plan; what it made is read by `read`.
    fn run<S: Session>(
        &self,
        mut session: S,
        graph: Graph,
        target: Target,
        read: impl Fn(&mut S, humdinger::graph::PlanId, &str) -> Answer<Vec<f64>>,
    ) -> Answer<Vec<(String, Tensor<f64>)>> {
        let id = session.add(Plan::new(graph, target)?)?;
        for input in list(&self.description["inputs"])? {
            let name = text(&input["name"])?;
            if session.plan(id).input(name).is_err() {
                continue; // Nothing that is asked for depends on it.
            }
            let view = self.tensor(name)?;
            if view.dtype() == Dtype::U32 {
                let bytes = view.data().as_chunks::<4>().0;
                let indices: Vec<u32> = bytes.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
                session.write_indices(id, name, &indices)?;
            } else {
                let bytes = view.data().as_chunks::<8>().0;
                let numbers: Vec<f64> = bytes.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
                session.write_exact(id, name, &numbers)?;
            }
        }
        session.run(id)?;
        let mut made = Vec::new();
        for output in list(&self.description["outputs"])? {
            let name = text(output)?;
            let shape = session.plan(id).output(name)?.spec.shape;
            let values = read(&mut session, id, name)?;
            made.push((name.to_owned(), Tensor::new(shape, values)?));
        }
        Ok(made)
    }

    fn on_cpu<T: CpuReal>(&self) -> Answer<Vec<(String, Tensor<f64>)>> {
        let states = Arc::new(States::new());
        let session = CpuSession::<T>::new(states.clone(), Arc::new(Pool::new(1)))?;
        self.run(session, self.build(&states)?, Target::Cpu, |session, id, name| {
            Ok(session.output(id, name)?.iter().map(|x| x.to_f64()).collect())
        })
    }

    fn on_gpu(&self, gpu: &Gpu) -> Answer<Vec<(String, Tensor<f64>)>> {
        let states = Arc::new(States::new());
        let session = GpuSession::with_guards(gpu.clone(), states.clone())?;
        self.run(session, self.build(&states)?, Target::Gpu, |session, id, name| {
            let mut values = vec![f32::NAN; session.plan(id).output(name)?.place.len];
            session.read(id, name, &mut values)?;
            session.check_guards(id)?;
            Ok(values.into_iter().map(f64::from).collect())
        })
    }
}

fn main() -> Answer<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [graphs, tensors, to, devices @ ..] = &arguments[..] else {
        return Err("usage: onnx_node GRAPHS.json TENSORS.safetensors RESULTS.safetensors [f32|f64|gpu]..".into());
    };
    let descriptions: Json = serde_json::from_slice(&std::fs::read(graphs)?)?;
    let bytes = std::fs::read(tensors)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let gpu = devices.iter().any(|device| device == "gpu").then(|| Gpu::open(None)).transpose()?;
    let mut results = Results::new();
    for description in list(&descriptions)? {
        let test = Test { name: text(&description["name"])?, description, tensors: &tensors };
        for device in devices {
            let made = match (device.as_str(), &gpu) {
                ("f32", _) => test.on_cpu::<f32>(),
                ("f64", _) => test.on_cpu::<f64>(),
                ("gpu", Some(gpu)) => test.on_gpu(gpu),
                _ => return Err(format!("no device {device}").into()),
            };
            match made {
                Ok(made) => {
                    results.extend(made.into_iter().map(|(name, t)| (format!("{}/{device}/{name}", test.name), t)));
                }
                Err(error) => println!("{}\t{device}\t{}", test.name, error.to_string().replace('\n', " ")),
            }
        }
    }
    let bytes: Vec<(&String, Shape, Vec<u8>)> = results
        .iter()
        .map(|(name, tensor)| (name, tensor.shape(), tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| Ok((name.as_str(), TensorView::new(Dtype::F64, shape.dims().to_vec(), data)?)));
    let views = views.collect::<Answer<Vec<_>>>()?;
    serialize_to_file(views, None, Path::new(to))?;
    Ok(())
}
