//! Excerpts of recordings that are stored one after the other in one array, so that a device that holds a data set only needs to know which
//! clips a batch is made of. Sample t of channel c of item n is sample `u = (start + t) mod length` of the item's part, with
//! silence after the part, or the part repeated.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::shader;
use crate::tensor::{Real, Spec};

use super::relu::PER_WORKGROUP;
use std::ops::Range;

static EXCERPTS: Shader = shader!("excerpts");

/// See the top of this file. Inputs recordings `[L]` and the indices [N, 5], for each item an [`Excerpt`]; output
/// [N, channels, length].
#[derive(Clone, Copy, Debug)]
pub struct Excerpts {
    /// Channels of the output.
    pub channels: usize,
    /// Samples of a window.
    pub length: usize,
    /// Whether a part shorter than the window is repeated; otherwise silence follows.
    pub repeat: bool,
}

/// The position of an item's part in the recordings. Samples beyond their end are silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The part's first sample in its first channel.
    pub first: u32,
    /// From a channel to the next; 0 where there is one, which then is every channel.
    pub stride: u32,
    /// Channels whose mean is taken; 1 where channel c of the output is channel c of the recording.
    pub mixed: u32,
    /// Samples of the part.
    pub samples: u32,
    /// Where in the window, read in a circle, the output begins.
    pub start: u32,
}

impl Excerpt {
    /// The number of indices of an excerpt.
    pub const LEN: usize = 5;

    /// The indices that the operation reads.
    pub fn to_array(self) -> [u32; Self::LEN] {
        [self.first, self.stride, self.mixed, self.samples, self.start]
    }

    fn of(row: &[u32; Self::LEN]) -> Self {
        let [first, stride, mixed, samples, start] = *row;
        Self { first, stride, mixed, samples, start }
    }
}

impl Graph {
    /// [`Excerpts`] [N, channels, length] out of recordings `[L]`, one for each of the `places` [N, 5]. Has no gradient.
    ///
    /// # Errors
    /// If the shapes do not fit, or there is no channel or no sample.
    pub fn excerpts(&mut self, recordings: Value, places: Value, excerpts: Excerpts) -> Result<Value> {
        self.apply_one(excerpts, &[recordings, places])
    }
}

impl Op for Excerpts {
    fn name(&self) -> &'static str {
        "excerpts"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(vec![self.signals(self.name(), inputs[0], inputs[1])?])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        vec![Launch {
            shader: &EXCERPTS,
            constants: vec![
                ("LEN", len as f64),
                ("CHANNELS", self.channels as f64),
                ("LENGTH", self.length as f64),
                ("RECORDED", inputs[0].shape[0] as f64),
                ("REPEAT", f64::from(u8::from(self.repeat))),
            ],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: grid(len.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, _: &[Spec], outputs: &[Spec]) -> Cost {
        // However long the recordings are, a window's worth of them is read.
        Cost::streaming(0.0, outputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[false, true])
    }
}

impl Excerpts {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, places, parallel) = (kernel.input(0), kernel.indices(1), kernel.parallel());
        for_each_piece(parallel, kernel.output(), self.length, |row, y| self.fill(y, x, places, row, 0));
    }

    /// What comes out, given what goes in.
    ///
    /// # Errors
    /// If the shapes do not fit, or there is no channel or no sample.
    pub(super) fn signals(&self, op: &'static str, x: Spec, places: Spec) -> Result<Spec> {
        super::real(op, &[x])?;
        if x.shape.rank() != 1 || self.channels == 0 || self.length == 0 {
            let (channels, length) = (self.channels, self.length);
            let detail =
                format!("{channels} channels of {length} samples out of {}; must be some, out of [L]", x.shape);
            return Err(Error::op(op, detail));
        }
        if places.shape.rank() != 2 || places != Spec::index([places.shape[0], Excerpt::LEN]) {
            let detail = format!("places must be indices [N, 5], not {:?} {}", places.dtype, places.shape);
            return Err(Error::op(op, detail));
        }
        Ok(Spec::real([places.shape[0], self.channels, self.length]))
    }

    /// The place of a row of the output, and the channel of its recording that is read, or is the first of those mixed.
    fn place(self, places: &[u32], row: usize) -> (Excerpt, usize) {
        let place = Excerpt::of(&places.as_chunks::<{ Excerpt::LEN }>().0[row / self.channels]);
        (place, if place.mixed > 1 { 0 } else { row % self.channels })
    }

    /// Samples of a row of the output (channel `row % channels` of item `row / channels`), from sample `from` on.
    pub(super) fn fill<T: Real>(&self, y: &mut [T], x: &[T], places: &[u32], row: usize, from: usize) {
        let (mut place, channel) = self.place(places, row);
        place.start = ((place.start as usize + from) % self.length) as u32;
        self.channel(y, x, place, channel, false);
        if place.mixed > 1 {
            (1..place.mixed as usize).for_each(|channel| self.channel(y, x, place, channel, true));
            let share = T::ONE / T::from_f64(f64::from(place.mixed));
            y.iter_mut().for_each(|y| *y *= share);
        }
    }

    /// The samples of such a row as they lie among the recordings, where they do so one after the other.
    pub(super) fn as_recorded<'a, T>(
        self,
        x: &'a [T],
        places: &[u32],
        row: usize,
        of: Range<usize>,
    ) -> Option<&'a [T]> {
        let (place, _) = self.place(places, row);
        let len = of.len();
        self.looks_at(x, places, row, of).next().filter(|there| place.mixed <= 1 && there.len() == len)
    }

    /// Most of the samples that such a row is made of, a slice for each channel that is mixed.
    pub(super) fn looks_at<'a, T>(
        self,
        x: &'a [T],
        places: &[u32],
        row: usize,
        of: Range<usize>,
    ) -> impl Iterator<Item = &'a [T]> {
        let (place, first) = self.place(places, row);
        let u = (place.start as usize + of.start) % self.length;
        // To the end of the part or of the circle; what comes then lies elsewhere.
        let end = (u + of.len()).min(place.samples as usize).min(self.length);
        (first..first + place.mixed.max(1) as usize).map(move |channel| {
            let start = place.first as usize + channel * place.stride as usize;
            x.get(start + u.min(end)..(start + end).min(x.len())).unwrap_or(&[])
        })
    }

    /// A window of one channel of a recording, stretch by stretch, in the place of what y holds or added to it.
    fn channel<T: Real>(&self, y: &mut [T], x: &[T], place: Excerpt, channel: usize, add: bool) {
        let samples = place.samples as usize;
        let channel = x.get(place.first as usize + channel * place.stride as usize..).unwrap_or(&[]);
        let mut done = 0;
        while done < y.len() {
            let u = (place.start as usize + done) % self.length;
            let in_part = if self.repeat && samples > 0 { u % samples } else { u };
            let silent = in_part >= samples;
            // To the end of the part or of the circle, whichever comes first.
            let circle = self.length - u;
            let stretch = if silent { circle } else { circle.min(samples - in_part) }.min(y.len() - done);
            let to = &mut y[done..done + stretch];
            let from = if silent { &[] } else { channel.get(in_part..).unwrap_or(&[]) };
            let there = from.len().min(stretch);
            if add {
                to.iter_mut().zip(from).for_each(|(to, &x)| *to += x);
            } else {
                to[..there].copy_from_slice(&from[..there]);
                to[there..].fill(T::ZERO);
            }
            done += stretch;
        }
    }
}
