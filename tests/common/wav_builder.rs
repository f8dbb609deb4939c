//! WAV files of which every field can be made to lie.

#![allow(dead_code, reason = "each test file uses a part")]

use humdinger::audio::Audio;
use humdinger::audio::decode::decode_bytes;
use std::path::Path;

/// A WAV file under construction; every field can be made to lie.
#[derive(Clone)]
pub struct Wav {
    pub tag: u16,
    pub channels: u16,
    pub rate: u32,
    pub bits: u16,
    pub block: Option<u16>,
    pub byte_rate: Option<u32>,
    pub extension: Vec<u8>,
    pub before: Vec<u8>,
    pub data: Vec<u8>,
    pub data_length: Option<u32>,
    pub after: Vec<u8>,
    pub magic: &'static [u8; 4],
}

impl Wav {
    pub fn new(tag: u16, channels: u16, bits: u16, data: Vec<u8>) -> Self {
        let (block, byte_rate, data_length) = (None, None, None);
        let (extension, before, after) = (vec![], vec![], vec![]);
        Self {
            tag,
            channels,
            rate: 8_000,
            bits,
            block,
            byte_rate,
            extension,
            before,
            data,
            data_length,
            after,
            magic: b"RIFF",
        }
    }

    pub fn extensible(tag: u16, channels: u16, bits: u16, valid: u16, data: Vec<u8>) -> Self {
        let mut wav = Self::new(0xFFFE, channels, bits, data);
        wav.extension = [22, 0].into_iter().chain(valid.to_le_bytes()).chain([3, 0, 0, 0]).collect();
        wav.extension.extend(tag.to_le_bytes());
        wav.extension.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
        wav
    }

    pub fn bytes(&self) -> Vec<u8> {
        let block = self.block.unwrap_or((self.bits / 8).wrapping_mul(self.channels));
        let mut format = vec![];
        format.extend(self.tag.to_le_bytes());
        format.extend(self.channels.to_le_bytes());
        format.extend(self.rate.to_le_bytes());
        format.extend(self.byte_rate.unwrap_or(self.rate.wrapping_mul(u32::from(block))).to_le_bytes());
        format.extend(block.to_le_bytes());
        format.extend(self.bits.to_le_bytes());
        format.extend(&self.extension);
        let mut body = b"WAVE".to_vec();
        body.extend(chunk(b"fmt ", &format));
        body.extend(&self.before);
        body.extend(b"data");
        body.extend(self.data_length.unwrap_or(self.data.len() as u32).to_le_bytes());
        body.extend(&self.data);
        body.extend(&self.after);
        let mut file = self.magic.to_vec();
        file.extend((body.len() as u32).to_le_bytes());
        file.extend(body);
        file
    }

    pub fn read(&self) -> humdinger::Result<Audio> {
        read(self.bytes())
    }
}

pub fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = id.to_vec();
    chunk.extend((body.len() as u32).to_le_bytes());
    chunk.extend(body);
    if body.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

pub fn le16(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn read(bytes: Vec<u8>) -> humdinger::Result<Audio> {
    decode_bytes(bytes, Path::new("folder/name.wav"))
}
