//! What a recipe's network is shown of a sound: its spectrogram in decibels.

use super::network::Network;
use super::recipe::{FrontEnd, Recipe};
use crate::audio::{Audio, channels};
use crate::device::{Device, DeviceChoice};
use crate::graph::{Graph, Plan};
use crate::{Error, Result, Tensor};

/// See the top of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Decibels [channels, bands, frames], as many channels as the recipe uses.
    pub levels: Tensor,
    /// The bands' centres in Hz.
    pub centres: Vec<f64>,
    /// Seconds from one frame to the next; the first is centred on the beginning.
    pub hop: f64,
}

/// The spectrogram of all of a sound, before the recipe standardises it.
///
/// # Errors
/// Where the sound is shorter than half a frame of the recipe's transform, or at a rate that cannot be resampled.
pub fn seen(recipe: Recipe, audio: Audio) -> Result<Seen> {
    let front_end = recipe.front_end();
    let audio = audio.resampled(front_end.sample_rate)?;
    let (samples, rate) = (audio.frames(), f64::from(front_end.sample_rate));
    if samples <= front_end.n_fft / 2 {
        let least = (front_end.n_fft / 2 + 1) as f64 / rate;
        let detail = format!("{:.3} s of sound for a spectrogram that needs {least:.3}", samples as f64 / rate);
        return Err(Error::op("spectrogram", detail));
    }
    let front_end = FrontEnd { window: samples, ..front_end };
    let sound = channels::to_count(audio.channels, front_end.channels).concat();
    let (network, _) = Network::new(recipe, &front_end, 2, 0, false)?;
    let mut graph = Graph::new(network.states.clone());
    let input = graph.input("samples", [1, front_end.channels, samples])?;
    let levels = network.decibels(&mut graph, input)?;
    let shape = graph.shape(levels);
    graph.output("levels", levels)?;
    let device = Device::choose(DeviceChoice::Cpu)?;
    let mut session = device.session(network.states.clone())?;
    let plan = session.add(Plan::new(graph, device.target())?)?;
    session.write(plan, "samples", &sound)?;
    session.run(plan)?;
    let mut values = vec![0.0; shape.elements()];
    session.read(plan, "levels", &mut values)?;
    let levels = Tensor::new([shape[1], shape[2], shape[3]], values)?;
    Ok(Seen { levels, centres: network.filter_bank()?.centres, hop: front_end.hop as f64 / rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_loudest_in_its_band() -> Result<()> {
        for (recipe, channels) in [(Recipe::Melody, 1), (Recipe::Notebook, 2)] {
            let sample = |t: usize| 0.5 * (std::f32::consts::TAU * 440.0 * t as f32 / 16_000.0).sin();
            let audio = Audio::of_samples(vec![(0..16_000).map(sample).collect()], 16_000, "tone")?;
            let seen = seen(recipe, audio)?;
            let shape = seen.levels.shape();
            assert_eq!((shape[0], shape[1]), (channels, seen.centres.len()));
            let middle = shape[2] / 2;
            let level = |band: usize| seen.levels.data()[band * shape[2] + middle];
            let loudest = (0..shape[1]).max_by(|&a, &b| level(a).total_cmp(&level(b))).unwrap_or(0);
            assert!((seen.centres[loudest] / 440.0 - 1.0).abs() < 0.1, "{recipe}: {}", seen.centres[loudest]);
        }
        let short = Audio::of_samples(vec![vec![0.5, -0.5]], 8_000, "short")?;
        assert!(seen(Recipe::Melody, short).unwrap_err().to_string().contains("needs 0.128"));
        Ok(())
    }
}
