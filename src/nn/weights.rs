//! Tensors by name in a safetensors file, and files that are written completely or not at all.

use crate::graph::{Session, State};
use crate::{Error, Result, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

/// The contents of a safetensors file: tensors and text by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Real tensors.
    pub tensors: BTreeMap<String, Tensor<f32>>,
    /// Whole numbers, such as PyTorch's `num_batches_tracked`.
    pub counts: BTreeMap<String, i64>,
    /// The header's text.
    pub metadata: BTreeMap<String, String>,
}

impl Weights {
    /// Reads a file. Real tensors of other precisions become f32.
    ///
    /// # Errors
    /// If the file cannot be read, is not a whole safetensors file, or holds a tensor of a type that weights do not have.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "no such file"),
            std::io::ErrorKind::IsADirectory => Error::file(path, "is a folder, not a file of weights"),
            _ => Error::file(path, format!("cannot be read: {e}")),
        })?;
        Self::parse(&bytes).map_err(|detail| Error::file(path, detail))
    }

    /// The same from a file's bytes. The error does not contain the file's name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        use safetensors::SafeTensorError as E;
        let wrong = |e: E| match e {
            E::MetadataIncompleteBuffer => {
                "is cut short or damaged: its header does not describe its length; copy or train it again".to_string()
            }
            E::InvalidHeaderLength | E::HeaderTooSmall | E::HeaderTooLarge | E::InvalidHeader(_) => {
                "is not a safetensors file, or is cut short; a PyTorch `.pt` file has to be saved with \
                 safetensors.torch.save_file first"
                    .to_string()
            }
            e => format!("is not a usable safetensors file: {e}"),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let file = SafeTensors::deserialize(bytes).map_err(wrong)?;
        let mut weights = Self::default();
        weights.metadata.extend(header.metadata().clone().unwrap_or_default());
        for (name, view) in file.tensors() {
            if view.dtype() == Dtype::I64 && view.shape().iter().product::<usize>() == 1 {
                let bytes = view.data().try_into().map_err(|_| format!("`{name}` is damaged"))?;
                weights.counts.insert(name, i64::from_le_bytes(bytes));
                continue;
            }
            if view.shape().len() > crate::tensor::MAX_RANK {
                return Err(format!("`{name}` has {} axes", view.shape().len()));
            }
            let values = reals(&view).ok_or_else(|| {
                format!("`{name}` holds {:?} values; weights are F32, F64, F16 or BF16", view.dtype())
            })?;
            let tensor = Tensor::new(view.shape(), values).map_err(|e| e.to_string())?;
            weights.tensors.insert(name, tensor);
        }
        Ok(weights)
    }

    /// Writes a file, completely or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_halved(path, &|_| false)
    }

    /// Rounds every number to half precision.
    pub fn halve(&mut self) {
        for tensor in self.tensors.values_mut() {
            tensor.data_mut().iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
        }
    }

    /// Writes a file, completely or not at all. Tensors of these names are written in half precision.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_halved(&self, path: &Path, halved: &dyn Fn(&str) -> bool) -> Result<()> {
        let bytes =
            self.to_bytes(halved).map_err(|detail| Error::file(path, format!("cannot be written: {detail}")))?;
        write_whole(path, &bytes)
    }

    /// All states of a session except data: parameters, running statistics, an optimiser's moments.
    ///
    /// # Errors
    /// If the device fails.
    pub fn of_session(session: &mut dyn Session) -> Result<Self> {
        let states: Vec<State> = session.states().kept().cloned().collect();
        let tensors = read_states(session, states)?.into_iter().map(|(state, tensor)| (state.name, tensor));
        Ok(Self { tensors: tensors.collect(), ..Self::default() })
    }

    /// Writes the result of [`Weights::of_session`] into a session with the same states. `path` is the checkpoint's, for error messages.
    ///
    /// # Errors
    /// If a state is missing or has another shape; nothing has changed then. If the device fails.
    pub fn restore(&self, session: &mut dyn Session, path: &Path) -> Result<()> {
        let mut found = Vec::new();
        for state in session.states().kept() {
            let Some(tensor) = self.tensors.get(&state.name).filter(|tensor| tensor.shape() == state.shape) else {
                let detail = format!("is a checkpoint of another network: `{}` is missing or differs", state.name);
                return Err(Error::file(path, detail));
            };
            found.push((state.name.clone(), tensor));
        }
        found.into_iter().try_for_each(|(name, tensor)| session.write_state(&name, tensor.data()))
    }

    /// The first tensor that holds NaN or an infinity.
    pub fn not_finite(&self) -> Option<&str> {
        let broken = |tensor: &Tensor| tensor.data().iter().any(|x| !x.is_finite());
        self.tensors.iter().find(|(_, tensor)| broken(tensor)).map(|(name, _)| name.as_str())
    }

    /// Adds the tensors and counts of others, with a prefix to their names.
    pub fn add_under(&mut self, prefix: &str, others: Self) {
        let named = |name: String| format!("{prefix}{name}");
        self.tensors.extend(others.tensors.into_iter().map(|(name, tensor)| (named(name), tensor)));
        self.counts.extend(others.counts.into_iter().map(|(name, count)| (named(name), count)));
    }

    /// Removes and returns what [`Weights::add_under`] added with this prefix.
    pub fn take_under(&mut self, prefix: &str) -> Self {
        let (tensors, counts) = (take_under(&mut self.tensors, prefix), take_under(&mut self.counts, prefix));
        Self { tensors, counts, ..Self::default() }
    }

    /// The bytes of a file whose tensors of these names are in half precision. The error says what is wrong without a file's name.
    pub(crate) fn to_bytes(&self, halved: &dyn Fn(&str) -> bool) -> Result<Vec<u8>, String> {
        let half = |tensor: &Tensor| -> Vec<u8> {
            tensor.data().iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
        };
        let halves: BTreeMap<&String, Vec<u8>> =
            self.tensors.iter().filter(|(name, _)| halved(name)).map(|(name, tensor)| (name, half(tensor))).collect();
        let counts: Vec<(&String, [u8; 8])> = self.counts.iter().map(|(name, n)| (name, n.to_le_bytes())).collect();
        let mut views = Vec::new();
        for (name, tensor) in &self.tensors {
            let (kind, data) = match halves.get(name) {
                Some(bytes) => (Dtype::F16, &bytes[..]),
                None => (Dtype::F32, bytemuck::cast_slice(tensor.data())),
            };
            views.push((name, TensorView::new(kind, tensor.shape().dims().to_vec(), data)));
        }
        for (name, bytes) in &counts {
            views.push((name, TensorView::new(Dtype::I64, Vec::new(), bytes)));
        }
        let views: Vec<(&String, TensorView)> = views
            .into_iter()
            .map(|(name, view)| Ok((name, view?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }
}

fn take_under<T>(all: &mut BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    let (under, others): (BTreeMap<String, T>, _) =
        std::mem::take(all).into_iter().partition(|(name, _)| name.starts_with(prefix));
    *all = others;
    under.into_iter().map(|(name, value)| (name[prefix.len()..].to_string(), value)).collect()
}

/// Reads states from a session, in whole groups, because every read waits for the device.
///
/// # Errors
/// If the device fails.
pub fn read_states(session: &mut dyn Session, wanted: Vec<State>) -> Result<Vec<(State, Tensor)>> {
    let groups = session.states().groups().to_vec();
    let mut contents: Vec<Option<Vec<f32>>> = vec![None; groups.len()];
    let mut read = Vec::with_capacity(wanted.len());
    for state in wanted {
        let group = state.group.index();
        if contents[group].is_none() {
            let mut values = vec![0.0; groups[group].len];
            session.read_state(&groups[group].name, &mut values)?;
            contents[group] = Some(values);
        }
        let part = contents[group].iter().flat_map(|values| &values[state.offset..]);
        let values: Vec<f32> = part.take(state.shape.elements()).copied().collect();
        let tensor = Tensor::new(state.shape, values)?;
        read.push((state, tensor));
    }
    Ok(read)
}

fn reals(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|&[a, b]| f32::from_le_bytes([0, 0, a, b])).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}

/// The start of the names of unfinished files. Only a process that was killed leaves any.
pub const UNFINISHED: &str = ".unfinished-";

/// Writes a file under a temporary name beside its final one and renames it, so that there is always the old file or the new one.
///
/// # Errors
/// If the folder cannot be written to, or the disk is full.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        // Not through the temporary file itself, whose errors speak of its name.
        file.as_file_mut().write_all(bytes)?;
        // Without this a power cut can leave the new name with the old, or no, contents.
        file.as_file().sync_all()?;
        // A temporary file is private to its owner; what is left in a run folder need not be.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|e| Error::file(path, format!("cannot be written: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_and_damage_is_told() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("w.safetensors");
        let mut weights = Weights::default();
        weights.tensors.insert("lin.weight".into(), Tensor::new([2, 3], vec![1.5, -2.0, 0.0, 4.0, 5.0, 1e-30])?);
        weights.counts.insert("bn1.num_batches_tracked".into(), 77);
        weights.metadata.insert("format".into(), "pt".into());
        weights.write(&path)?;
        assert_eq!(Weights::read(&path)?, weights);
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        for end in 0..bytes.len() {
            assert!(Weights::parse(&bytes[..end]).is_err(), "cut to {end} bytes");
        }
        assert!(Weights::read(&folder.path().join("none")).unwrap_err().to_string().contains("no such file"));
        Ok(())
    }

    #[test]
    fn half_precision() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("w.safetensors");
        let mut weights = Weights::default();
        weights.tensors.insert("a".into(), Tensor::new([4], vec![1.0, -2.0, 1.0 / 3.0, 6e-8])?);
        weights.tensors.insert("b".into(), Tensor::new([1], vec![1.0 / 3.0])?);
        weights.write_halved(&path, &|name| name == "a")?;
        let read = Weights::read(&path)?;
        assert_eq!(read.tensors["a"].data(), [1.0, -2.0, 0.333_251_95, 5.960_464_5e-8]);
        assert_eq!(read.tensors["b"], weights.tensors["b"]);
        weights.halve();
        assert_eq!(read.tensors["a"], weights.tensors["a"]);
        Ok(())
    }
}
