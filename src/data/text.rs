//! Text in the encodings that spreadsheets write: UTF-8, UTF-16, or one of a byte a character.

use crate::{Error, Result};
use std::path::Path;

/// Tables longer than this are none that people write.
const MOST_BYTES: u64 = 256 << 20;

/// A text file's contents, and its encoding where that is not UTF-8.
///
/// # Errors
/// When it cannot be read, or is no regular file of a table's size.
pub fn read(path: &Path) -> Result<(String, Option<&'static str>)> {
    let failed = |e: std::io::Error| Error::file(path, format!("cannot be read: {e}"));
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() || meta.len() > MOST_BYTES {
        return Err(Error::file(path, format!("is no file of at most {} MB", MOST_BYTES >> 20)));
    }
    Ok(decode(std::fs::read(path).map_err(failed)?))
}

fn decode(bytes: Vec<u8>) -> (String, Option<&'static str>) {
    let wide = |from: usize, unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[from..].as_chunks::<2>().0.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16_lossy(&units)
    };
    // Letters of most tables are below 256, so that every other byte of UTF-16 is 0.
    let zeros = |odd: usize| bytes.iter().take(512).skip(odd).step_by(2).filter(|&&byte| byte == 0).count() * 4;
    let half = bytes.len().min(512);
    match &bytes[..] {
        [0xFF, 0xFE, ..] => (wide(2, u16::from_le_bytes), Some("UTF-16")),
        [0xFE, 0xFF, ..] => (wide(2, u16::from_be_bytes), Some("UTF-16")),
        [_, 0, ..] if zeros(1) > half => (wide(0, u16::from_le_bytes), Some("UTF-16")),
        [0, _, ..] if zeros(0) > half => (wide(0, u16::from_be_bytes), Some("UTF-16")),
        _ => match String::from_utf8(bytes) {
            Ok(text) => (text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_string), None),
            Err(error) => (error.into_bytes().iter().map(|&byte| latin(byte)).collect(), Some("Latin-1")),
        },
    }
}

/// The character of a byte in Windows' form of Latin-1, which has letters and quotes where the standard has controls.
fn latin(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
        '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}',
        '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}',
        '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte) - 0x80],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_of_tables() {
        let text = "file,song\na.wav,F\u{fc}r Elise\n";
        let units = |order: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
            let mark = mark.then_some(0xFEFF);
            mark.into_iter().chain(text.encode_utf16()).flat_map(order).collect()
        };
        for bytes in [
            units(u16::to_le_bytes, true),
            units(u16::to_be_bytes, true),
            units(u16::to_le_bytes, false),
            units(u16::to_be_bytes, false),
        ] {
            assert_eq!(decode(bytes), (text.to_string(), Some("UTF-16")));
        }
        assert_eq!(decode(text.as_bytes().to_vec()), (text.to_string(), None));
        assert_eq!(decode(format!("\u{feff}{text}").into_bytes()), (text.to_string(), None));
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        assert_eq!(decode(latin), (text.to_string(), Some("Latin-1")));
        assert_eq!(decode(b"\x93\x80\x94\xe9".to_vec()).0, "\u{201c}\u{20ac}\u{201d}\u{e9}");
        assert_eq!(decode(vec![]), (String::new(), None));
    }
}
