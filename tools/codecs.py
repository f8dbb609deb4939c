#!/usr/bin/env python3
"""Sound in every codec and container, made by ffmpeg, as humdinger decodes it and as ffmpeg does: lengths in frames and samples.

    tools/codecs.py [--ffmpeg ffmpeg] [--only mp3,opus] [--keep FOLDER]

Needs ffmpeg with its usual encoders, and numpy. Prints a table: for each codec in each container how many files, by how many frames
lengths differ at most, and by how much samples do (full scale is 1). Fails where lengths differ by more than a frame, samples by more
than 1e-3, or a codec has fewer than 40 files. Opus is held against libopus, since ffmpeg's own decoder gives other samples for speech. Of
MP4 the length is held against that of what was encoded, since ffmpeg does not cut off the end that the edit list leaves out.
"""
import argparse, itertools, os, subprocess, sys, tempfile, wave
from collections import defaultdict
from pathlib import Path
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RATES, CHANNELS = (8000, 16000, 22050, 44100, 48000), (1, 2)
# Codec: encoder, rates, settings of quality, {ending: more arguments}.
CODECS = {
    "mp3": ("libmp3lame", (16000, 22050, 32000, 44100, 48000), ("-b:a 64k", "-q:a 4"), {"mp3": "", "mkv": ""}),
    "mp2": ("mp2", (32000, 44100, 48000), ("-b:a 96k", "-b:a 128k"), {"mp2": ""}),
    "aac": ("aac", (16000, 22050, 32000, 44100, 48000), ("-b:a 64k", "-b:a 96k"), {"m4a": "", "aac": "-f adts", "mkv": ""}),
    "alac": ("alac", RATES, ("-sample_fmt s16p", "-sample_fmt s32p"), {"m4a": "", "caf": ""}),
    "flac": ("flac", RATES, ("-compression_level 0", "-sample_fmt s32"), {"flac": "", "ogg": "-f ogg", "mkv": ""}),
    "vorbis": ("libvorbis", RATES, ("-q:a 1", "-q:a 6"), {"ogg": "", "webm": ""}),
    "opus": ("libopus", (48000,), tuple(f"-b:a {k}k -application {a} -frame_duration {d}" for k, a, d in
             ((6, "voip", 20), (12, "voip", 60), (24, "voip", 20), (32, "audio", 10), (64, "audio", 20), (128, "audio", 20),
              (24, "lowdelay", 2.5), (48, "voip", 40), (16, "voip", 10), (256, "audio", 20))), {"opus": "", "webm": "", "mp4": ""}),
    "pcm_s16": ("pcm_s16le", RATES, ("", "-map_metadata -1"), {"wav": "", "w64": "", "mkv": "", "caf": ""}),
    "pcm_s16be": ("pcm_s16be", RATES, ("", "-map_metadata -1"), {"aiff": "", "mov": ""}),
    "pcm_s24": ("pcm_s24le", RATES, ("", "-map_metadata -1"), {"wav": "", "mkv": ""}),
    "pcm_f32": ("pcm_f32le", RATES, ("", "-map_metadata -1"), {"wav": "-rf64 always", "caf": ""}),
    "pcm_f64": ("pcm_f64le", RATES, ("", "-map_metadata -1"), {"wav": ""}),
    "alaw": ("pcm_alaw", RATES, ("", "-map_metadata -1"), {"wav": "", "w64": ""}),
    "mulaw": ("pcm_mulaw", RATES, ("", "-map_metadata -1"), {"wav": "", "aiff": ""}),
    "adpcm_ms": ("adpcm_ms", RATES, ("", "-block_size 512"), {"wav": ""}),
    "adpcm_ima": ("adpcm_ima_wav", RATES, ("", "-block_size 512"), {"wav": ""}),
}
FEWEST, FRAMES, SAMPLES = 40, 1, 1e-3


