//! The one table of cases: every operation at several shapes, with all that is needed to check and to time it.
//!
//! From it come the gradient checks (`tests/gradients.rs`), the comparison of CPU and GPU (`tests/parity.rs`), the
//! refusals (`tests/refusals.rs`), the benchmarks (`benches/kernels.rs`) and the self-test of `humdinger doctor`. An
//! operation is added with one entry here: a file in this folder whose `cases` and `refusals` are listed below.

mod batch_norm;
pub mod check;
mod conv2d;
mod dense;
mod elementwise;
mod front_end;
mod loss;
mod optimiser;
mod pool;
mod reduce;
mod select;
mod unary;

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::tensor::{DType, Shape, Spec};

/// Makes the outputs of a case from its inputs.
pub type Build = Box<dyn Fn(&mut Graph, &[Value]) -> Result<Vec<Value>> + Send + Sync>;

/// An operation at one set of shapes.
pub struct Case {
    /// The operation's name.
    pub op: &'static str,
    /// What is special about the shapes.
    pub name: &'static str,
    /// What goes in.
    pub inputs: Vec<Input>,
    /// Makes the outputs.
    pub build: Build,
    /// Which outputs carry a gradient to the inputs; none for an operation without one.
    pub differentiable: Vec<usize>,
    /// The largest normalised mean squared error, computing in f32 against f64.
    pub tolerance: f64,
    /// Whether it is of a size that is worth timing; gradients are then checked at some elements only.
    pub bench: bool,
}

/// What goes into a case, and from which range it is drawn.
#[derive(Clone, Debug)]
pub struct Input {
    /// Shape and element type.
    pub spec: Spec,
    /// How values are drawn.
    pub values: Values,
    /// Whether a gradient is asked for.
    pub gradient: bool,
}

/// How the values of an input are drawn.
#[derive(Clone, Debug)]
pub enum Values {
    /// Evenly between two bounds, no nearer to a kink than a margin.
    Range {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
        /// Where the function has a kink, and how far to stay away from it.
        kink: Option<(f64, f64)>,
    },
    /// In random order, all different, with this distance between neighbours: for functions with a kink where two
    /// elements are equal.
    Distinct(f64),
    /// 0 with this probability, else 1.
    Mask(f64),
    /// Whole numbers below a bound.
    Index(u32),
    /// These values.
    Given(Vec<f64>),
    /// As the first says, with special values among them.
    Mixed(Box<Values>, Special),
}

/// What an operation may meet that a draw from a range never holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Whole numbers, so that several are equal.
    Ties,
    /// NaN.
    NotANumber,
    /// Both infinities.
    Infinities,
    /// 1e30, whose square is beyond f32.
    Huge,
    /// 1e-30, whose square is 0 in f32.
    Tiny,
    /// Below the smallest normal number of f32. WebGPU allows a GPU to take them for 0.
    Denormals,
}

/// Something that an operation must refuse.
pub struct Refusal {
    /// The operation's name; the message must contain it.
    pub op: &'static str,
    /// What is wrong.
    pub name: &'static str,
    /// What goes in.
    pub inputs: Vec<Spec>,
    /// Builds what must fail; or, with indices, what fails when these are written to the first index input.
    pub build: Build,
    /// Indices that must be refused.
    pub indices: Option<Vec<u32>>,
    /// What the message must say.
    pub words: &'static [&'static str],
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(batch_norm::cases());
    all.extend(conv2d::cases());
    all.extend(dense::cases());
    all.extend(elementwise::cases());
    all.extend(front_end::cases());
    all.extend(loss::cases());
    all.extend(optimiser::cases());
    all.extend(pool::cases());
    all.extend(reduce::cases());
    all.extend(select::cases());
    all.extend(unary::cases());
    all
}

/// All refusals.
pub fn refusals() -> Vec<Refusal> {
    let mut all = Vec::new();
    all.extend(batch_norm::refusals());
    all.extend(conv2d::refusals());
    all.extend(dense::refusals());
    all.extend(elementwise::refusals());
    all.extend(front_end::refusals());
    all.extend(loss::refusals());
    all.extend(optimiser::refusals());
    all.extend(pool::refusals());
    all.extend(reduce::refusals());
    all.extend(select::refusals());
    all.extend(unary::refusals());
    all
}

/// The default bound of [`Case::tolerance`]: a relative error of 3e-6, some fifty roundings of f32.
pub const TOLERANCE: f64 = 1e-11;

impl Case {
    /// A case whose first output is differentiable.
    pub fn new(
        op: &'static str,
        name: &'static str,
        inputs: impl Into<Vec<Input>>,
        build: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            op,
            name,
            inputs: inputs.into(),
            build: Box::new(build),
            differentiable: vec![0],
            tolerance: TOLERANCE,
            bench: false,
        }
    }

    /// For timing.
    #[must_use]
    pub fn bench(self) -> Self {
        Self { bench: true, ..self }
    }

    /// Without a gradient.
    #[must_use]
    pub fn not_differentiable(self) -> Self {
        Self { differentiable: Vec::new(), ..self }
    }

    /// With another bound than [`TOLERANCE`]; say why where it is called.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// The same case with special values in its input `i`; nothing where that is not drawn from real numbers.
    #[must_use]
    pub fn special(mut self, i: usize, special: Special) -> Option<Self> {
        let values = &mut self.inputs.get_mut(i)?.values;
        if !matches!(values, Values::Range { .. } | Values::Distinct(_)) {
            return None;
        }
        *values = Values::Mixed(Box::new(values.clone()), special);
        Some(self)
    }

    /// Operation and name, for messages.
    pub fn title(&self) -> String {
        format!("{} {}", self.op, self.name)
    }

    /// Adds the inputs of this case to a graph, as `x0`, `x1`, ...
    ///
    /// # Errors
    /// Where the graph has inputs of these names.
    pub fn add_inputs(&self, graph: &mut Graph) -> Result<Vec<Value>> {
        let add = |(i, input): (usize, &Input)| match input.spec.dtype {
            DType::Real => graph.input(&format!("x{i}"), input.spec.shape),
            DType::Index => graph.index_input(&format!("x{i}"), input.spec.shape),
        };
        self.inputs.iter().enumerate().map(add).collect()
    }

    /// The values of input `i`: drawn from the case's names, so the same every time, and exact in f32.
    pub fn draw(&self, i: usize) -> Vec<f64> {
        let mut seed = Random::new(&format!("{}/{}/{i}", self.op, self.name));
        self.inputs[i].values.draw(self.inputs[i].spec.shape.elements(), &mut seed)
    }
}

