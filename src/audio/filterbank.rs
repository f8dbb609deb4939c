//! Banks of triangular filters over the bins of a power spectrum: mel (HTK and Slaney) and logarithmic frequency.
//! Computed in f64 (the HTK scale's edges excepted); stored sparsely, since a triangle covers a few bins of hundreds.

use crate::{Error, Result};

/// Where the bands of a [`FilterBank`] lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// `mel = 2595 log10(1 + f / 700)`: torchaudio's default.
    MelHtk,
    /// Linear below 1 kHz, logarithmic above (Slaney's Auditory Toolbox): librosa's default.
    MelSlaney,
    /// Band `i` is centred on `f_min * 2^(i / per_octave)`; 12 gives semitones. The upper end follows from the number of
    /// bands, `f_max` is not used.
    Logarithmic {
        /// Bands per octave.
        per_octave: f64,
    },
}

/// What a triangle's weights are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Peak 1: torchaudio's default.
    None,
    /// Half the triangle's width in Hz (`norm="slaney"`): librosa's default.
    Area,
    /// The sum of its weights, so that white noise gives every band the same level.
    Sum,
}

/// What a [`FilterBank`] is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterBankSpec {
    /// Sample rate in Hz.
    pub sample_rate: f64,
    /// Length of the Fourier transform; the spectrum has `n_fft / 2 + 1` bins.
    pub n_fft: usize,
    /// Number of bands.
    pub bands: usize,
    /// Lower edge of the lowest band in Hz (for [`Scale::Logarithmic`] its centre).
    pub f_min: f64,
    /// Upper edge of the highest band in Hz.
    pub f_max: f64,
    /// Where the bands lie.
    pub scale: Scale,
    /// How their weights are normalised.
    pub norm: Norm,
}

/// A sparse `[bands, bins]` matrix whose rows are runs of consecutive weights.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterBank {
    /// Bins of the spectrum, `n_fft / 2 + 1`.
    pub bins: usize,
    /// For each band the first bin with a weight (0 for a band without any).
    pub first: Vec<u32>,
    /// Band `b` owns `weights[offset[b]..offset[b + 1]]`; `bands + 1` entries.
    pub offset: Vec<u32>,
    /// All weights, band by band.
    pub weights: Vec<f64>,
    /// Centre of each band in Hz.
    pub centres: Vec<f64>,
}

/// The transpose of a [`FilterBank`]: for each bin the bands that it contributes to, in compressed sparse rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Transposed {
    /// Bin `k` owns entries `offset[k]..offset[k + 1]`; `bins + 1` entries.
    pub offset: Vec<u32>,
    /// The band of each entry, ascending within a bin.
    pub band: Vec<u32>,
    /// The weight of each entry.
    pub weights: Vec<f64>,
}

impl FilterBank {
    /// Computes a bank.
    ///
    /// Mel banks follow `torchaudio.functional.melscale_fbanks` and `librosa.filters.mel`: edges equally spaced in mel, each
    /// triangle rising from one edge to the next and falling to the one after, in Hz.
    ///
    /// A logarithmic band rises from its lower neighbour's centre to its own and falls to its upper neighbour's. Where that
    /// is narrower than the bins are apart, the triangle is widened to one bin on either side, so that the band interpolates
    /// between the two bins around its centre instead of coming out empty.
    ///
    /// # Errors
    /// When sizes are zero, `n_fft` is odd, or frequencies do not satisfy `0 <= f_min < f_max <= sample_rate / 2`.
    pub fn new(spec: &FilterBankSpec) -> Result<Self> {
        let FilterBankSpec { sample_rate, n_fft, bands, f_min, .. } = *spec;
        let refuse = |detail: String| Err(Error::op("filter_bank", detail));
        if bands == 0 || n_fft < 2 || n_fft % 2 != 0 || !(sample_rate > 0.0 && sample_rate.is_finite()) {
            return refuse(format!(
                "needs bands, an even n_fft and a sample rate, got {bands}, {n_fft} and {sample_rate}"
            ));
        }
        let f_max = match spec.scale {
            Scale::Logarithmic { per_octave } => {
                if !(per_octave > 0.0 && per_octave.is_finite()) || f_min <= 0.0 {
                    return refuse(format!("{per_octave} bands per octave from {f_min} Hz: both must be positive"));
                }
                f_min * (2.0f64).powf((bands as f64 - 1.0) / per_octave)
            }
            _ => spec.f_max,
        };
        if !(0.0 <= f_min && (f_min < f_max || bands == 1) && f_max <= sample_rate / 2.0) {
            return refuse(format!(
                "bands from {f_min} to {f_max} Hz do not lie between 0 and half the sample rate of {sample_rate} Hz"
            ));
        }
        let edges = edges(spec);
        let spacing = sample_rate / n_fft as f64;
        let mut bank = Self {
            bins: n_fft / 2 + 1,
            first: vec![],
            offset: vec![0],
            weights: vec![],
            centres: Vec::with_capacity(bands),
        };
        for edge in edges.windows(3) {
            let (mut low, centre, mut high) = (edge[0], edge[1], edge[2]);
            if matches!(spec.scale, Scale::Logarithmic { .. }) {
                low = low.min(centre - spacing);
                high = high.max(centre + spacing);
            }
            bank.push_triangle(low, centre, high, spacing, spec.norm);
        }
        Ok(bank)
    }

