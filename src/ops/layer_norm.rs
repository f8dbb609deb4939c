//! Layer norm, composed of other operations, without a kernel of its own.

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::tensor::Shape;

impl Graph {
    /// Layer norm over the last axes, as PyTorch's `LayerNorm`: `(x - mean) / sqrt(variance + epsilon) gamma + beta`, mean and
    /// (biased) variance over as many of the last axes as gamma has. Gamma and beta have the shape of those axes.
    ///
    /// # Errors
    /// If gamma's or beta's shape is not that of x's last axes, or epsilon is negative or not finite.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 2], vec![1.0, 3.0])?;
    /// let gamma = graph.constant([2], vec![1.0, 1.0])?;
    /// let beta = graph.constant([2], vec![0.0, 10.0])?;
    /// let y = graph.layer_norm(x, [gamma, beta], 0.0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [-1.0, 11.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn layer_norm(&mut self, x: Value, [gamma, beta]: [Value; 2], epsilon: f64) -> Result<Value> {
        let (shape, scale, shift) = (self.shape(x), self.shape(gamma), self.shape(beta));
        if scale.rank() == 0 || scale != shift || !shape.dims().ends_with(scale.dims()) {
            let detail =
                format!("gamma has shape {scale}, beta {shift}; both must be that of the last axes of {shape}");
            return Err(Error::op("layer_norm", detail));
        }
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(Error::op("layer_norm", format!("epsilon must be finite and not negative, not {epsilon}")));
        }
        let axes: Vec<usize> = (shape.rank() - scale.rank()..shape.rank()).collect();
        let mean = self.mean(x, &axes, true)?;
        let centred = self.subtract(x, mean)?;
        let squares = self.multiply(centred, centred)?;
        let variance = self.mean(squares, &axes, true)?;
        let epsilon = self.constant(Shape::new(&[]), vec![epsilon])?;
        let variance = self.add(variance, epsilon)?;
        let deviation = self.sqrt(variance)?;
        let normalised = self.divide(centred, deviation)?;
        let scaled = self.multiply(normalised, gamma)?;
        self.add(scaled, beta)
    }
}
