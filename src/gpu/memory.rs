//! Buffers on the device, with or without guard zones.

use super::device::Gpu;
use crate::error::{Error, Result};

/// Bytes before and after the elements of a guarded buffer: a multiple of the offset alignment of baseline WebGPU.
pub(super) const GUARD: u64 = 256;
/// Values in one block start at multiples of this: the offset alignment of baseline WebGPU.
pub(super) const BLOCK_ALIGNMENT: u64 = 256;
/// What fills guard zones, and values that nobody has written yet: a NaN with a recognisable payload, so that a kernel
/// that reads them spoils its results.
pub(super) const SENTINEL: u32 = 0x7fc0_5eed;

/// A stretch of device memory for a number of four-byte elements.
pub(super) struct Memory {
    pub buffer: wgpu::Buffer,
    /// Where the elements start, in bytes.
    pub start: u64,
    /// The size of the elements, in bytes.
    pub bytes: u64,
}

impl Memory {
    /// Fresh memory. Unguarded it is zero-filled by wgpu; guarded memory must be filled with [`Memory::fill`].
    pub fn new(gpu: &Gpu, len: usize, guarded: bool) -> Result<Self> {
        let bytes = 4 * len as u64;
        let start = if guarded { GUARD } else { 0 };
        // Whole vec4s, so that kernels may load them at the end.
        let size = (start + bytes + start).next_multiple_of(16).max(16);
        let largest = gpu.largest_buffer();
        if size > largest {
            return Err(Error::Gpu(format!(
                "{} allows {largest} bytes in one buffer, the plan needs one of {size}; choose a smaller batch size or \
                 use the CPU",
                gpu.adapter().name()
            )));
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = gpu.catch(|| format!("a buffer of {size} bytes"), || gpu.device().create_buffer(&descriptor))?;
        Ok(Self { buffer, start, bytes })
    }

    /// Fresh memory for several values in one buffer, without guards, so that one copy fills neighbours. None where no buffer may
    /// be that large.
    pub fn block(gpu: &Gpu, lens: &[usize]) -> Result<Option<Vec<Self>>> {
        let starts = lens.iter().scan(0, |end, &len| {
            let start = *end;
            *end += (4 * len as u64).next_multiple_of(BLOCK_ALIGNMENT);
            Some(start)
        });
        let starts: Vec<u64> = starts.collect();
        let elements: usize = lens.iter().map(|len| (4 * len).next_multiple_of(BLOCK_ALIGNMENT as usize) / 4).sum();
        if 4 * elements as u64 > gpu.largest_buffer() {
            return Ok(None);
        }
        let buffer = Self::new(gpu, elements, false)?.buffer;
        let part = |(&len, start)| Self { buffer: buffer.clone(), start, bytes: 4 * len as u64 };
        Ok(Some(lens.iter().zip(starts).map(part).collect()))
    }

    /// Writes the elements, and the sentinels around them where there is a guard. `None` leaves zeros, or sentinels where
    /// there is a guard.
    pub fn fill(&self, gpu: &Gpu, data: Option<&[u8]>) {
        if self.start > 0 {
            let mut all = vec![SENTINEL; (self.buffer.size() / 4) as usize];
            if let Some(data) = data {
                let first = self.start as usize;
                bytemuck::cast_slice_mut::<u32, u8>(&mut all)[first..first + data.len()].copy_from_slice(data);
            }
            gpu.queue().write_buffer(&self.buffer, 0, bytemuck::cast_slice(&all));
        } else if let Some(data) = data {
            gpu.queue().write_buffer(&self.buffer, 0, data);
        }
    }

    /// What a kernel is given for `len` elements from `offset` on.
    pub fn binding(&self, offset: usize, len: usize) -> wgpu::BufferBinding<'_> {
        let first = self.start + 4 * offset as u64;
        let end = if self.start > 0 {
            // With the guard behind it: a write beyond the end is to land there, and not be dropped by bounds checks.
            self.buffer.size()
        } else {
            (first + 4 * len as u64).next_multiple_of(16).min(self.buffer.size())
        };
        wgpu::BufferBinding { buffer: &self.buffer, offset: first, size: std::num::NonZero::new(end - first) }
    }
}
