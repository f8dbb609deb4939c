//! Sound that is recorded at this moment: a queue from whoever records to whoever reads, and with the feature `microphone` a microphone
//! at its beginning.
//!
//! A sound card cannot be kept waiting, so that what records never waits for what reads: where the queue is full, frames are counted
//! instead of kept. The reader puts silence in their place, so that times stay right, and tells of it.

#[cfg(feature = "microphone")]
mod microphone;

#[cfg(feature = "microphone")]
pub use microphone::Microphone;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

/// Seconds of sound that the queue holds: a reader that falls further behind than this is too slow.
const HELD: f64 = 120.0;
/// How often a reader that waits looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is sent at once.
enum Part {
    /// Samples that were lost just before, and the samples.
    Sound(usize, Vec<f32>),
    /// Why there is no more.
    Failed(String),
}

/// The end of the queue at which sound comes in.
pub struct LiveWriter {
    parts: SyncSender<Part>,
    lost: usize,
}

/// The end of the queue at which it is read, as bytes of little-endian `f32` samples whose channels take turns. It ends when it is told
/// to, after as many seconds as were asked for, or with the writer.
pub struct LiveReader {
    parts: Receiver<Part>,
    /// Set from outside when there is to be an end.
    stop: Arc<AtomicBool>,
    /// Samples until the end; none where there is none.
    left: Option<usize>,
    /// Samples a second, of all channels together.
    per_second: f64,
    /// Bytes that were received and not yet read.
    ready: Vec<u8>,
    at: usize,
    /// Told once what the user should know.
    told: Box<dyn FnMut(&str) + Send>,
    lost: usize,
}

/// A queue for sound of this rate (Hz) and number of channels, in parts of about `part` frames. The reader ends after `seconds`, where
/// any are given, and when `stop` is set; `told` receives messages for the user.
pub fn queue(
    (rate, channels): (u32, usize),
    part: usize,
    seconds: Option<f64>,
    stop: Arc<AtomicBool>,
    told: impl FnMut(&str) + Send + 'static,
) -> (LiveWriter, LiveReader) {
    let parts = (HELD * f64::from(rate) / part.max(1) as f64) as usize;
    let (sender, receiver) = sync_channel(parts.max(16));
    let frames = seconds.map(|seconds| (seconds * f64::from(rate)).round() as usize);
    let reader = LiveReader {
        parts: receiver,
        stop,
        left: frames.map(|frames| frames.saturating_mul(channels)),
        per_second: f64::from(rate) * channels as f64,
        ready: Vec::new(),
        at: 0,
        told: Box::new(told),
        lost: 0,
    };
    (LiveWriter { parts: sender, lost: 0 }, reader)
}

impl LiveWriter {
    /// Sends samples, channels taking turns. It never waits.
    pub fn write(&mut self, samples: Vec<f32>) {
        let count = samples.len();
        match self.parts.try_send(Part::Sound(self.lost, samples)) {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_)) => self.lost += count,
            // The reader is gone.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Another end of the same queue, for what only tells of failures.
    pub fn teller(&self) -> LiveTeller {
        LiveTeller(self.parts.clone())
    }
}

/// Tells the reader why there is no more sound.
pub struct LiveTeller(SyncSender<Part>);

impl LiveTeller {
    /// There is no more, for this reason. Where the queue is full it is left out: the reader then finds the queue to end.
    pub fn fail(&self, why: String) {
        drop(self.0.try_send(Part::Failed(why)));
    }
}

