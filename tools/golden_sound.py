#!/usr/bin/env python3
"""Write the golden files of the sound half: what torchaudio and librosa compute, for tests/golden_sound.rs to reproduce.

    python tools/golden_sound.py [--out tests/golden/sound]
    python tools/golden_sound.py --real FOLDER --json FILE

The first form needs nothing but the packages of tools/requirements.txt. Its signals come from an integer formula that the
test repeats, so that no sound is stored. The second form computes the same numbers for real recordings (44.1 kHz WAV files
in FOLDER) and writes them to FILE, which belongs outside the project; the test `real_clips_match_torchaudio` reads it
from where HUMDINGER_GOLDEN_REAL says and is skipped without it.

torchaudio computes in f32, as the notebook did; statistics of long results are summed in f64.
"""

import argparse
import json
import pathlib

import librosa
import numpy as np
import torch
import torchaudio
from safetensors.numpy import save_file

RATE, WINDOW, BANDS, N_FFT, HOP = 11_000, 44_000, 64, 1024, 512
SLICE = 300


def triangle(t, base, slope):
    """An integer triangle wave in -16384..16383 whose frequency glides: phase = base t + slope t^2, modulo 2^32."""
    phase = (t * np.uint64(base) + t * t * np.uint64(slope)) & np.uint64(0xFFFFFFFF)
    return np.abs((phase >> np.uint64(16)).astype(np.int64) - 32_768) - 16_384


def signal(samples, salt):
    """16-bit samples as f32: two gliding triangle waves and noise, from integers alone (see `signal` in the test)."""
    t = np.arange(samples, dtype=np.uint64)
    h = (t * np.uint64(2_654_435_761) + np.uint64(salt * 40_503)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2_246_822_519)) & np.uint64(0xFFFFFFFF)
    noise = (h >> np.uint64(20)).astype(np.int64) - 2_048
    tones = triangle(t, 31_000_000 + 700_000 * salt, 9 + salt) // 2 + triangle(t, 93_000_000, 3) // 4
    return torch.from_numpy(((tones + noise) / 32_768).astype(np.float32))


def statistics(x):
    x = x.to(torch.float64)
    return [float(x.sum()), float((x * x).sum())]


