#!/usr/bin/env python3
"""PyTorch and torchaudio doing the work that `humdinger bench` does; see README.md beside this file.

    python benches/peers/pytorch_peer.py WORK [--variant V] [--batch N] [--seconds S] [--device cpu|cuda] [--threads T]
    python benches/peers/pytorch_peer.py --serve [--device ..] [--threads T]

WORK is one of step, melody_step, inference, conv2d, front_end, resample, notebook_run. The first form measures once and prints one JSON
line. The second reads lines of such arguments from standard input and answers each with one JSON line, so that a driver can
alternate it with another program without paying for the start each time.
"""

import argparse
import json
import pathlib
import platform
import shlex
import statistics
import sys
import tempfile
import time
import wave

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from notebook_model import Melody, Notebook, hashed_uniform  # noqa: E402

RATE, SAMPLES, CLASSES = 11_000, 44_000, 10
CHECK_STEPS = 10
# The variant where none is named.
VARIANTS = {
    "step": "eager",
    "melody_step": "eager",
    "inference": "eager",
    "conv2d": "56x56",
    "front_end": "eager",
    "resample": "kept",
    "notebook_run": "notebook",
}
BATCHES = {"conv2d": 0, "step": 4, "melody_step": 4, "notebook_run": 4}


def uniform(seed, *shape):
    return torch.from_numpy(hashed_uniform(seed, int(np.prod(shape)))).reshape(shape)


def formula_model(classifier=Notebook):
    """A classifier with weights that any program can make: README.md, "The same work"."""
    model = classifier(CLASSES)
    with torch.no_grad():
        for index, (name, p) in enumerate(model.named_parameters()):
            values = hashed_uniform(1000 + index, p.numel()).astype(np.float64)
            if name.startswith("conv") and name.endswith("weight"):
                p.copy_(torch.from_numpy(values * np.sqrt(6 / p[0].numel())).reshape(p.shape))
            elif name.startswith("lin"):
                p.copy_(torch.from_numpy(values / 8).reshape(p.shape))
            elif name.endswith("weight"):
                p.fill_(1)
            else:
                p.zero_()
    return model


def formula_sound(n):
    """[n, 2, 44000] samples: clip i is a tone of 200 + 7 (i mod 64) Hz in both channels, with a tenth of hash noise."""
    t = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    tones = [torch.sin(2 * np.pi * (200 + 7 * (i % 64)) * t) for i in range(n)]
    return torch.stack(tones).float()[:, None, :] * 0.5 + 0.05 * uniform(9, n, 2, SAMPLES)


class FrontEnd(torch.nn.Module):
    """Samples [N, 2, 44000] to decibels [N, 2, 64, 86]; each clip's own maximum sets its floor."""

    def __init__(self):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=1024, hop_length=512, n_mels=64)
        self.decibels = torchaudio.transforms.AmplitudeToDB(top_db=80)

    def forward(self, x):
        return self.decibels(self.mel(x))


class Inference(torch.nn.Module):
    """Samples to probabilities, each clip standardised alone."""

    def __init__(self):
        super().__init__()
        self.front_end, self.model = FrontEnd(), formula_model()

    def forward(self, x):
        x = self.front_end(x)
        sd, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        return self.model((x - mean) / sd).softmax(1)


