//! Numbers and names as they stand in a page.

use crate::picture::markup::escape;

/// A name that a narrow column may break between its words, HomeSweetHome before Sweet and Home, and nowhere else.
pub fn breakable(name: &str) -> String {
    let mut words = vec![String::new()];
    let mut before = None;
    for c in name.chars() {
        let begins = before.is_some_and(|b: char| b.is_lowercase() && c.is_uppercase() || "_-/".contains(b));
        if begins {
            words.push(String::new());
        }
        words.iter_mut().last().into_iter().for_each(|word| word.push(c));
        before = Some(c);
    }
    words.iter().map(|word| escape(word)).collect::<Vec<_>>().join("<wbr>")
}

/// A share, `93.6 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1}&nbsp;%", 100.0 * share)
}

/// An interval of a share, `82.8 to 97.8 %`.
pub fn interval((low, high): (f64, f64)) -> String {
    format!("{:.0}&nbsp;to&nbsp;{:.0}&nbsp;%", 100.0 * low, 100.0 * high)
}

/// A whole number with its thousands apart.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join("&#8239;")
}

/// A time for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.0995 => format!("{:.0} ms", 1e3 * s),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => format!("{} h {:02} min", s.round() as u64 / 3600, s.round() as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_break_between_their_words() {
        assert_eq!(breakable("HomeSweetHome"), "Home<wbr>Sweet<wbr>Home");
        assert_eq!(breakable("old_mac <ABBA> ÉtéÀParis"), "old_<wbr>mac &lt;ABBA&gt; Été<wbr>ÀParis");
        assert_eq!(breakable(""), "");
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!((thousands(7), thousands(191_884)), ("7".into(), "191&#8239;884".into()));
        assert_eq!(
            (duration(3.21), duration(59.97), duration(75.0)),
            ("3.2 s".into(), "1 min 00 s".into(), "1 min 15 s".into())
        );
        assert_eq!(
            (percent(0.936), interval((0.4385, 1.0))),
            ("93.6&nbsp;%".into(), "44&nbsp;to&nbsp;100&nbsp;%".into())
        );
    }
}