def tune(seed, rate, channels):
    """A made-up tune with some noise, a little longer than a second."""
    random = np.random.default_rng(seed)
    time = np.arange(int(rate * random.uniform(1.0, 1.4))) / rate
    pitch = 180 * 2 ** (random.integers(0, 12, 8)[(time * 5).astype(int) % 8] / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    mono = 0.3 * np.sin(phase) + 0.1 * np.sin(2 * phase) + 0.01 * random.standard_normal(len(time))
    return np.stack([mono, 0.7 * mono + 0.02 * random.standard_normal(len(time))][:channels], 1)


def write_wav(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1]), file.setsampwidth(2), file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--ffmpeg", default="ffmpeg")
    arguments.add_argument("--only", default=",".join(CODECS))
    arguments.add_argument("--keep", type=Path, help="make the files there, and leave them")
    arguments.add_argument("--decoder", default="", help="a built examples/decode, instead of building it")
    options = arguments.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    def run(inputs, outputs):
        """Files out of files, many at a time: outputs are (number of the input, arguments, path)."""
        words = [word for path in inputs for word in (*decoder_of(path), "-i", path)]
        words += [word for number, more, path in outputs for word in ("-map", f"{number}:a:0", *more, path)]
        done = subprocess.run([options.ffmpeg, "-nostdin", "-y", "-loglevel", "error", *words], capture_output=True)
        if done.returncode:
            sys.exit(f"ffmpeg: {done.stderr.decode().strip()}")

    def decoder_of(path):
        return ("-c:a", "libopus") if path.name.startswith("opus-") and ".source." not in path.name else ()

    made, lengths = [], {}
    for codec in options.only.split(","):
        encoder, rates, settings, endings = CODECS[codec]
        cases = list(itertools.product(rates, CHANNELS, settings))
        # As many tunes as it takes.
        tunes = range(-(-FEWEST // (len(cases) * len(endings))))
        sources, outputs = [], []
        for number, ((rate, channels, setting), seed) in enumerate(itertools.product(cases, tunes)):
            source = folder / f"{codec}-{number}.source.wav"
            sound = tune(1000 * seed + number, rate, channels)
            write_wav(source, sound, rate)
            for ending, more in endings.items():
                path = folder / f"{codec}-{number}.{ending}"
                outputs.append((len(sources), ("-c:a", encoder, *setting.split(), *more.split(), "-strict", "-2"), path))
                made.append((codec, ending, path))
                if ending in ("m4a", "mp4", "mov"):
                    lengths[path] = len(sound)
            sources.append(source)
        run(sources, outputs)
        for source in sources:
            source.unlink()
    decoder = [options.decoder] if options.decoder else ["cargo", "run", "-q", "--release", "--locked", "--example", "decode"]
    # No decoder of theirs.
    told = subprocess.run(decoder, input="\n".join(str(path) for _, _, path in made), text=True, check=True, cwd=ROOT,
                          capture_output=True, env={**os.environ, "HUMDINGER_FFMPEG": ""}).stdout.splitlines()
    raw = lambda path: path.with_name(path.name + ".raw")
    as_floats = ("-f", "f32le", "-c:a", "pcm_f32le")
    for at in range(0, len(made), 64):
        paths = [path for _, _, path in made[at:at + 64]]
        run(paths, [(number, as_floats, raw(path)) for number, path in enumerate(paths)])
    table, bad = defaultdict(lambda: [0, 0, 0.0, set()]), []
    for (codec, ending, path), line in zip(made, told, strict=True):
        rate, channels, frames, warnings = line.split("\t")
        row = table[codec, ending]
        row[0] += 1
        if rate == "0":
            bad.append(f"{path.name}: {warnings}")
            continue
        theirs = np.fromfile(raw(path), "<f4").reshape(-1, int(channels))
        ours = np.fromfile(f"{path}.f32", "<f4").reshape(-1, int(channels))
        length = abs(len(ours) - lengths.get(path, len(theirs)))
        both = min(len(ours), len(theirs))
        apart = float(np.abs(ours[:both] - theirs[:both]).max()) if both else 1.0
        row[1], row[2] = max(row[1], length), max(row[2], apart)
        if warnings:
            row[3].add(warnings)
        if length > FRAMES or apart > SAMPLES:
            bad.append(f"{path.name}: {len(ours)} frames, ffmpeg has {len(theirs)}; samples differ by {apart:.1e}")
        raw(path).unlink(), Path(f"{path}.f32").unlink()
        if not options.keep:
            path.unlink()
    counts = defaultdict(int)
    print("| Codec | Container | Files | Frames apart | Samples apart |\n|---|---|---|---|---|")
    for (codec, ending), (count, length, apart, warnings) in table.items():
        counts[codec] += count
        print(f"| {codec} | {ending} | {count} | {length} | {apart:.1e} |" + "".join(f" <!-- {w} -->" for w in sorted(warnings)[:2]))
    bad += [f"{codec}: only {count} files" for codec, count in counts.items() if count < FEWEST]
    if bad:
        sys.exit(f"{len(bad)} differ:\n" + "\n".join(bad[:60]))


if __name__ == "__main__":
    main()