    fn push_triangle(&mut self, low: f64, centre: f64, high: f64, spacing: f64, norm: Norm) {
        let weight = |bin: usize| {
            let f = bin as f64 * spacing;
            ((f - low) / (centre - low)).min((high - f) / (high - centre)).max(0.0)
        };
        let from = (low / spacing).floor().max(0.0) as usize;
        let to = ((high / spacing).ceil() as usize + 1).min(self.bins);
        let from = (from..to).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let row: Vec<f64> = (from..to).map(weight).take_while(|&w| w > 0.0).collect();
        let scale = match norm {
            Norm::None => 1.0,
            Norm::Area => 2.0 / (high - low),
            Norm::Sum => 1.0 / row.iter().sum::<f64>().max(f64::MIN_POSITIVE),
        };
        self.first.push(if row.is_empty() { 0 } else { from as u32 });
        self.weights.extend(row.iter().map(|&w| w * scale));
        self.offset.push(self.weights.len() as u32);
        self.centres.push(centre);
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.first.len()
    }

    /// The first bin and the weights of band `band`.
    pub fn row(&self, band: usize) -> (usize, &[f64]) {
        (self.first[band] as usize, &self.weights[self.offset[band] as usize..self.offset[band + 1] as usize])
    }

    /// The bank by bins instead of bands, for scattering back from bands to bins.
    pub fn transposed(&self) -> Transposed {
        let mut columns = vec![vec![]; self.bins];
        for band in 0..self.bands() {
            let (first, row) = self.row(band);
            for (k, &weight) in row.iter().enumerate() {
                columns[first + k].push((band as u32, weight));
            }
        }
        let mut transposed = Transposed { offset: vec![0], band: vec![], weights: vec![] };
        for column in columns {
            transposed.band.extend(column.iter().map(|entry| entry.0));
            transposed.weights.extend(column.iter().map(|entry| entry.1));
            transposed.offset.push(transposed.band.len() as u32);
        }
        transposed
    }

    /// The bank as a full `[bands, bins]` matrix, row by row.
    pub fn dense(&self) -> Vec<f64> {
        let mut dense = vec![0.0; self.bands() * self.bins];
        for band in 0..self.bands() {
            let (first, row) = self.row(band);
            dense[band * self.bins + first..][..row.len()].copy_from_slice(row);
        }
        dense
    }
}

/// The `bands + 2` edges in Hz.
fn edges(spec: &FilterBankSpec) -> Vec<f64> {
    let spaced = |to_mel: fn(f64) -> f64, to_hz: fn(f64) -> f64| {
        let (low, high) = (to_mel(spec.f_min), to_mel(spec.f_max));
        let step = (high - low) / (spec.bands as f64 + 1.0);
        (0..spec.bands + 2).map(|i| to_hz(low + step * i as f64)).collect()
    };
    match spec.scale {
        Scale::MelHtk => htk_edges(spec),
        Scale::MelSlaney => spaced(hz_to_mel_slaney, mel_slaney_to_hz),
        Scale::Logarithmic { per_octave } => {
            (0..spec.bands + 2).map(|i| spec.f_min * 2f64.powf((i as f64 - 1.0) / per_octave)).collect()
        }
    }
}

/// The edges as `torchaudio.functional.melscale_fbanks` has them: spaced and turned into Hz in f32. They are off by up to a
/// thousandth of a Hz, which moves weights by 1e-5 and a pure tone at a band's edge by 1e-4 dB.
fn htk_edges(spec: &FilterBankSpec) -> Vec<f64> {
    let (low, high) = (hz_to_mel_htk(spec.f_min) as f32, hz_to_mel_htk(spec.f_max) as f32);
    let count = spec.bands + 2;
    let step = (high - low) / (count - 1) as f32;
    let mel = |i: usize| if i < count / 2 { low + step * i as f32 } else { high - step * (count - 1 - i) as f32 };
    // A correctly rounded f32 power, which libraries agree on more often than on their own.
    let power = |x: f32| 10f64.powf(f64::from(x)) as f32;
    (0..count).map(|i| f64::from(700.0 * (power(mel(i) / 2595.0) - 1.0))).collect()
}

