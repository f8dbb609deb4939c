//! What stands in an ABC tune's fields, and behind its notes.

pub(super) const LETTERS: [char; 7] = ['C', 'D', 'E', 'F', 'G', 'A', 'B'];

/// Where `end` stands at or after `from`.
pub(super) fn closing(c: &[char], from: usize, end: char) -> Option<usize> {
    c[from.min(c.len())..].iter().position(|c| *c == end).map(|k| from + k)
}

/// Where a decoration such as `!trill!` (in older files `+trill+`) ends; none where the sign at its beginning stands alone, as that between
/// lines of old files does.
pub(super) fn decoration(c: &[char], at: usize) -> Option<usize> {
    let end = closing(c, at + 1, c[at])?;
    let is_name = !c[at + 1..end].iter().any(|c| c.is_whitespace() || *c == '|');
    is_name.then_some(end)
}

/// A length behind a note: `2`, `3/2`, `/`, `//4`; and where it ends.
pub(super) fn length(c: &[char], start: usize) -> (f64, usize) {
    let number = |from: usize| -> (Option<f64>, usize) {
        let digits: String = c[from.min(c.len())..].iter().take(6).take_while(|c| c.is_ascii_digit()).collect();
        (digits.parse().ok(), from + digits.len())
    };
    let (times, mut i) = number(start);
    let mut times = times.unwrap_or(1.0);
    while c.get(i) == Some(&'/') {
        let (by, end) = number(i + 1);
        times /= by.filter(|by| *by > 0.0).unwrap_or(2.0);
        i = end;
    }
    (times, i)
}

/// `1/8`, or a whole number.
pub(super) fn fraction(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    let value = above.trim().parse::<f64>().ok()? / below.trim().parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0 && value <= 16.0).then_some(value)
}

/// `M:3/4`, `M:C`; nothing for `none`, and for what is too free to be read.
pub(super) fn meter(text: &str) -> Option<(f64, f64)> {
    match text {
        "C" => return Some((4.0, 4.0)),
        "C|" => return Some((2.0, 2.0)),
        _ => {}
    }
    let (above, below) = text.split_once('/')?;
    let beats: f64 = above.trim_matches(['(', ')', ' ']).split('+').map(|n| n.trim().parse().unwrap_or(0.0)).sum();
    let beat: f64 = below.split_whitespace().next()?.parse().ok()?;
    (beats > 0.0 && beats <= 64.0 && (1.0..=64.0).contains(&beat)).then_some((beats, beat))
}

/// `Q:1/4=120`, `Q:120`, `Q:"Allegro" 1/4=120`: the length of a beat, and beats a minute.
pub(super) fn tempo(text: &str) -> Option<(f64, f64)> {
    let bare: String = text.split('"').step_by(2).collect();
    let (beat, number) = bare.split_once('=').unwrap_or(("1/4", &bare));
    let beat: f64 = beat.split_whitespace().map(fraction).sum::<Option<f64>>()?;
    let number: f64 = number.trim().parse().ok()?;
    ((5.0..=1000.0).contains(&number) && beat > 0.0).then_some((beat, number))
}

/// What a key signature adds to C D E F G A B.
pub(super) fn key(text: &str) -> Option<[i32; 7]> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let first = words.first().copied().unwrap_or("none");
    let mut key = [0; 7];
    let mut rest = words.get(1..).unwrap_or(&[]);
    let mut chars = first.chars();
    let tonic = chars.next()?;
    if first.eq_ignore_ascii_case("none") || first.contains('=') || first.starts_with("clef") {
        return Some(key);
    }
    if first == "HP" || first == "Hp" {
        // Highland pipes: F and C sharp.
        key[3] = 1;
        key[0] = 1;
        return Some(key);
    }
    let degree = LETTERS.iter().position(|l| *l == tonic)?;
    let mut mode: String = chars.collect();
    // Sharps of the major keys of C D E F G A B.
    let mut sharps: i32 = [0, 2, 4, -1, 1, 3, 5][degree];
    if let Some(end) = mode.strip_prefix('#') {
        (sharps, mode) = (sharps + 7, end.to_owned());
    } else if let Some(end) = mode.strip_prefix('b') {
        (sharps, mode) = (sharps - 7, end.to_owned());
    }
    let plain = |word: &str| !word.contains('=') && !word.starts_with(['^', '_', '=']) && word != "exp";
    if mode.is_empty()
        && let Some(word) = rest.first().filter(|word| plain(word))
    {
        mode = (*word).to_owned();
        rest = &rest[1..];
    }
    let mode = mode.to_lowercase();
    let short: String = mode.chars().take(3).collect();
    sharps += match short.as_str() {
        "" | "maj" | "ion" | "exp" => 0,
        "m" | "min" | "aeo" => -3,
        "mix" => -1,
        "dor" => -2,
        "phr" => -4,
        "lyd" => 1,
        "loc" => -5,
        _ if mode.contains('=') => 0,
        _ => return None,
    };
    // In the order F C G D A E B.
    let order = [3, 0, 4, 1, 5, 2, 6];
    for step in 0..sharps.clamp(-14, 14).abs() {
        let at = (step % 7) as usize;
        if sharps > 0 { key[order[at]] += 1 } else { key[order[6 - at]] -= 1 }
    }
    for word in rest {
        let shift = word.chars().map_while(|c| [('^', 1), ('_', -1), ('=', 0)].iter().find(|s| s.0 == c)).map(|s| s.1);
        let (count, shift) = shift.fold((0, 0), |(n, sum), s| (n + 1, sum + s));
        let letter = word.chars().nth(count).map(|c| c.to_ascii_uppercase());
        if let (true, Some(degree)) = (count > 0, LETTERS.iter().position(|l| Some(*l) == letter)) {
            key[degree] = shift;
        }
    }
    Some(key)
}