impl LiveReader {
    /// The next part; none at the end.
    fn part(&mut self) -> std::io::Result<Option<(usize, Vec<f32>)>> {
        loop {
            let stopped = self.stop.load(Ordering::Relaxed);
            // What was recorded before the stop is still used.
            let part = match stopped {
                true => self.parts.try_recv().map_err(|e| match e {
                    TryRecvError::Empty | TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                false => self.parts.recv_timeout(PATIENCE),
            };
            match part {
                Ok(Part::Sound(lost, samples)) => return Ok(Some((lost, samples))),
                Ok(Part::Failed(why)) => return Err(std::io::Error::other(why)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Fills `ready`; false at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        if self.left == Some(0) {
            return Ok(false);
        }
        let Some((lost, samples)) = self.part()? else {
            self.left = Some(0);
            return Ok(false);
        };
        if lost > 0 {
            if self.lost == 0 {
                (self.told)("sound comes faster than it is answered; some of it is lost, and counts as silence");
            }
            self.lost += lost;
        }
        let most = self.left.unwrap_or(usize::MAX);
        (self.at, self.ready) = (0, Vec::new());
        let silence = std::iter::repeat_n(&0.0, lost);
        self.ready.extend(silence.chain(&samples).take(most).flat_map(|sample| sample.to_le_bytes()));
        self.left = self.left.map(|left| left - self.ready.len() / size_of::<f32>());
        Ok(true)
    }

    /// Seconds of sound that were lost so far.
    pub fn seconds_lost(&self) -> f64 {
        self.lost as f64 / self.per_second
    }
}

impl Read for LiveReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.ready.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn samples(reader: &mut LiveReader) -> Vec<f32> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    fn no_stop() -> Arc<AtomicBool> {
        Arc::new(AtomicBool::new(false))
    }

    #[test]
    fn what_is_written_is_read_until_the_writer_goes_or_the_seconds_are_over() {
        let (mut writer, mut reader) = queue((10, 2), 2, None, no_stop(), |_| panic!("nothing to tell"));
        writer.write(vec![0.1, 0.2, 0.3, 0.4]);
        writer.write(vec![0.5, 0.6]);
        drop(writer);
        assert_eq!(samples(&mut reader), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        let (mut writer, mut reader) = queue((10, 2), 2, Some(0.2), no_stop(), |_| panic!("nothing to tell"));
        writer.write(vec![0.1, 0.2, 0.3]);
        writer.write(vec![0.4, 0.5, 0.6]);
        assert_eq!(
            samples(&mut reader),
            [0.1, 0.2, 0.3, 0.4],
            "two frames of two channels, though the writer is there"
        );
    }

    #[test]
    fn what_was_recorded_before_the_stop_is_read() {
        let stop = no_stop();
        let (mut writer, mut reader) = queue((10, 1), 2, None, stop.clone(), |_| panic!("nothing to tell"));
        writer.write(vec![0.1, 0.2]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(samples(&mut reader), [0.1, 0.2]);
        writer.write(vec![0.3]);
        assert!(samples(&mut reader).is_empty(), "an end stays one");
    }

    #[test]
    fn a_reader_waits_for_what_comes() {
        let (mut writer, mut reader) = queue((10, 1), 2, Some(0.2), no_stop(), |_| ());
        let later = std::thread::spawn(move || {
            std::thread::sleep(3 * PATIENCE);
            writer.write(vec![0.1, 0.2]);
            writer
        });
        assert_eq!(samples(&mut reader), [0.1, 0.2]);
        drop(later.join());
    }

    #[test]
    fn what_finds_no_room_is_silence_and_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        // Room for sixteen parts at least.
        let (mut writer, mut reader) =
            queue((1, 1), 1_000_000, None, no_stop(), move |text| tell.lock().unwrap().push(text.to_string()));
        for i in 0..20u8 {
            writer.write(vec![f32::from(i)]);
        }
        let mut bytes = [0; 16 * 4];
        reader.read_exact(&mut bytes).unwrap();
        writer.write(vec![20.0]);
        drop(writer);
        assert_eq!(samples(&mut reader), [0.0, 0.0, 0.0, 0.0, 20.0]);
        assert_eq!(reader.seconds_lost(), 4.0);
        let told = told.lock().unwrap();
        assert!(told.len() == 1 && told[0].contains("lost"), "{told:?}");
    }

    #[test]
    fn a_failure_is_an_error_after_what_came_before() {
        let (mut writer, mut reader) = queue((10, 1), 2, None, no_stop(), |_| ());
        writer.write(vec![0.5]);
        writer.teller().fail("it was pulled out".into());
        let mut bytes = Vec::new();
        let error = reader.read_to_end(&mut bytes).unwrap_err();
        assert!(error.to_string().contains("pulled out") && bytes.len() == 4, "{error}");
    }
}
