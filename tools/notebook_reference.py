#!/usr/bin/env python3
"""The reference notebook in PyTorch and torchaudio, without its random parts: what recipe `notebook` must reproduce.

    python tools/notebook_reference.py clips DIR
        Write the synthetic WAV clips of tests/golden/notebook: short and long, mono and stereo, 8 and 16 bit, several rates.
    python tools/notebook_reference.py train --data DIR --out OUT [--epochs N] [--init WEIGHTS]
        Train as NOTEBOOK.md says, with zeros behind a short clip, no time shift, no masks, and the clips in order of file
        name. OUT then holds initial.safetensors (the weights before training, for `humdinger train --init`), losses.csv
        (step,epoch,loss,learning_rate) and trained.safetensors.
    python tools/notebook_reference.py logits --model FILE WAV...
        Load a model file by name into the notebook's module, one that humdinger trained or that `train` left, and print one
        JSON line per WAV with its logits in evaluation mode, each clip standardised alone.
    python tools/notebook_reference.py compare OURS.csv THEIRS.csv [--steps 50] [--tolerance 1e-3]
        Hold two files of losses against each other, in order of their rows; exit 1 where they differ by more.

The same run with humdinger:
    humdinger train --recipe notebook --data DIR --no-augment --no-shuffle --val-fraction 0 --outputs 10 \\
        --batch-size 4 --epochs N --init OUT/initial.safetensors

Versions: tools/requirements.txt. Sound is read by soundfile, since torchaudio 2.9 and later decode with an extra package.
"""

import argparse
import csv
import json
import math
import pathlib
import struct
import sys
import wave

RATE, SAMPLES = 11_000, 44_000
# song, person, take, sample rate, bits, channels, seconds
CLIPS = [
    ("Frozen", 1, 1, 8_000, 8, 1, 4.4),
    ("Frozen", 2, 1, 44_100, 8, 1, 3.6),
    ("Frozen", 3, 1, 11_000, 8, 1, 3.0),
    ("Panther", 1, 1, 44_100, 16, 2, 2.0),
    ("Panther", 2, 1, 8_000, 8, 1, 3.5),
    ("Panther", 3, 1, 44_100, 8, 1, 4.2),
    ("Rain", 1, 1, 8_000, 8, 1, 6.0),
    ("Rain", 2, 1, 22_050, 16, 2, 2.8),
    ("Rain", 2, 2, 8_000, 8, 1, 3.3),
    ("Rain", 3, 1, 11_025, 8, 1, 3.9),
]
# Semitones above the keynote.
TUNES = {"Frozen": [0, 4, 7, 12, 7, 4], "Panther": [12, 11, 9, 5, 2, 0], "Rain": [0, 0, 7, 7, 9, 9, 7, 5]}


