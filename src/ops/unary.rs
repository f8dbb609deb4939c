//! Functions of one number, element by element, for any shape: one rule for all of them on the CPU and in WGSL. A new one needs
//! a variant here with its value and derivative, a `case` in each of `shaders/unary.wgsl` and `shaders/unary_gradient.wgsl`, and
//! a line in `src/cases/unary.rs`.
//!
//! The error function is libm's on the CPU; on a GPU it is the approximation of Press et al., Numerical Recipes in C, second edition,
//! section 6.2, whose relative error is below 1.2e-7. Values at kinks and for NaN are PyTorch's.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Spec};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

static UNARY: Shader = shader!("unary", "nan", "functions");
static UNARY_GRADIENT: Shader = shader!("unary_gradient", "nan", "functions");

/// The cubic term of GELU's tanh form (Hendrycks and Gimpel, 2016).
const CUBIC: f64 = 0.044715;

/// `y = f(x)`. Input x, output y, both of any one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// e to the power of x.
    Exp,
    /// The natural logarithm: minus infinity at 0, NaN below.
    Log,
    /// The square root: NaN below 0.
    Sqrt,
    /// The absolute value, with gradient 0 at 0 and at NaN.
    Abs,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x / 2 (1 + erf(x / sqrt(2)))`: infinite at infinity, where PyTorch's vectors give NaN and its scalars do not; NaN at minus infinity,
    /// as there.
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`
    GeluTanh,
    /// `min(max(x, low), high)`, with gradient 1 where `low <= x <= high`, else 0; a bound may be infinite.
    Clamp {
        /// The least value.
        low: f64,
        /// The greatest value; if it is below `low`, every number becomes this.
        high: f64,
    },
}

/// `dx = dy f'(x)`. Inputs dy and what [`Unary::keeps_output`] says, x or y.
#[derive(Clone, Copy, Debug)]
pub struct UnaryGradient(pub Unary);

macro_rules! builders {
    ($($name:ident $kind:ident $what:literal),*) => {
        impl Graph {
            $(#[doc = $what]
            /// Element by element, see [`Unary`].
            ///
            /// # Errors
            /// If x holds indices.
            pub fn $name(&mut self, x: Value) -> Result<Value> {
                self.apply_one(Unary::$kind, &[x])
            })*
        }
    };
}

builders!(
    exp Exp "e to the power of x.",
    log Log "The natural logarithm.",
    sqrt Sqrt "The square root.",
    abs Abs "The absolute value.",
    tanh Tanh "The hyperbolic tangent.",
    sigmoid Sigmoid "The logistic function `1 / (1 + exp(-x))`.",
    gelu Gelu "The Gaussian error linear unit, by the error function.",
    gelu_tanh GeluTanh "The Gaussian error linear unit, approximated by the hyperbolic tangent."
);

impl Graph {
    /// `min(max(x, low), high)`, element by element. An infinite bound has no effect.
    ///
    /// # Errors
    /// If x holds indices or a bound is NaN.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([3], vec![-5.0, 0.5, 5.0])?;
    /// let y = graph.clamp(x, -1.0, 1.0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [-1.0, 0.5, 1.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn clamp(&mut self, x: Value, low: f64, high: f64) -> Result<Value> {
        self.apply_one(Unary::Clamp { low, high }, &[x])
    }

    /// `exp(x) / sum(exp(x))` over an axis.
    ///
    /// # Errors
    /// If x has no such axis.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 2], vec![7.0, 7.0])?;
    /// let y = graph.softmax(x, 1)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [0.5, 0.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn softmax(&mut self, x: Value, axis: usize) -> Result<Value> {
        let logarithms = self.log_softmax_over(x, axis)?;
        self.exp(logarithms)
    }
}

impl Unary {
    /// Whether the gradient is made from the output, so that the input need not be kept.
    pub fn keeps_output(self) -> bool {
        matches!(self, Self::Exp | Self::Sqrt | Self::Tanh | Self::Sigmoid)
    }

    fn number(self) -> usize {
        match self {
            Self::Exp => 0,
            Self::Log => 1,
            Self::Sqrt => 2,
            Self::Abs => 3,
            Self::Tanh => 4,
            Self::Sigmoid => 5,
            Self::Gelu => 6,
            Self::GeluTanh => 7,
            Self::Clamp { .. } => 8,
        }
    }

