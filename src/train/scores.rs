//! Numbers that say how far a result can be trusted, and how well probabilities rank clips.

/// The 0.975 quantile of the normal distribution: intervals are of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval of a share of which `right` of `clips` trials were right, as (low, high): Wilson's score interval (E. B. Wilson,
/// "Probable inference, the law of succession, and statistical inference", 1927). It takes trials for independent of each other; clips
/// of one person are less so, and the truth is somewhat wider. Without trials it is (0, 1): nothing is known.
pub fn wilson(right: usize, clips: usize) -> (f64, f64) {
    if clips == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (clips as f64, right as f64 / clips as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Rounding must not leave the ends a hair beyond what is possible.
    let low = if right == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if right == clips { 1.0 } else { (middle + half).min(1.0) };
    (low, high)
}

/// The area under the ROC curve of scores, each with whether it is a positive's: the probability that a positive scores higher than a
/// negative, ties counted as half (the Mann-Whitney statistic; J. A. Hanley and B. J. McNeil, 1982). None without both kinds.
pub fn auroc(scores: &[(f64, bool)]) -> Option<f64> {
    let positives = scores.iter().filter(|score| score.1).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut above, mut negatives_below) = (0.0, 0);
    for (ties_positive, ties_negative) in tied_groups(scores).into_iter().rev() {
        above += ties_positive as f64 * (negatives_below as f64 + ties_negative as f64 / 2.0);
        negatives_below += ties_negative;
    }
    Some(above / (positives as f64 * negatives as f64))
}

/// Average precision: the mean of the precision at each positive, going down the scores, where equal scores are taken together:
/// `sum (R_n - R_(n-1)) P_n`, without interpolation. None without a positive.
pub fn average_precision(scores: &[(f64, bool)]) -> Option<f64> {
    let positives = scores.iter().filter(|score| score.1).count();
    if positives == 0 {
        return None;
    }
    let (mut sum, mut found, mut seen) = (0.0, 0, 0);
    for (ties_positive, ties_negative) in tied_groups(scores) {
        found += ties_positive;
        seen += ties_positive + ties_negative;
        sum += ties_positive as f64 * found as f64 / seen as f64;
    }
    Some(sum / positives as f64)
}

/// How many positives and negatives have each score, the highest score first.
fn tied_groups(scores: &[(f64, bool)]) -> Vec<(usize, usize)> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let counts = |group: &[(f64, bool)]| {
        let positives = group.iter().filter(|score| score.1).count();
        (positives, group.len() - positives)
    };
    sorted.chunk_by(|a, b| a.0 == b.0).map(counts).collect()
}

/// What happens at one confidence below which the answer is "unknown".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// The least confidence at which a song is named.
    pub least: f64,
    /// Share of clips that get a name.
    pub named: f64,
    /// Share of those with a name whose name is wrong.
    pub wrong: f64,
}

/// The trade between answers and errors for every confidence that occurs, from the highest down, of pairs (confidence, right): the
/// risk-coverage curve (R. El-Yaniv and Y. Wiener, "On the foundations of noise-free selective classification", 2010).
pub fn coverage(pairs: &[(f64, bool)]) -> Vec<Coverage> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut named, mut wrong) = (0, 0);
    let mut curve = Vec::new();
    for group in sorted.chunk_by(|a, b| a.0 == b.0) {
        named += group.len();
        wrong += group.iter().filter(|pair| !pair.1).count();
        curve.push(Coverage {
            least: group[0].0,
            named: named as f64 / pairs.len() as f64,
            wrong: wrong as f64 / named as f64,
        });
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (right, clips, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (a, b) = wilson(right, clips);
            assert!(near(a, low) && near(b, high), "{right} of {clips}: {a} {b}");
        }
        let (low, high) = wilson(3, 3);
        assert!(near(low, 0.4385) && high == 1.0, "three of three is no certainty: {low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn ranks_by_hand() {
        // Positives 0.9, 0.6, 0.4; negatives 0.7, 0.4, 0.1. Pairs won: 3 + 2 + 1, and one tie: 6.5 of 9.
        let scores = [(0.9, true), (0.7, false), (0.6, true), (0.4, true), (0.4, false), (0.1, false)];
        assert!((auroc(&scores).unwrap_or_default() - 6.5 / 9.0).abs() < 1e-12);
        // Precision 1/1, then 2/3, then, with the tie, 3/5.
        assert!((average_precision(&scores).unwrap_or_default() - (1.0 + 2.0 / 3.0 + 0.6) / 3.0).abs() < 1e-12);
        assert_eq!(auroc(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!((auroc(&[(0.5, true)]), auroc(&[(0.5, false)])), (None, None));
        assert_eq!((average_precision(&[(0.5, true)]), average_precision(&[(0.5, false)])), (Some(1.0), None));
    }

    #[test]
    fn coverage_falls_with_the_threshold() {
        let curve = coverage(&[(0.5, false), (0.9, true), (0.7, false), (0.7, true)]);
        let points: Vec<[f64; 3]> = curve.iter().map(|c| [c.least, c.named, c.wrong]).collect();
        assert_eq!(points, [[0.9, 0.25, 0.0], [0.7, 0.75, 1.0 / 3.0], [0.5, 1.0, 0.5]]);
        assert!(coverage(&[]).is_empty());
    }
}
