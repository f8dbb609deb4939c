//! Memory at fixed addresses: of a plan's buffers, and of states.

use crate::error::{Error, Result};
use std::sync::Arc;

/// One cache line: buffers start at its alignment, so that vector loads never straddle two lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// What memory is aligned to, in bytes.
pub(super) const ALIGNMENT: usize = align_of::<Line>();

/// A zero-filled buffer at a fixed address.
#[derive(Default)]
pub(super) struct Memory(Vec<Line>);

impl Memory {
    /// Room for `len` elements of `size` bytes.
    pub fn of(len: usize, size: usize) -> Result<Self> {
        // More bytes than a number can say are more than there are.
        let bytes = len.saturating_mul(size);
        let mut lines = Vec::new();
        let count = bytes.div_ceil(64);
        lines
            .try_reserve_exact(count)
            .map_err(|_| Error::Device(format!("no {bytes} bytes of memory to be had; choose a smaller batch size")))?;
        lines.resize(count, Line([0; 64]));
        Ok(Self(lines))
    }

    pub fn pointer(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// Where the states of a group lie.
pub(super) enum Kept<T> {
    /// Nowhere yet: data that may still be lent.
    Nowhere,
    /// In memory of the session.
    Here(Memory),
    /// Where the host has it: for reading only.
    Lent(Arc<dyn AsRef<[T]> + Send + Sync>),
}

impl<T> Kept<T> {
    /// Where `len` elements lie, zeros where nobody has written any. What is lent must not be written there.
    pub fn pointer(&mut self, len: usize) -> Result<*mut T> {
        Ok(match self {
            Self::Here(memory) => memory.pointer().cast(),
            Self::Lent(memory) => {
                let lent: &[T] = (**memory).as_ref();
                // What its owner showed when it was lent is not what counts now.
                if lent.len() < len {
                    return Err(Error::Device(format!(
                        "{len} numbers were lent to a session, {} are left",
                        lent.len()
                    )));
                }
                lent.as_ptr().cast_mut()
            }
            Self::Nowhere => {
                let mut memory = Memory::of(len, size_of::<T>())?;
                let pointer = memory.pointer().cast();
                *self = Self::Here(memory);
                pointer
            }
        })
    }
}
