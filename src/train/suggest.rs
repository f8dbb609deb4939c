//! "Did you mean ...?"

/// The number of letters to insert, delete or replace to get from `a` to `b` (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The known word that `given` is most likely a misspelling of; `-` and `_`, and capitals, make no difference. `None`
/// where nothing is near: half of the letters or more would have to change.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let given = plain(given);
    let scored = known.iter().map(|&word| {
        let word_plain = plain(word);
        // A word cut short or continued is nearer than its length says, and so are its initials: `epoch`, `lr`.
        let part = given.len() >= 3 && (word_plain.starts_with(&given) || given.starts_with(&word_plain));
        let initials = || word_plain.split('_').filter_map(|part| part.chars().next()).collect::<String>();
        let short = part || (given.len() >= 2 && initials() == given);
        let steps = distance(&given, &word_plain);
        (if short { steps.min(1) } else { steps }, steps, word)
    });
    let (steps, _, word) = scored.min_by_key(|&(short, steps, _)| (short, steps))?;
    (steps * 2 < given.chars().count().max(3)).then_some(word)
}

/// ` (did you mean `word`?)`, or nothing where nothing is near.
pub fn did_you_mean(given: &str, known: &[&str]) -> String {
    nearest(given, known).map_or(String::new(), |word| format!(" (did you mean `{word}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_recognised() {
        let known = ["out", "epochs", "batch_size", "learning_rate", "val_fraction", "outputs"];
        assert_eq!(nearest("outpts", &known), Some("outputs"));
        assert_eq!(nearest("outt", &known), Some("out"));
        assert_eq!(nearest("epoch", &known), Some("epochs"));
        assert_eq!(nearest("batch-size", &known), Some("batch_size"));
        assert_eq!(nearest("learnig_rate", &known), Some("learning_rate"));
        assert_eq!(nearest("lr", &known), Some("learning_rate"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