impl Input {
    /// Real numbers between -2 and 2.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Self::range(shape, -2.0, 2.0)
    }

    /// Real numbers between two bounds.
    pub fn range(shape: impl Into<Shape>, low: f64, high: f64) -> Self {
        Self { spec: Spec::real(shape), values: Values::Range { low, high, kink: None }, gradient: true }
    }

    /// Real numbers between -2 and 2, at least 0.05 away from a kink.
    pub fn kinked(shape: impl Into<Shape>, kink: f64) -> Self {
        let values = Values::Range { low: -2.0, high: 2.0, kink: Some((kink, 0.05)) };
        Self { spec: Spec::real(shape), values, gradient: true }
    }

    /// Real numbers that are all different, around 0, with a distance of 0.01.
    pub fn distinct(shape: impl Into<Shape>) -> Self {
        Self { spec: Spec::real(shape), values: Values::Distinct(0.01), gradient: true }
    }

    /// 0 with probability `p`, else 1; takes no gradient.
    pub fn mask(shape: impl Into<Shape>, p: f64) -> Self {
        Self { spec: Spec::real(shape), values: Values::Mask(p), gradient: false }
    }

    /// Indices below a bound.
    pub fn index(shape: impl Into<Shape>, bound: u32) -> Self {
        Self { spec: Spec::index(shape), values: Values::Index(bound), gradient: false }
    }

    /// These real numbers.
    pub fn given(shape: impl Into<Shape>, values: Vec<f64>) -> Self {
        Self { spec: Spec::real(shape), values: Values::Given(values), gradient: true }
    }

    /// Asks for no gradient.
    #[must_use]
    pub fn constant(self) -> Self {
        Self { gradient: false, ..self }
    }
}

impl Values {
    fn draw(&self, count: usize, random: &mut Random) -> Vec<f64> {
        let round = |x: f64| f64::from(x as f32);
        match self {
            Self::Range { low, high, kink } => (0..count)
                .map(|_| {
                    let x = low + (high - low) * random.next();
                    round(match *kink {
                        Some((at, margin)) if (x - at).abs() < margin => at + if x < at { -margin } else { margin },
                        _ => x,
                    })
                })
                .collect(),
            Self::Distinct(step) => {
                let mut order: Vec<usize> = (0..count).collect();
                for i in (1..count).rev() {
                    order.swap(i, (random.next() * (i + 1) as f64) as usize);
                }
                order.into_iter().map(|i| round((i as f64 - count as f64 / 2.0) * step)).collect()
            }
            Self::Mask(p) => (0..count).map(|_| if random.next() < *p { 0.0 } else { 1.0 }).collect(),
            Self::Index(bound) => (0..count).map(|_| (random.next() * f64::from(*bound)).floor()).collect(),
            Self::Given(values) => values.iter().map(|&x| round(x)).collect(),
            Self::Mixed(values, special) => {
                let mut values = values.draw(count, random);
                special.mix_into(&mut values, random);
                values
            }
        }
    }
}

impl Special {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ties, Self::NotANumber, Self::Infinities, Self::Huge, Self::Tiny, Self::Denormals];

    fn mix_into(self, values: &mut [f64], random: &mut Random) {
        let special: &[f64] = match self {
            Self::Ties => return values.iter_mut().for_each(|x| *x = x.round()),
            Self::NotANumber => &[f64::NAN],
            Self::Infinities => &[f64::INFINITY, f64::NEG_INFINITY],
            Self::Huge => &[1e30],
            Self::Tiny => &[1e-30, -1e-30],
            Self::Denormals => &[1e-40, -3e-42],
        };
        // One in nine, so that most rows and channels hold some and some hold none.
        for i in 0..values.len().div_ceil(9) {
            let at = (random.next() * values.len() as f64) as usize;
            values[at] = f64::from(special[i % special.len()] as f32);
        }
    }
}

impl Refusal {
    /// Something that must fail when it is built.
    pub fn new(
        op: &'static str,
        name: &'static str,
        inputs: impl Into<Vec<Spec>>,
        words: &'static [&'static str],
        build: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>> + Send + Sync + 'static,
    ) -> Self {
        Self { op, name, inputs: inputs.into(), build: Box::new(build), indices: None, words }
    }

    /// Something that can be built, but must refuse these indices.
    #[must_use]
    pub fn indices(self, indices: Vec<u32>) -> Self {
        Self { indices: Some(indices), ..self }
    }
}

/// A small generator of numbers (SplitMix64: Steele, Lea and Flood 2014), keyed by a text.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this key (its FNV-1a hash).
    pub fn new(key: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(key.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// A number in `[0, 1)`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
