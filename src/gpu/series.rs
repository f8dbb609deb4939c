//! Many runs of a plan in few submissions: what the runs read is uploaded beforehand, and what they give is collected on the
//! device and read once.

use super::memory::{BLOCK_ALIGNMENT, Memory};
use super::session::GpuSession;
use crate::error::Result;
use crate::graph::{Place, PlanId, Series, Session, check_series};
use std::ops::Range;

/// Runs in one submission: enough that submitting costs nothing, few enough that the device starts while the rest is still
/// being recorded.
const RUNS: usize = 16;

/// The inputs of all runs, one run after the other, and their outputs likewise. Kept from series to series.
#[derive(Default)]
pub(super) struct Tables {
    inputs: Option<wgpu::Buffer>,
    outputs: Option<wgpu::Buffer>,
}

/// What one copy moves: a part of each run's row of a table, and where that lies in the plan's memory.
struct Copy {
    buffer: wgpu::Buffer,
    start: u64,
    row: Range<u64>,
}

impl GpuSession {
    /// See [`Session::run_series`].
    pub(super) fn series(&mut self, id: PlanId, series: &Series<'_>, outputs: &mut [(&str, &mut [f32])]) -> Result<()> {
        check_series(self.plan(id), series, outputs)?;
        let runs = series.runs as u64;
        if runs == 0 {
            return Ok(());
        }
        let real = series.real.iter().map(|&(name, data)| (name, bytemuck::cast_slice::<f32, u8>(data)));
        let index = series.index.iter().map(|&(name, data)| (name, bytemuck::cast_slice::<u32, u8>(data)));
        let given: Vec<(&str, &[u8])> = real.chain(index).collect();
        let mut places = Vec::new();
        for (name, data) in given {
            let place = self.plan(id).input(name)?.place;
            // An input that nothing reads has no memory.
            if self.plans[id.0].memory[place.buffer].is_some() {
                places.push((place, data));
            }
        }
        let (rows_in, slots) = self.layout(id, places.iter().map(|(place, _)| *place))?;
        let row_in = rows_in.last().map_or(0, |copy| copy.row.end);
        let mut table = vec![0u8; (row_in * runs) as usize];
        for ((_, data), slot) in places.iter().zip(slots) {
            let each = data.len() / series.runs;
            for (row, data) in table.chunks_exact_mut(row_in as usize).zip(data.chunks_exact(each)) {
                row[slot as usize..][..each].copy_from_slice(data);
            }
        }
        let inputs = self.table(self.tables.inputs.clone(), table.len() as u64)?;
        self.gpu.queue().write_buffer(&inputs, 0, &table);
        drop(table);

        let mut places = Vec::new();
        for (name, _) in outputs.iter() {
            places.push(self.plan(id).output(name)?.place);
        }
        let (rows_out, slots) = self.layout(id, places.into_iter())?;
        let row_out = rows_out.last().map_or(0, |copy| copy.row.end);
        let collected = self.table(self.tables.outputs.clone(), row_out * runs)?;
        self.tables = Tables { inputs: Some(inputs.clone()), outputs: Some(collected.clone()) };

        for first in (0..runs).step_by(RUNS) {
            let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for run in first..runs.min(first + RUNS as u64) {
                for Copy { buffer, start, row } in &rows_in {
                    let from = run * row_in + row.start;
                    encoder.copy_buffer_to_buffer(&inputs, from, buffer, *start, row.end - row.start);
                }
                encoder = self.record_run(id, encoder)?;
                for Copy { buffer, start, row } in &rows_out {
                    let to = run * row_out + row.start;
                    encoder.copy_buffer_to_buffer(buffer, *start, &collected, to, row.end - row.start);
                }
            }
            self.submit(encoder)?;
        }

        let mut table = vec![0u8; (row_out * runs) as usize];
        self.download(&collected, 0, &mut table)?;
        for ((_, into), slot) in outputs.iter_mut().zip(slots) {
            let each = into.len() / series.runs;
            for (row, into) in table.chunks_exact(row_out as usize).zip(into.chunks_exact_mut(each)) {
                bytemuck::cast_slice_mut(into).copy_from_slice(&row[slot as usize..][..4 * each]);
            }
        }
        Ok(())
    }

    /// How places go into a row of a table: the copies that are needed, neighbours in one, and where each place starts in
    /// the row.
    fn layout(&self, id: PlanId, places: impl Iterator<Item = Place>) -> Result<(Vec<Copy>, Vec<u64>)> {
        let compiled = &self.plans[id.0];
        let mut parts = Vec::new();
        for (number, place) in places.enumerate() {
            let memory: &Memory = self.whole(&compiled.plan, &compiled.memory, &place)?;
            let start = memory.start + 4 * place.offset as u64;
            parts.push((place.buffer, start, number, memory.buffer.clone(), 4 * place.len as u64));
        }
        // Values of one block lie in the order of their buffers.
        parts.sort_by_key(|&(buffer, start, ..)| (buffer, start));
        let (mut copies, mut slots) = (Vec::<Copy>::new(), vec![0; parts.len()]);
        for (_, start, number, buffer, bytes) in parts {
            let end = copies.last().map_or(0, |copy| copy.row.end);
            // Between neighbours there is nothing but what aligns the second.
            let gap = |copy: &Copy| start.checked_sub(copy.start + copy.row.end - copy.row.start);
            match copies
                .last_mut()
                .filter(|copy| copy.buffer == buffer && gap(copy).is_some_and(|g| g < BLOCK_ALIGNMENT))
            {
                Some(copy) => {
                    slots[number] = copy.row.start + start - copy.start;
                    copy.row.end = slots[number] + bytes;
                }
                None => {
                    slots[number] = end;
                    copies.push(Copy { buffer, start, row: end..end + bytes });
                }
            }
        }
        Ok((copies, slots))
    }

    /// A buffer for a table: the one at hand, if it is large enough.
    fn table(&self, at_hand: Option<wgpu::Buffer>, bytes: u64) -> Result<wgpu::Buffer> {
        if let Some(buffer) = at_hand.filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer);
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("table"),
            size: bytes.next_power_of_two().max(1024),
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let make = || self.gpu.device().create_buffer(&descriptor);
        self.gpu.catch(|| format!("a buffer for {bytes} bytes of inputs or outputs"), make)
    }
}
