//! Text and numbers as they stand in a page.

/// Text in HTML, in an element or in an attribute between double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What turns the direction of text would turn the rest of the line as well; no control character means anything here.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
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
        s if s < 3600.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {:02} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(escape("<script>'A'&\"B\"\u{202e}\u{7}"), "&lt;script&gt;&#39;A&#39;&amp;&quot;B&quot; ");
        assert_eq!((thousands(7), thousands(191_884)), ("7".into(), "191&#8239;884".into()));
        assert_eq!(
            (duration(3.21), duration(59.97), duration(75.0)),
            ("3.2 s".into(), "0 min 59 s".into(), "1 min 15 s".into())
        );
        assert_eq!(
            (percent(0.936), interval((0.4385, 1.0))),
            ("93.6&nbsp;%".into(), "44&nbsp;to&nbsp;100&nbsp;%".into())
        );
    }
}
