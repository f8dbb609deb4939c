//! The formula that inputs and weights come from, the same to the last bit in every program that is compared.

use crate::Result;
use crate::graph::Session;
use crate::train::Recipe;

/// `count` values in [-1, 1) by 32-bit integer arithmetic, the same to the last bit in any language: `hashed_uniform` of
/// tools/notebook_model.py.
pub(super) fn hashed_uniform(seed: u32, count: usize) -> impl Iterator<Item = f64> {
    (0..count as u32).map(move |i| {
        let mut h = i.wrapping_mul(0x9E37_79B1).wrapping_add(seed.wrapping_mul(0x85EB_CA6B));
        h ^= h >> 16;
        h = h.wrapping_mul(0x7FEB_352D);
        h ^= h >> 15;
        h = h.wrapping_mul(0x846C_A68B);
        h ^= h >> 16;
        f64::from(h >> 8) / 8_388_608.0 - 1.0
    })
}

pub(super) fn uniform(seed: u32, count: usize) -> Vec<f32> {
    hashed_uniform(seed, count).map(|x| x as f32).collect()
}

/// Gives the classifier the weights of the formula.
pub(super) fn weights(session: &mut dyn Session) -> Result<()> {
    let states: Vec<_> = session.states().iter().cloned().collect();
    let own = |name: &str| name.starts_with("conv") || name.starts_with("bn") || name.starts_with("lin");
    let parameters = states.iter().filter(|state| own(&state.name) && !state.name.contains("running"));
    for (k, state) in parameters.enumerate() {
        let count = state.shape.elements();
        let drawn = hashed_uniform(1000 + k as u32, count);
        let values: Vec<f32> = match state.name.as_str() {
            name if name.starts_with("conv") && name.ends_with("weight") => {
                let bound = (6.0 / (count / state.shape[0]) as f64).sqrt();
                drawn.map(|x| (x * bound) as f32).collect()
            }
            name if name.starts_with("lin") => drawn.map(|x| (x / 8.0) as f32).collect(),
            name if name.ends_with("weight") => vec![1.0; count],
            _ => vec![0.0; count],
        };
        session.write_state(&state.name, &values)?;
    }
    Ok(())
}

/// Clip i is a tone of 200 + 7 (i mod 64) Hz in both channels, with a twentieth of noise: [n, 2, 44000].
pub(super) fn sound(count: usize) -> Vec<f32> {
    let front_end = Recipe::Notebook.front_end();
    let (samples, rate) = (front_end.window, f64::from(front_end.sample_rate));
    let noise = uniform(9, count * 2 * samples);
    let tone = |i: usize, t: usize| (std::f64::consts::TAU * (200.0 + 7.0 * (i % 64) as f64) * (t as f64 / rate)).sin();
    let at = |(place, noise): (usize, f32)| tone(place / (2 * samples), place % samples) as f32 * 0.5 + 0.05 * noise;
    noise.into_iter().enumerate().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_that_of_the_peers() {
        // From tools/notebook_model.py: hashed_uniform(7, 3) and hashed_uniform(1000, 2).
        let close =
            |a: Vec<f64>, b: &[f64]| a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-7, "{a} {b}"));
        close(hashed_uniform(7, 3).collect(), &[-0.743935227394104, 0.6200648546218872, 0.5583484172821045]);
        close(hashed_uniform(1000, 2).collect(), &[-0.20861780643463135, 0.6586225032806396]);
    }
}
