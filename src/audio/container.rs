//! What files say of their sound that Symphonia's readers of containers do not hand on, read out of their bytes.

use super::matroska::MAGIC;

/// Seconds of padding in the last packets of a Matroska file (`DiscardPadding`, in nanoseconds), which its reader does not hand on; 0 where
/// there is none.
pub fn discard_padding(bytes: &[u8]) -> f64 {
    if !bytes.starts_with(MAGIC) {
        return 0.0;
    }
    // It stands behind a packet, in the packet's group; what follows is another group or block, the index, or nothing.
    let end = &bytes[bytes.len().saturating_sub(1 << 13)..];
    let padding = |at: usize| {
        let size = usize::from(end.get(at + 2).filter(|size| (0x81..=0x88).contains(*size))? - 0x80);
        let value = end.get(at + 3..at + 3 + size)?;
        let next = end.get(at + 3 + size..)?;
        let follows = next.is_empty() || [0xA0, 0xA3].contains(&next[0]) || next.starts_with(&[0x1C, 0x53, 0xBB, 0x6B]);
        let negative = value.first().is_some_and(|&byte| byte >= 0x80);
        let nanoseconds = value.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        // The longest packet of Opus has 120 ms; anything else is no padding but bytes that look like it.
        (follows && !negative && nanoseconds <= 120_000_000).then_some(nanoseconds as f64 * 1e-9)
    };
    let places = end.windows(2).enumerate().filter(|(_, id)| *id == [0x75, 0xA2]);
    places.filter_map(|(at, _)| padding(at)).sum()
}

/// What an AAC stream is called that is not AAC-LC, by its `AudioSpecificConfig` (ISO 14496-3, 1.6.2.1).
pub fn aac_kind(config: &[u8]) -> Option<&'static str> {
    let (first, second) = (*config.first()?, config.get(1).copied().unwrap_or(0));
    let kind = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        kind => kind,
    };
    // Behind AAC-LC's own a second configuration can say that there is more: 11 bits, 0x2B7, and the kind of it.
    let byte = |at: usize| config.get(at).copied().unwrap_or(0);
    let behind = u32::from_be_bytes([0, byte(2), byte(3), byte(4)]);
    match kind {
        5 => Some("HE-AAC"),
        29 => Some("HE-AAC v2"),
        2 if behind >> 13 == 0x2B7 && behind >> 8 & 31 == 5 => Some("HE-AAC"),
        1 => Some("AAC Main"),
        3 => Some("AAC SSR"),
        4 => Some("AAC LTP"),
        23 => Some("AAC-LD"),
        39 => Some("AAC-ELD"),
        42 => Some("xHE-AAC"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{aac_kind, discard_padding};

    #[test]
    fn padding_of_several_packets_adds_up() {
        let file = |end: &[u8]| [&[0x1A, 0x45, 0xDF, 0xA3, 0x75, 0xA2, 0x83, 9, 9, 9, 7][..], end].concat();
        assert_eq!(discard_padding(&file(&[])), 0.0);
        // One millisecond, and 26 before the index.
        let end = [
            0x75, 0xA2, 0x83, 0x0F, 0x42, 0x40, 0xA0, 0x75, 0xA2, 0x84, 0x01, 0x8C, 0xBA, 0x80, 0x1C, 0x53, 0xBB, 0x6B,
        ];
        assert!((discard_padding(&file(&end)) - 0.027).abs() < 1e-9);
        // Negative, too long, and cut short.
        for end in
            [&[0x75, 0xA2, 0x81, 0xFF][..], &[0x75, 0xA2, 0x84, 0x7F, 0, 0, 0], &[0x75, 0xA2, 0x84, 1], &[0x75, 0xA2]]
        {
            assert_eq!(discard_padding(&file(end)), 0.0, "{end:?}");
        }
        assert_eq!(discard_padding(&[0x75, 0xA2, 0x81, 1]), 0.0);
    }

    #[test]
    fn kinds_of_aac_have_names() {
        assert_eq!(aac_kind(&[0x12, 0x08]), None);
        assert_eq!(aac_kind(&[0x12, 0x08, 0x56, 0xE5, 0x80]), Some("HE-AAC"));
        assert_eq!(aac_kind(&[0x2B, 0x92, 0x08, 0x00, 0x00]), Some("HE-AAC"));
        assert_eq!(aac_kind(&[0xEB, 0x0A, 0x08, 0x00, 0x00]), Some("HE-AAC v2"));
        assert_eq!(aac_kind(&[0xF8, 0xE6, 0x40, 0x00, 0x00]), Some("AAC-ELD"));
        assert_eq!(aac_kind(&[0x12]), None);
        assert_eq!(aac_kind(&[0x2B]), Some("HE-AAC"));
    }
}
