//! Writes what the targets begin with: seeds FOLDER, from the root of the repository.

use humdinger::audio::Audio;
use humdinger::data::cache::{Cache, Key};
use humdinger::train::Settings;
use std::fs;
use std::path::Path;

/// The header of a safetensors file.
fn header(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    Ok(bytes[8..8 + length].to_vec())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("seeds FOLDER")?;
    let put = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    for entry in fs::read_dir("tests/sounds")? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name")?.to_string();
        let target = if name.ends_with(".wav") || name.ends_with(".w64") { "wav" } else { "container" };
        put(target, &name, &fs::read(&path)?)?;
    }
    let format = |tag: u16, channels: u16, bits: u16| -> Vec<u8> {
        let block = channels * bits / 8;
        let words = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
        let rates = [8_000u32.to_le_bytes(), (8_000 * u32::from(block)).to_le_bytes()].concat();
        [&b"RIFF\x7c\0\0\0WAVEfmt \x10\0\0\0"[..], &words, &rates, &block.to_le_bytes(), &bits.to_le_bytes()].concat()
    };
    for (tag, channels, bits) in [(1, 1, 8), (1, 2, 16), (1, 1, 24), (3, 1, 32), (3, 2, 64), (6, 1, 8), (7, 2, 8)] {
        let sound: Vec<u8> = (0..96u32).map(|i| (i * 37) as u8).collect();
        let bytes = [&format(tag, channels, bits)[..], b"data\x60\0\0\0", &sound].concat();
        put("wav", &format!("{tag}-{channels}-{bits}.wav"), &bytes)?;
    }
    put("model", "base", &header(Path::new("models/base.safetensors"))?)?;
    // Of a run, where the caller has made one.
    if let Some(run) = std::env::args().nth(2) {
        put("model", "own", &header(&Path::new(&run).join("model.safetensors"))?)?;
        put("checkpoint", "run", &header(&Path::new(&run).join("checkpoint.safetensors"))?)?;
        put("configuration", "run", &fs::read(Path::new(&run).join("config.toml"))?)?;
    }
    put("configuration", "defaults", Settings::default().resolve()?.to_toml()?.as_bytes())?;
    put("csv", "passages", b"file,song,person,start,end,split\n1.wav,A,Anna,0.1,0.2,train\n2.wav,B,Ben,,,test\n")?;
    put("csv", "headless", b"1.wav;A\n2.wav;B\n")?;
    put("csv", "track", b"0.1\t0.2\tA\n\\\t100\t200\n0.3\t0.4\tB\n")?;
    put("csv", "raven", b"Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tAnnotation\n1\t0.1\t0.2\t1.wav\tA\n")?;
    let wide: Vec<u8> = "fname|labels|is_valid\n1.wav|A|True\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    put("csv", "utf-16", &wide)?;
    let kept = tempfile::tempdir()?;
    let cache = Cache::open(kept.path(), 1 << 30).ok_or("a cache")?;
    let audio = Audio { channels: vec![vec![0.5; 40]; 2], sample_rate: 8_000, warnings: vec!["a\nb".into()] };
    cache.store(Key::new(b"x", 8_000), &audio);
    let entry = fs::read_dir(kept.path())?.next().ok_or("an entry")??.path();
    put("cache", "entry", &fs::read(entry)?)?;
    Ok(())
}