def selected(x):
    """First, middle and last samples of the last axis."""
    n = x.shape[-1]
    if n <= 3 * SLICE:
        return x
    return torch.cat([x[..., :SLICE], x[..., n // 2:n // 2 + SLICE], x[..., n - SLICE:]], -1)


def resampled(x, rate):
    return torchaudio.transforms.Resample(rate, RATE)(x) if rate != RATE else x


def image(x):
    """The mel spectrogram and its decibels, [2, 64, 86] both, of [2, 44000] samples."""
    mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS)(x)
    return mel, torchaudio.transforms.AmplitudeToDB(top_db=80)(mel)


def masked(db, frequency, time):
    fill, db = db.mean(), db.clone()
    for start, width in frequency:
        db[:, start:start + width] = fill
    for start, width in time:
        db[:, :, start:start + width] = fill
    return db


def window(x, pad_front, shift):
    """Two channels of 44 000 samples, padded and rolled, each channel on its own."""
    x = x.expand(2, -1)[:, :WINDOW]
    x = torch.nn.functional.pad(x, (pad_front, WINDOW - x.shape[1] - pad_front))
    return torch.roll(x, shift, -1)


CASES = [
    # name, rate, samples, channels, pad_front, shift, frequency masks, time masks
    ("long", 44_100, 661_500, 2, 0, 12_345, [(3, 5), (40, 6)], [(0, 8), (70, 3)]),
    ("short", 16_000, 40_000, 1, 4_321, 9_999, [(58, 6), (58, 2)], [(80, 6), (12, 0)]),
    ("quiet", 44_100, 100_000, 2, 7, 0, [(0, 0), (0, 0)], [(0, 0), (0, 0)]),
]


def golden(out):
    out.mkdir(parents=True, exist_ok=True)
    tensors, cases = {}, []
    for start, end, samples in [
        (44_100, 11_000, 661_500), (44_100, 11_000, 661_501), (44_100, 11_000, 441), (44_100, 11_000, 440),
        (44_100, 11_000, 7), (44_100, 11_000, 1), (8_000, 11_000, 64_000), (8_000, 11_000, 100), (8_000, 11_000, 1),
        (48_000, 16_000, 100_001), (48_000, 16_000, 2), (11_025, 11_000, 5_000), (16_000, 44_100, 3_000),
    ]:
        y = torchaudio.transforms.Resample(start, end)(signal(samples, 1))
        name = f"{start}_{end}_{samples}"
        cases.append(dict(name=name, start=start, end=end, samples=samples, length=len(y), statistics=statistics(y)))
        tensors[name] = selected(y)
    lengths = []
    for start, end in [(44_100, 11_000), (8_000, 11_000), (48_000, 16_000)]:
        resample = torchaudio.transforms.Resample(start, end)
        for samples in [1, 2, 3, 4, 5, 40, 440, 441, 442, 8_191, 100_000, 661_499, 661_500, 661_501, 700_003, 1_500_001]:
            lengths.append([start, end, samples, resample(torch.zeros(samples)).shape[-1]])
    write(out / "resample.safetensors", tensors, dict(cases=cases, lengths=lengths))

    tensors, cases, batch = {}, [], []
    for name, rate, samples, channels, pad_front, shift, frequency, time in CASES:
        x = torch.stack([signal(samples, 2 + c) for c in range(channels)])
        if name == "quiet":
            x = x / 1024
        x = resampled(x, rate)
        mel, db = image(window(x, pad_front, shift))
        final = masked(db, frequency, time)
        batch.append(final)
        cases.append(dict(name=name, rate=rate, samples=samples, channels=channels, pad_front=pad_front, shift=shift,
                          frequency=frequency, time=time))
        tensors |= {f"{name}.mel": mel, f"{name}.decibels": db, f"{name}.masked": final,
                    f"{name}.standardised": (final - final.mean()) / final.std()}
    batch = torch.stack(batch)
    tensors["batch"] = (batch - batch.mean()) / batch.std()
    write(out / "front_end.safetensors", tensors, dict(cases=cases))

    tensors, cases = {}, []
    for rate, n_fft, bands, f_min, f_max in [(11_000, 1024, 64, 0, 5_500), (22_050, 512, 40, 30, 8_000)]:
        for norm in ["slaney", None]:
            name = f"slaney_{rate}_{norm}"
            tensors[name] = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands, fmin=f_min, fmax=f_max, norm=norm)
            cases.append(dict(name=name, scale="slaney", rate=rate, n_fft=n_fft, bands=bands, f_min=f_min, f_max=f_max,
                              norm=norm))
    bank = torchaudio.functional.melscale_fbanks(N_FFT // 2 + 1, 0, RATE / 2, BANDS, RATE)
    tensors["htk"] = bank.T
    cases.append(dict(name="htk", scale="htk", rate=RATE, n_fft=N_FFT, bands=BANDS, f_min=0, f_max=RATE / 2, norm=None))
    write(out / "banks.safetensors", tensors, dict(cases=cases))


def write(path, tensors, header):
    # A copy in row-major order: safetensors writes the memory of an array, whatever its strides.
    arrays = {name: np.array(np.asarray(x), dtype=np.float32, order="C", copy=True) for name, x in tensors.items()}
    save_file(arrays, path, metadata={key: json.dumps(value) for key, value in header.items()})
    print(f"{path}: {len(arrays)} tensors, {path.stat().st_size} bytes")


def real(folder, path):
    import soundfile

    clips = []
    for file in sorted(folder.glob("*.wav")):
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        x = resampled(torch.from_numpy(samples.T.copy()), rate)
        mel, db = image(window(x, 0, 0))
        clips.append(dict(file=file.name, rate=rate, channels=x.shape[0], length=x.shape[1],
                          statistics=[statistics(c) for c in x], samples=selected(x).tolist(),
                          mel=mel.flatten().tolist(), decibels=db.flatten().tolist()))
    path.write_text(json.dumps(dict(folder=str(folder.resolve()), clips=clips)))
    print(f"{path}: {len(clips)} clips, {path.stat().st_size} bytes; outside the project is where it belongs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/golden/sound"))
    parser.add_argument("--real", type=pathlib.Path, help="a folder of real recordings")
    parser.add_argument("--json", type=pathlib.Path, help="where the numbers of --real go")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, torchaudio {torchaudio.__version__}, librosa {librosa.__version__}, "
          f"numpy {np.__version__} (tools/requirements.txt pins 2.11.0, 2.11.0, 0.11.0, 2.4.6)")
    torch.set_num_threads(1)
    if arguments.real is None:
        golden(arguments.out)
    elif arguments.json is None:
        parser.error("--real needs --json")
    else:
        real(arguments.real, arguments.json)


if __name__ == "__main__":
    main()
