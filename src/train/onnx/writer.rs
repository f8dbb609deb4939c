//! Puts an ONNX graph together: nodes, constants, inputs and outputs by name.

use super::schema::{
    AttributeProto, DimensionProto, FLOAT, GraphProto, INT64, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// An axis of an input or output.
pub enum Axis {
    /// Of this length.
    Is(usize),
    /// Of any length, under this name.
    Any(&'static str),
}

/// The name of a value.
pub type Name = String;

/// See the top of this file.
#[derive(Default)]
pub struct Writer {
    graph: GraphProto,
}

/// An attribute that is a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(2), ..Default::default() }
}

/// An attribute that is a real number.
pub fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(value as f32), r#type: Some(1), ..Default::default() }
}

/// An attribute that is a word.
pub fn word(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: Some(name.into()), s: Some(value.into()), r#type: Some(3), ..Default::default() }
}

/// An attribute that is several whole numbers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: values.to_vec(), r#type: Some(7), ..Default::default() }
}

impl Writer {
    /// Adds a node with one output, which is named after it: `name`, or `name_1` where there is one of that name.
    pub fn node(&mut self, op: &str, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Name {
        let [output] = self.node_of(op, [name], inputs, attributes);
        output
    }

    /// The same with several outputs.
    pub fn node_of<const N: usize>(
        &mut self,
        op: &str,
        names: [&str; N],
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> [Name; N] {
        let outputs = names.map(|name| self.free(name));
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.to_vec(),
            name: Some(format!("{op}_{}", self.graph.node.len())),
            op_type: Some(op.into()),
            attribute: attributes,
        });
        outputs
    }

    /// A constant of real numbers.
    pub fn reals(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = f32>) -> Name {
        self.constant(name, dims, FLOAT, values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    /// A real number.
    pub fn real(&mut self, name: &str, value: f64) -> Name {
        self.reals(name, &[], [value as f32])
    }

    /// A constant of whole numbers, in one row.
    pub fn row(&mut self, name: &str, values: &[i64]) -> Name {
        self.constant(name, &[values.len()], INT64, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// A whole number.
    pub fn whole(&mut self, name: &str, value: i64) -> Name {
        self.constant(name, &[], INT64, value.to_le_bytes().to_vec())
    }

    fn constant(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> Name {
        let name = self.free(name);
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: Some(data_type),
            name: Some(name.clone()),
            raw_data: Some(raw_data),
        });
        name
    }

    /// Declares an input.
    pub fn input(&mut self, name: &str, axes: &[Axis], doc: &str) -> Name {
        self.graph.input.push(port(name, axes, doc));
        name.into()
    }

    /// Gives a value out, under this name.
    pub fn output(&mut self, name: &'static str, value: &str, axes: &[Axis], doc: &str) {
        // Names are of values, and one value may be given out and read on; so it is handed on under the name.
        self.graph.node.push(NodeProto {
            input: vec![value.into()],
            output: vec![name.into()],
            name: Some(format!("Identity_{}", self.graph.node.len())),
            op_type: Some("Identity".into()),
            attribute: Vec::new(),
        });
        self.graph.output.push(port(name, axes, doc));
    }

    /// The graph.
    pub fn finish(mut self, name: &str) -> GraphProto {
        self.graph.name = Some(name.into());
        self.graph
    }

    fn free(&self, name: &str) -> Name {
        let graph = &self.graph;
        let taken = |name: &str| {
            graph.node.iter().flat_map(|node| &node.output).any(|output| output == name)
                || graph.initializer.iter().any(|tensor| tensor.name.as_deref() == Some(name))
                || graph.input.iter().any(|input| input.name.as_deref() == Some(name))
        };
        let others = (1..).map(|i| format!("{name}_{i}"));
        std::iter::once(name.to_string()).chain(others).find(|name| !taken(name)).unwrap_or_default()
    }
}

fn port(name: &str, axes: &[Axis], doc: &str) -> ValueInfoProto {
    let dim = |axis: &Axis| match axis {
        Axis::Is(length) => DimensionProto { dim_value: Some(*length as i64), dim_param: None },
        Axis::Any(name) => DimensionProto { dim_value: None, dim_param: Some((*name).into()) },
    };
    let shape = TensorShapeProto { dim: axes.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        doc_string: Some(doc.into()),
    }
}