/// Hz to mel on the HTK scale.
pub fn hz_to_mel_htk(hz: f64) -> f64 {
    2595.0 * (1.0 + hz / 700.0).log10()
}

/// Mel on the HTK scale to Hz.
pub fn mel_htk_to_hz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2595.0) - 1.0)
}

/// The Slaney scale: 200 / 3 Hz per mel below 1 kHz, a factor of 6.4 per 27 mel above.
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_KNEE_HZ: f64 = 1000.0;

/// Hz to mel on the Slaney scale.
pub fn hz_to_mel_slaney(hz: f64) -> f64 {
    if hz < SLANEY_KNEE_HZ {
        hz / SLANEY_HZ_PER_MEL
    } else {
        SLANEY_KNEE_HZ / SLANEY_HZ_PER_MEL + (hz / SLANEY_KNEE_HZ).ln() * 27.0 / 6.4f64.ln()
    }
}

/// Mel on the Slaney scale to Hz.
pub fn mel_slaney_to_hz(mel: f64) -> f64 {
    let knee = SLANEY_KNEE_HZ / SLANEY_HZ_PER_MEL;
    if mel < knee { mel * SLANEY_HZ_PER_MEL } else { SLANEY_KNEE_HZ * (6.4f64.ln() / 27.0 * (mel - knee)).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(scale: Scale, norm: Norm) -> FilterBankSpec {
        FilterBankSpec { sample_rate: 11_000.0, n_fft: 1024, bands: 64, f_min: 50.0, f_max: 5_500.0, scale, norm }
    }

    #[test]
    fn transposing_keeps_every_weight() {
        let bank = FilterBank::new(&spec(Scale::MelHtk, Norm::None)).unwrap();
        let (dense, transposed) = (bank.dense(), bank.transposed());
        assert_eq!(transposed.weights.len(), bank.weights.len());
        for bin in 0..bank.bins {
            for entry in transposed.offset[bin] as usize..transposed.offset[bin + 1] as usize {
                assert_eq!(dense[transposed.band[entry] as usize * bank.bins + bin], transposed.weights[entry]);
            }
        }
    }

    #[test]
    fn no_logarithmic_band_is_empty_and_each_peaks_at_its_centre() {
        let bank = FilterBank::new(&spec(Scale::Logarithmic { per_octave: 12.0 }, Norm::Sum)).unwrap();
        for band in 0..bank.bands() {
            let (first, row) = bank.row(band);
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let peak = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            assert!(((first + peak) as f64 * 11_000.0 / 1024.0 - bank.centres[band]).abs() < 11_000.0 / 1024.0);
        }
        assert!((bank.centres[12] - 100.0).abs() < 1e-9);
    }

    #[test]
    fn scales_are_inverse() {
        for hz in [0.0, 20.0, 999.0, 1000.0, 1001.0, 5500.0] {
            assert!((mel_htk_to_hz(hz_to_mel_htk(hz)) - hz).abs() < 1e-9);
            assert!((mel_slaney_to_hz(hz_to_mel_slaney(hz)) - hz).abs() < 1e-9);
        }
    }

    #[test]
    fn senseless_banks_are_refused() {
        let good = spec(Scale::MelHtk, Norm::None);
        for bad in [
            FilterBankSpec { bands: 0, ..good.clone() },
            FilterBankSpec { n_fft: 0, ..good.clone() },
            FilterBankSpec { n_fft: 1023, ..good.clone() },
            FilterBankSpec { f_max: 6_000.0, ..good.clone() },
            FilterBankSpec { f_min: 6_000.0, ..good.clone() },
            FilterBankSpec { f_min: f64::NAN, ..good.clone() },
            FilterBankSpec { sample_rate: 0.0, ..good.clone() },
            FilterBankSpec { scale: Scale::Logarithmic { per_octave: 0.0 }, ..good.clone() },
            FilterBankSpec { scale: Scale::Logarithmic { per_octave: 2.0 }, ..good.clone() },
        ] {
            assert!(FilterBank::new(&bad).is_err(), "{bad:?}");
        }
    }
}