    fn launch(self, shader: &'static Shader, len: usize, operands: Vec<Operand>) -> Vec<Launch> {
        let [low, high] = if let Self::Clamp { low, high } = self { [low, high] } else { [f64::INFINITY; 2] };
        // WGSL has no infinite constants.
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        let bounded = |x: f64, none: f64| f64::from(u8::from(x != none));
        let constants = vec![
            ("LEN", len as f64),
            ("OP", self.number() as f64),
            ("LOW", finite(low)),
            ("HIGH", finite(high)),
            ("HAS_LOW", bounded(low, f64::NEG_INFINITY)),
            ("HAS_HIGH", bounded(high, f64::INFINITY)),
        ];
        vec![Launch { shader, constants, operands, workgroups: grid(len.div_ceil(PER_WORKGROUP)) }]
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (one, half) = (T::ONE, T::from_f64(0.5));
        // A loop for each function, so that each is compiled by itself.
        match *self {
            Self::Exp => values(kernel, |x| x.exp()),
            Self::Log => values(kernel, |x| x.ln()),
            Self::Sqrt => values(kernel, |x| x.sqrt()),
            Self::Abs => values(kernel, |x| x.abs()),
            Self::Tanh => values(kernel, |x| x.tanh()),
            Self::Sigmoid => values(kernel, |x| one / (one + (-x).exp())),
            Self::Gelu => values(kernel, |x| half * x * (-(x * T::from_f64(FRAC_1_SQRT_2))).erfc()),
            Self::GeluTanh => values(kernel, |x| half * x * (one + inner(x).tanh())),
            Self::Clamp { low, high } => {
                let (low, high) = (T::from_f64(low), T::from_f64(high));
                values(kernel, |x| x.max(low).min(high));
            }
        }
    }
}

/// What the tanh form of GELU takes the hyperbolic tangent of.
#[inline(always)]
fn inner<T: Real>(x: T) -> T {
    T::from_f64(FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (x + T::from_f64(CUBIC) * x * x * x)
}

#[inline(always)]
fn values<T: Real>(kernel: &mut Kernel<'_, T>, f: impl Fn(T) -> T + Sync + Copy) {
    let (x, parallel) = (kernel.input(0), kernel.parallel());
    for_each_piece(parallel, kernel.output(), PER_TASK, |i, y| {
        let x = &x[i * PER_TASK..][..y.len()];
        lanes::dispatch(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)),
        );
    });
}

impl Op for Unary {
    fn name(&self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Abs => "abs",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Clamp { .. } => "clamp",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        match *self {
            Self::Clamp { low, high } if low.is_nan() || high.is_nan() => {
                Err(Error::op("clamp", format!("the bounds must be numbers, not {low} and {high}")))
            }
            _ => Ok(vec![inputs[0]]),
        }
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let kept = if self.keeps_output() { node.outputs[0] } else { node.inputs[0] };
        Ok(vec![Some(graph.apply_one(UnaryGradient(*self), &[dy, kept])?)])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        self.launch(&UNARY, outputs[0].shape.elements(), vec![Operand::Input(0), Operand::Output(0)])
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl Op for UnaryGradient {
    fn name(&self) -> &'static str {
        "unary_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        super::same(self.name(), "the gradient", inputs[0], "what it is made from", inputs[1])?;
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let operands = vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)];
        self.0.launch(&UNARY_GRADIENT, outputs[0].shape.elements(), operands)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(2)
    }
}

impl UnaryGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (one, half) = (T::ONE, T::from_f64(0.5));
        match self.0 {
            Unary::Exp => slopes(kernel, |dy, y| dy * y),
            Unary::Log => slopes(kernel, |dy, x| dy / x),
            Unary::Sqrt => slopes(kernel, |dy, y| half * dy / y),
            Unary::Abs => slopes(kernel, |dy, x| {
                dy * if x > T::ZERO {
                    one
                } else if x < T::ZERO {
                    -one
                } else {
                    T::ZERO
                }
            }),
            Unary::Tanh => slopes(kernel, |dy, y| dy * (one - y * y)),
            Unary::Sigmoid => slopes(kernel, |dy, y| dy * (one - y) * y),
            Unary::Gelu => slopes(kernel, |dy, x| {
                let below = half * (-(x * T::from_f64(FRAC_1_SQRT_2))).erfc();
                let density = T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (-half * x * x).exp();
                dy * (below + x * density)
            }),
            Unary::GeluTanh => slopes(kernel, |dy, x| {
                let tanh = inner(x).tanh();
                let slope = T::from_f64(FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (one + T::from_f64(3.0 * CUBIC) * x * x);
                // Where the tangent is flat, its slope is 0, however large the (finite) number that it is multiplied with.
                let flat = one - tanh * tanh;
                let tail = if flat == T::ZERO && x.to_f64().is_finite() { T::ZERO } else { x * flat * slope };
                dy * half * (one + tanh + tail)
            }),
            Unary::Clamp { low, high } => {
                let (low, high) = (T::from_f64(low), T::from_f64(high));
                slopes(kernel, |dy, x| if x >= low && x <= high { dy } else { T::ZERO });
            }
        }
    }
}

#[inline(always)]
fn slopes<T: Real>(kernel: &mut Kernel<'_, T>, f: impl Fn(T, T) -> T + Sync + Copy) {
    let (dy, kept, parallel) = (kernel.input(0), kernel.input(1), kernel.parallel());
    for_each_piece(parallel, kernel.output(), PER_TASK, |i, dx| {
        let (dy, kept) = (&dy[i * PER_TASK..][..dx.len()], &kept[i * PER_TASK..][..dx.len()]);
        lanes::dispatch(
            #[inline(always)]
            || dx.iter_mut().zip(dy.iter().zip(kept)).for_each(|(dx, (&dy, &kept))| *dx = f(dy, kept)),
        );
    });
}
