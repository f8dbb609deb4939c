//! Analysis windows, computed in f64.

/// The periodic Hann window of `length` samples: `0.5 - 0.5 cos(2 pi n / length)`, which is what `torch.hann_window` and
/// `scipy.signal.get_window("hann")` give by default. (The symmetric one divides by `length - 1`.)
pub fn hann_periodic(length: usize) -> Vec<f64> {
    let step = std::f64::consts::TAU / length as f64;
    (0..length).map(|n| 0.5 - 0.5 * (step * n as f64).cos()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_windows_add_up_to_one() {
        let window = hann_periodic(1024);
        assert_eq!(window[0], 0.0);
        assert_eq!(window[512], 1.0);
        for n in 0..512 {
            assert!((window[n] + window[n + 512] - 1.0).abs() < 1e-15);
        }
    }
}
