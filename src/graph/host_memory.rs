//! Memory of the host that sessions may read without copying it.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Numbers in memory of the host: in a vector, in a mapped file, or anywhere else where they do not move. A clone is the same memory, not a
/// copy.
///
/// ```
/// use humdinger::graph::HostMemory;
///
/// let memory = HostMemory::new(vec![1.0, 2.0]);
/// assert_eq!(memory[1], 2.0);
/// assert!(memory.clone().is(&memory) && !memory.is(&HostMemory::new(vec![1.0, 2.0])));
/// ```
#[derive(Clone)]
pub struct HostMemory(Arc<dyn AsRef<[f32]> + Send + Sync>);

impl HostMemory {
    /// The memory of an owner, which must always return the same slice.
    pub fn new(owner: impl AsRef<[f32]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(owner))
    }

    /// Whether it is the same memory, not only the same numbers.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Its owner, as one of numbers of another type, where that is the same.
    pub(crate) fn of<T: 'static>(&self) -> Option<Arc<dyn AsRef<[T]> + Send + Sync>> {
        (&self.0 as &dyn Any).downcast_ref().cloned()
    }

    /// The number of clones of this memory.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Default for HostMemory {
    /// No numbers.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Deref for HostMemory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for HostMemory {
    /// Not the numbers: they are millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMemory").field("len", &self.len()).finish_non_exhaustive()
    }
}