class Peer:
    def __init__(self, device, threads):
        self.device = torch.device(device)
        if threads:
            torch.set_num_threads(threads)
        # What the comparison calls f32 is f32: no TF32 on either side.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.kept = {}

    def synchronise(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, run, seconds):
        """Median and best of single runs, in milliseconds, after a tenth of the time unmeasured."""
        end = time.perf_counter() + seconds / 10
        while True:
            run()
            self.synchronise()
            if time.perf_counter() > end:
                break
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            self.synchronise()
            times.append((time.perf_counter() - start) * 1e3)
        return {"median_ms": statistics.median(times), "best_ms": min(times), "runs": len(times)}

    def kept_once(self, key, make):
        """What is prepared (compiled, allocated) once and measured many times while serving."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    # The works. Each returns (run, check): a function to be timed, and a number that both sides must agree on.

    def step(self, batch, variant):
        return self.training_step(formula_model(), uniform(7, batch, 2, 64, 86), variant)

    def melody_step(self, batch, variant):
        return self.training_step(formula_model(Melody), uniform(7, batch, 1, 120, 251), variant)

    def training_step(self, model, x, variant):
        model, batch, x = model.to(self.device).train(), len(x), x.to(self.device)
        labels = (torch.arange(batch) % 8).to(self.device)
        options = {"eager": {}, "compiled": {"fused": True}, "cudagraph": {"fused": True, "capturable": True}}[variant]
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
        compute = lambda x, labels: F.cross_entropy(model(x), labels)
        if variant == "compiled":
            compute = torch.compile(compute, dynamic=False)

        def one():
            optimiser.zero_grad()
            loss = compute(x, labels)
            loss.backward()
            optimiser.step()
            return loss

        if variant == "cudagraph":
            one = self.captured(one, model, optimiser)
        for _ in range(CHECK_STEPS):
            loss = one()
        return one, loss.item()

    def captured(self, one, model, optimiser):
        """The step as a CUDA graph. The warm-up steps that capturing needs are undone."""
        before = {k: v.clone() for k, v in model.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                one()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = one()
        model.load_state_dict(before)
        for state in optimiser.state.values():
            for value in state.values():
                value.zero_()

        def replay():
            graph.replay()
            return loss

        return replay

    def inference(self, batch, variant):
        model = Inference().to(self.device).eval()
        run = torch.compile(model, dynamic=False) if variant == "compiled" else model
        x = formula_sound(batch).to(self.device)

        def one():
            with torch.inference_mode():
                return run(x).cpu()

        return one, one()[0, 0].item()

    def conv2d(self, batch, variant):
        n, inputs, outputs, size, stride = {"56x56": (32, 64, 64, 56, 1), "28x28": (16, 128, 256, 28, 2)}[variant]
        n = batch or n
        x = uniform(1, n, inputs, size, size).to(self.device).requires_grad_()
        w = (uniform(2, outputs, inputs, 3, 3) / np.sqrt(inputs * 9)).to(self.device).requires_grad_()
        b = uniform(3, outputs).to(self.device).requires_grad_()
        out = (size - 1) // stride + 1
        dy = uniform(4, n, outputs, out, out).to(self.device)

        def one():
            y = F.conv2d(x, w, b, stride, 1)
            return torch.autograd.grad(y, (x, w, b), dy)

        # The mean square of dw: every element counts, and rounding averages out.
        return one, one()[1].double().square().mean().item()

    def front_end(self, batch, variant):
        front_end, x = FrontEnd().to(self.device), formula_sound(batch).to(self.device)

        def one():
            with torch.inference_mode():
                return front_end(x)

        return one, one()[0].double().mean().item()

    def resample(self, batch, variant):
        signal = torch.sin(2 * np.pi * 440 / 44_100 * torch.arange(15 * 44_100, dtype=torch.float64)).float()
        signal = torch.stack([signal, 0.5 * signal]).to(self.device)
        kept = torchaudio.transforms.Resample(44_100, RATE).to(self.device)
        functional = torchaudio.functional.resample

        def one():
            with torch.inference_mode():
                if variant == "kept":
                    return kept(signal)
                # The notebook makes the kernel anew for each channel of each item.
                return torch.cat([functional(channel[None], 44_100, RATE) for channel in signal])

        return one, one().double().square().mean().item()

    def notebook_run(self, batch, variant):
        """One epoch of the notebook over its 78 training files of 15 s at 44.1 kHz, stereo."""
        files = self.kept_once("files", make_recordings)
        model = formula_model().to(self.device).train()
        labels = torch.arange(len(files)) % 8
        front_end = FrontEnd()
        fused = variant == "cached"
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
        compute = lambda x, labels: F.cross_entropy(model(x), labels)
        if fused:
            compute = torch.compile(compute, dynamic=False)

        def train(inputs, labels):
            optimiser.zero_grad()
            compute(inputs.to(self.device), labels.to(self.device)).backward()
            optimiser.step()

        def standardised(x):
            return (x - x.mean()) / x.std()

        def as_the_notebook():
            for start in range(0, len(files), batch):
                chosen = files[start : start + batch]
                items = [masked(front_end(shifted(samples_of(f)[None])))[0] for f in chosen]
                train(standardised(torch.stack(items)), labels[start : start + batch])

        def cached():
            # All that is not drawn anew is kept; the spectrograms of an epoch are made in one go.
            kept = self.kept_once("samples", lambda: torch.stack([samples_of(f) for f in files]))
            order = torch.randperm(len(files))
            items = masked(front_end(shifted(kept)))
            for start in range(0, len(files), batch):
                chosen = order[start : start + batch]
                train(standardised(items[chosen]), labels[chosen])

        run = cached if fused else as_the_notebook
        if fused:
            run()
        return run, None

    def answer(self, arguments):
        variant = arguments.variant or VARIANTS[arguments.work]
        batch = BATCHES.get(arguments.work, 1) if arguments.batch is None else arguments.batch
        make = lambda: getattr(self, arguments.work)(batch, variant)
        run, check = self.kept_once((arguments.work, variant, batch), make)
        result = {"name": arguments.work, "variant": variant, "batch": batch, "device": self.device.type}
        result |= self.measure(run, arguments.seconds) | {"check": check}
        if arguments.work == "notebook_run":
            result["epochs_200_s"] = result["median_ms"] * 200 / 1e3
        return result


def make_recordings():
    """78 stereo files of 15 s, 44.1 kHz, 16 bit, in a folder that lasts as long as this program."""
    make_recordings.folder = tempfile.TemporaryDirectory(prefix="humdinger-peer-")
    folder = pathlib.Path(make_recordings.folder.name)
    t = np.arange(15 * 44_100) / 44_100
    files = []
    for i in range(78):
        tone = 0.4 * np.sin(2 * np.pi * (200 + 7 * i) * t)
        frames = np.round(np.stack([tone, 0.5 * tone], 1) * 32767).astype("<i2")
        files.append(folder / f"S{i}_hum_1_Rain.wav")
        with wave.open(str(files[-1]), "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(44_100)
            out.writeframes(frames.tobytes())
    return files


def samples_of(path):
    """Decode, resample each channel with a kernel made anew, cut to four seconds: as the notebook does per item."""
    import soundfile

    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    signal = torch.from_numpy(data.T.copy())
    signal = torch.cat([torchaudio.transforms.Resample(rate, RATE)(channel[None]) for channel in signal])
    return F.pad(signal[:, :SAMPLES], (0, max(0, SAMPLES - signal.shape[1])))


def shifted(x):
    """Circular shift of each item by up to 40 %."""
    shifts = (torch.rand(len(x)) * 0.4 * SAMPLES).int().tolist()
    return torch.stack([item.roll(shift, -1) for item, shift in zip(x, shifts)])


def masked(x):
    """Two frequency masks and two time masks per item, filled with the item's mean."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    for axis in (2, 2, 3, 3):
        size = x.shape[axis]
        width = torch.rand(len(x)) * 0.1 * size
        start = (torch.rand(len(x)) * (size - width)).floor()
        place = torch.arange(size)[None]
        inside = (place >= start[:, None]) & (place < (start + width.floor())[:, None])
        shape = [len(x), 1, 1, 1]
        shape[axis] = size
        x = torch.where(inside.reshape(shape), mean, x)
    return x


def parser():
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("work", nargs="?", choices=list(VARIANTS))
    result.add_argument("--variant")
    result.add_argument("--batch", type=int)
    result.add_argument("--seconds", type=float, default=2.0)
    result.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    result.add_argument("--threads", type=int)
    result.add_argument("--serve", action="store_true")
    return result


def main():
    arguments = parser().parse_args()
    if not arguments.serve and not arguments.work:
        parser().error("name a work, or --serve")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device here; use --device cpu")
    peer = Peer(arguments.device, arguments.threads)
    if not arguments.serve:
        print(json.dumps(peer.answer(arguments)))
        return
    versions = {"pytorch": torch.__version__, "torchaudio": torchaudio.__version__, "python": platform.python_version()}
    print(json.dumps({"ready": True, "threads": torch.get_num_threads(), "versions": versions}), flush=True)
    for line in sys.stdin:
        try:
            reply = peer.answer(parser().parse_args(shlex.split(line)))
        except Exception as error:  # noqa: BLE001: the driver shows it and goes on with the other rows
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