def write_clips(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for index, (song, person, take, rate, bits, channels, seconds) in enumerate(CLIPS):
        keynote = 160.0 * 2 ** (person / 4 + take / 9)
        note_length = 0.22 + 0.05 * person
        phase, noise, frames = 0.0, 12345 + index, []
        for i in range(int(rate * seconds)):
            t = i / rate
            note = int(t / note_length)
            within = t / note_length - note
            tune = TUNES[song]
            phase += keynote * 2 ** (tune[note % len(tune)] / 12) / rate
            envelope = min(1.0, 12 * within, 6 * (1 - within)) * (0.25 + 0.2 * person)
            # A linear congruential generator: hiss, the same on every machine. Without it the cells far below the
            # loudest carry so much rounding that Adam makes two right answers part ways within fifty steps.
            noise = (noise * 1103515245 + 12345) & 0x7FFFFFFF
            hiss = (noise / 0x40000000 - 1.0) * 0.06
            value = sum(math.sin(2 * math.pi * h * phase) / h**2 for h in (1, 2, 3, 5)) * 0.6 * envelope + hiss
            for c in range(channels):
                v = value * (1.0 if c == 0 else 0.5 + 0.4 * math.sin(3 * t))
                v = max(-1.0, min(1.0, v))
                frames.append(struct.pack("<h", round(v * 32767)) if bits == 16 else bytes([round(v * 127) + 128]))
        with wave.open(str(folder / f"S{person}_hum_{take}_{song}.wav"), "wb") as out:
            out.setnchannels(channels)
            out.setsampwidth(bits // 8)
            out.setframerate(rate)
            out.writeframes(b"".join(frames))


class FrontEnd:
    """From a file to the decibels of NOTEBOOK.md's table, [2, 64, 86]."""

    def __init__(self, dtype):
        import torch
        import torchaudio.transforms as T

        self.torch, self.T, self.dtype = torch, T, dtype
        self.mel = T.MelSpectrogram(RATE, n_fft=1024, hop_length=512, n_mels=64).to(dtype)
        self.decibels = T.AmplitudeToDB(top_db=80)

    def samples(self, path):
        import soundfile

        torch = self.torch
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
        signal = torch.from_numpy(data.T.copy()).to(self.dtype)
        if rate != RATE:
            # Each channel apart, with the kernel in the signal's precision.
            kernel_dtype = self.dtype if self.dtype == torch.float64 else None
            signal = self.T.Resample(rate, RATE, dtype=kernel_dtype).to(self.dtype)(signal)
        if signal.shape[0] == 1:
            signal = torch.cat([signal, signal])
        signal = signal[:2, :SAMPLES]
        return torch.nn.functional.pad(signal, (0, SAMPLES - signal.shape[1]))

    def __call__(self, path):
        return self.decibels(self.mel(self.samples(path)))


def standardise(batch):
    return (batch - batch.mean()) / batch.std()


def labelled(folder):
    """The WAV files in order of their names, with the songs numbered in order of name."""
    files = sorted(folder.glob("*.wav"), key=lambda p: p.name)
    songs = [p.stem.split("_")[3] for p in files]
    names = sorted(set(songs))
    return files, [names.index(s) for s in songs]


def tensors_of(model):
    return {k: v.float() if v.is_floating_point() else v for k, v in model.state_dict().items()}


def load_model(path, dtype):
    from safetensors.torch import load_file

    from notebook_model import Notebook

    tensors = load_file(path)
    model = Notebook(tensors["lin.weight"].shape[0])
    model.load_state_dict(tensors, strict=True)
    return model.to(dtype)


def train(arguments):
    import torch
    from safetensors.torch import save_file

    from notebook_model import Notebook

    torch.set_num_threads(arguments.threads)
    dtype = torch.float64 if arguments.double else torch.float32
    front_end = FrontEnd(dtype)
    files, labels = labelled(arguments.data)
    if not files:
        sys.exit(f"{arguments.data}: no .wav files")
    items, labels = [front_end(f) for f in files], torch.tensor(labels)
    torch.manual_seed(arguments.seed)
    model = load_model(arguments.init, dtype) if arguments.init else Notebook(arguments.outputs).to(dtype)
    if not arguments.init:
        model.load_state_dict({k: v for k, v in tensors_of(model).items()})
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors_of(model), arguments.out / "initial.safetensors")

    size = arguments.batch_size
    per_epoch = -(-len(items) // size)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=1e-3, steps_per_epoch=per_epoch, epochs=arguments.epochs, anneal_strategy="linear"
    )
    criterion = torch.nn.CrossEntropyLoss()
    rows, step = [], 0
    for epoch in range(1, arguments.epochs + 1):
        for start in range(0, len(items), size):
            inputs, targets = standardise(torch.stack(items[start : start + size])), labels[start : start + size]
            optimiser.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            rate = optimiser.param_groups[0]["lr"]
            optimiser.step()
            step += 1
            if step < per_epoch * arguments.epochs:
                schedule.step()
            rows.append((step, epoch, loss.item(), rate))
    with open(arguments.out / "losses.csv", "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["step", "epoch", "loss", "learning_rate"])
        writer.writerows((s, e, f"{l:.9g}", f"{r:.9g}") for s, e, l, r in rows)
    save_file(tensors_of(model), arguments.out / "trained.safetensors")
    print(f"{len(items)} clips, {step} steps, loss {rows[0][2]:.4f} -> {rows[-1][2]:.4f}, in {arguments.out}")


def logits(arguments):
    import torch

    dtype = torch.float64 if arguments.double else torch.float32
    model, front_end = load_model(arguments.model, dtype).eval(), FrontEnd(dtype)
    with torch.no_grad():
        for path in arguments.wav:
            output = model(standardise(front_end(path)).unsqueeze(0))[0]
            print(json.dumps({"file": pathlib.Path(path).name, "logits": [round(v, 9) for v in output.tolist()]}))


def compare(arguments):
    def column(path):
        with open(path, newline="") as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    ours, theirs = column(arguments.ours), column(arguments.theirs)
    steps = min(arguments.steps, len(theirs))
    if len(ours) < steps:
        sys.exit(f"{arguments.ours} has {len(ours)} steps, {steps} are needed")
    worst, at = max((abs(a - b) / abs(b), i + 1) for i, (a, b) in enumerate(zip(ours[:steps], theirs)))
    print(f"{steps} steps, largest relative difference {worst:.2e} at step {at}")
    # Written so that a loss that is not a number fails.
    sys.exit(0 if worst < arguments.tolerance else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("clips")
    command.add_argument("folder", type=pathlib.Path)
    command.set_defaults(run=lambda a: write_clips(a.folder))
    command = commands.add_parser("train")
    command.add_argument("--data", type=pathlib.Path, required=True)
    command.add_argument("--out", type=pathlib.Path, required=True)
    command.add_argument("--epochs", type=int, default=17)
    command.add_argument("--batch-size", type=int, default=4)
    command.add_argument("--outputs", type=int, default=10)
    command.add_argument("--init", type=pathlib.Path)
    # Of the seeds tried, 5 is the one whose 50 steps depend least on rounding: f32 against f64 6e-7, and 6e-5 with
    # noise of 3e-5 dB on every cell. Most reach 1e-3 under the same noise, in PyTorch alone.
    command.add_argument("--seed", type=int, default=5)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--double", action="store_true", help="compute in f64, to see what rounding alone does")
    command.set_defaults(run=train)
    command = commands.add_parser("logits")
    command.add_argument("--model", type=pathlib.Path, required=True)
    command.add_argument("--double", action="store_true")
    command.add_argument("wav", nargs="+")
    command.set_defaults(run=logits)
    command = commands.add_parser("compare")
    command.add_argument("ours", type=pathlib.Path)
    command.add_argument("theirs", type=pathlib.Path)
    command.add_argument("--steps", type=int, default=50)
    command.add_argument("--tolerance", type=float, default=1e-3)
    command.set_defaults(run=compare)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
