//! Decibels: `y = max(10 log10(max(x, floor)), top - top_db)` with `top` the greatest decibel value of the whole item.
//!
//! torchaudio's `AmplitudeToDB("power", top_db)` (and librosa's `power_to_db` with `ref=1`) for one item at a time; the
//! items of a batch do not see each other.

use super::items::{self, Partial, greatest, items};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Target, Value, for_each_piece, no_gradient,
};
use crate::kernels::simd::dispatch;
use crate::shader;
use crate::tensor::{Real, Spec};
use pulp::{Simd, WithSimd};

static DECIBELS: Shader = shader!("decibels", "nan", "items");

/// See the top of this file. Input x [N, ...] (powers), output of the same shape. An optional second input holds the partial maxima of
/// each item, computed by the operation that made x; an optional second output holds partial results for the next operation.
#[derive(Clone, Copy, Debug)]
pub struct Decibels {
    /// Smaller powers are replaced by this; always 1e-10 here.
    pub floor: f64,
    /// Decibels below the item's maximum at which values are cut off; infinite for none.
    pub top_db: f64,
    /// The partial results for the next operation.
    pub hands_on: Option<Partial>,
}

impl Graph {
    /// `max(10 log10(max(x, floor)), top - top_db)`, `top` the maximum of each item (first axis). Has no gradient.
    ///
    /// # Errors
    /// If `floor` is not a positive normal f32 or `top_db` is negative or NaN.
    pub fn decibels(&mut self, x: Value, floor: f64, top_db: f64) -> Result<Value> {
        self.apply_one(Decibels { floor, top_db, hands_on: None }, &[x])
    }
}

impl Op for Decibels {
    fn name(&self) -> &'static str {
        "decibels"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let normal = (f64::from(f32::MIN_POSITIVE)..1e30).contains(&self.floor);
        if !normal || self.top_db.is_nan() || self.top_db < 0.0 {
            let detail = format!("floor {} must be positive and top_db {} not negative", self.floor, self.top_db);
            return Err(Error::op(self.name(), detail));
        }
        items::expect_items(self.name(), &inputs[0])?;
        items::expect_partials(self.name(), inputs, 1, false)?;
        Ok(items::outputs(inputs[0], self.hands_on))
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (first, partial, partials) = items::incoming(Partial::Max, inputs, 1);
        let mut constants = items::constants(&inputs[0], self.hands_on);
        // Infinity is no value for an override; nothing finite in f32 is 1e30 dB below anything.
        let top_db = self.top_db.min(1e30);
        constants.extend([("PARTIALS", partials as f64), ("FLOOR", self.floor), ("TOP_DB", top_db)]);
        let apply = Launch {
            shader: &DECIBELS,
            constants,
            operands: vec![Operand::Input(0), partial, Operand::Output(0), items::outgoing(self.hands_on)],
            workgroups: items::workgroups(&inputs[0]),
        };
        first.into_iter().chain([apply]).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(4.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        Division::rows(inputs.len())
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        items::scratch(&inputs[0], target)
    }
}

impl Decibels {
    fn cpu<T: Logarithm>(&self, kernel: &mut Kernel<'_, T>) {
        let (_, len) = items(&kernel.input_spec(0));
        let (floor, top_db) = (T::from_f64(self.floor), T::from_f64(self.top_db));
        let (x, parallel) = (kernel.input(0), kernel.parallel());
        for_each_piece(parallel, kernel.output(), len, |item, y| {
            dispatch(Item { x: &x[item * len..][..len], y, floor, top_db });
        });
        items::hand_on(kernel, self.hands_on);
    }
}

/// One item.
struct Item<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    floor: T,
    top_db: T,
}

impl<T: Logarithm> WithSimd for Item<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = T::decibels(x.max(self.floor));
        }
        if self.top_db.to_f64() == f64::INFINITY {
            // Infinity less infinity is no level to cut off at.
            return;
        }
        let lowest = greatest(self.y) - self.top_db;
        for y in self.y.iter_mut() {
            *y = lowest.max(*y);
        }
    }
}

/// A real type with a fast `10 log10(x)` for positive normal x; NaN and infinity stay what they are.
trait Logarithm: Real {
    fn decibels(x: Self) -> Self;
}

impl Logarithm for f64 {
    #[inline(always)]
    fn decibels(x: f64) -> f64 {
        10.0 * x.log10()
    }
}

impl Logarithm for f32 {
    /// `x = 2^e m` with m between sqrt(1/2) and sqrt(2), and `ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...)` with `s = (m - 1) / (m + 1)`, below
    /// 0.172; what is left out is below 1e-9. Plain arithmetic, so that it becomes vectors; the C library's logarithm took a third
    /// of the front end's time.
    #[inline(always)]
    fn decibels(x: f32) -> f32 {
        const SQRT_HALF: u32 = 0x3f35_04f3;
        let bits = x.to_bits().wrapping_sub(SQRT_HALF);
        let exponent = (bits as i32 >> 23) as f32;
        let m = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF);
        let s = (m - 1.0) / (m + 1.0);
        let q = s * s;
        let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
        // 20 / ln 10 and 10 log10 2
        let db = 8.685_889 * s * series + 3.010_3 * exponent;
        if x < f32::MAX { db } else { x }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_logarithm_is_as_good_as_its_type() {
        let mut x = 1e-37f32;
        while x < 1e37 {
            let error = (f64::from(f32::decibels(x)) - 10.0 * f64::from(x).log10()).abs();
            assert!(error < 4e-7 * (10.0 * f64::from(x).log10()).abs() + 2e-7, "{x}: {error}");
            x *= 1.000_7;
        }
        assert_eq!(f32::decibels(1.0), 0.0);
        assert!(f32::decibels(f32::NAN).is_nan());
        assert_eq!(f32::decibels(f32::INFINITY), f32::INFINITY);
    }
}
