//! Saving and loading a model's parameters by path.

use super::model::Model;
use super::module::Module;
use super::weights::Weights;
use crate::error::{Error, Result};
use std::path::Path;

impl<M: Module> Model<M> {
    /// Writes all parameters and running statistics, by path, as a safetensors file, completely or not at all.
    ///
    /// # Errors
    /// If the file cannot be written or the device fails.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = self.all()?.into_iter().collect();
        Weights { tensors, ..Weights::default() }.write(path.as_ref())
    }

    /// Reads all parameters and running statistics from a safetensors file that has them under the same paths.
    ///
    /// # Errors
    /// If the file cannot be read, or if one is missing there or has another shape; the model is then unchanged.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.load_with(path, |path| path.to_string())
    }

    /// The same from a file with other names, such as one of PyTorch's: `name` gives the file's name of a path here.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(&mut self, path: impl AsRef<Path>, name: impl Fn(&str) -> String) -> Result<()> {
        let path = path.as_ref();
        let mut weights = Weights::read(path)?;
        let mut found = Vec::new();
        for (own, value) in self.all()? {
            let theirs = name(&own);
            let Some(tensor) = weights.tensors.remove(&theirs) else {
                let left: Vec<&str> = weights.tensors.keys().map(String::as_str).take(8).collect();
                let detail =
                    format!("has no `{theirs}`, which is the network's `{own}`; it has, among others, {left:?}");
                return Err(Error::file(path, detail));
            };
            if tensor.shape() != value.shape() {
                let detail =
                    format!("`{theirs}` has shape {}, the network's `{own}` {}", tensor.shape(), value.shape());
                return Err(Error::file(path, detail));
            }
            found.push((own, tensor));
        }
        found.iter().try_for_each(|(path, tensor)| self.write(path, tensor))
    }
}
