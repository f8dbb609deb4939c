//! From any number of channels to one or two.

/// Mixes more than two channels down to two: the channels of even index are averaged into the left, those of odd index
/// into the right (microphone arrays and surround layouts alternate sides more often than not). One or two channels are
/// returned as they are.
pub fn at_most_two(channels: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    if channels.len() <= 2 {
        return channels;
    }
    let mix = |first: usize| {
        let sides: Vec<&Vec<f32>> = channels.iter().skip(first).step_by(2).collect();
        mean(&sides)
    };
    vec![mix(0), mix(1)]
}

/// Exactly `count` (1 or 2) channels, as the notebook does it: mono is duplicated, stereo averaged into mono, more than two
/// mixed by [`at_most_two`] first.
pub fn to_count(channels: Vec<Vec<f32>>, count: usize) -> Vec<Vec<f32>> {
    let mut channels = at_most_two(channels);
    match (channels.len(), count) {
        (1, 2) => {
            let copy = channels[0].clone();
            channels.push(copy);
            channels
        }
        (2, 1) => vec![mean(&[&channels[0], &channels[1]])],
        _ => channels,
    }
}

fn mean(channels: &[&Vec<f32>]) -> Vec<f32> {
    let scale = 1.0 / channels.len() as f32;
    let frames = channels.iter().map(|c| c.len()).min().unwrap_or(0);
    (0..frames).map(|t| channels.iter().map(|c| c[t]).sum::<f32>() * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing() {
        assert_eq!(to_count(vec![vec![1.0, 2.0]], 2), vec![vec![1.0, 2.0]; 2]);
        assert_eq!(to_count(vec![vec![1.0, 2.0], vec![3.0, 4.0]], 1), vec![vec![2.0, 3.0]]);
        assert_eq!(to_count(vec![vec![1.0], vec![2.0], vec![3.0]], 2), vec![vec![2.0], vec![2.0]]);
        assert_eq!(to_count(vec![vec![1.0], vec![2.0], vec![3.0], vec![6.0]], 1), vec![vec![3.0]]);
    }
}
