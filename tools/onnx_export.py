#!/usr/bin/env python3
"""Hold the ONNX files that `humdinger export --onnx` writes against the program itself.

    tools/onnx_export.py [--release | --program FILE] [--time]

Exports the base model (recipe melody) and a model of the recipe notebook that is trained here for an epoch on recordings that
`humdinger synth` makes. Each file passes onnx.checker with the inference of shapes, and its metadata says what the model is. Then 100
clips (sung, whistled, noise, silence; shorter and longer than the window) are heard by `humdinger predict` on the CPU and
`humdinger embed`, and by onnxruntime: probabilities must lie within 1e-4 of each other, and of the base model's vectors. The same clips in
batches of other sizes must give the same. README's lines for ONNX are run as they stand. Prints the largest differences; with --time also sizes and times. Makes a
virtual environment with the pinned packages beside the build's other results.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import wave

import own_environment

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = [
    "flatbuffers==25.12.19",
    "ml_dtypes==0.6.0",
    "numpy==2.4.6",
    "onnx==1.19.0",
    "onnxruntime==1.32.0",
    "packaging==26.4",
    "protobuf==7.36.2",
    "typing_extensions==4.16.0",
]
TOLERANCE = 1e-4
# What one clip gives alone and among others.
AMONG_OTHERS = 2e-6
# Clips of one length are heard together: as many as that at a time.
BATCHES = [1, 2, 7]


def program(release):
    """The program, built."""
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "humdinger", *["--release"][: release]], cwd=ROOT, check=True)
    return own_environment.target() / ("release" if release else "debug") / "humdinger"


def run(*command):
    """What a command says; its warnings are shown only where it fails."""
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{command[1]}: {done.stderr}")
    return done.stdout


def read_recording(path):
    """A 16-bit recording as numbers [channels, samples], and its rate."""
    import numpy as np

    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return (data.T / 32768).astype(np.float32), file.getframerate()


def write_recording(path, samples, rate):
    """Samples [channels, samples] as 32-bit floats, so that what is read is what was written."""
    data = samples.T.astype("<f4").tobytes()
    channels = len(samples)
    form = struct.pack("<HHIIHH", 3, channels, rate, 4 * channels * rate, 4 * channels, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def clips(recordings, rate, channels, window, first_only):
    """100 clips [channels, samples] at a model's rate, ten of each of ten lengths."""
    import numpy as np

    rng = np.random.default_rng(1)
    # Longer than the window only where the program hears the first window alone, as the file does.
    lengths = [0.2, 0.3, 0.45, 0.5, 0.61, 0.75, 0.9, 0.999, 1.0, 1.3 if first_only else 0.35]
    made = []
    for number in range(100):
        samples, at = read_recording(recordings[number % len(recordings)])
        length = int(lengths[number // 10] * window)
        # Linear interpolation is as good a clip as any: both sides hear what comes of it.
        times = np.arange(length) * at / rate % (samples.shape[1] - 1)
        heard = np.stack([np.interp(times, np.arange(samples.shape[1]), channel) for channel in samples])
        heard = heard[:1] if channels == 1 else heard[[0, -1]]
        kind = number % 10
        if kind == 7:
            heard = rng.normal(0, 0.1, heard.shape)
        if kind == 8:
            heard = np.zeros(heard.shape)
        if kind == 9:
            heard = heard + rng.normal(0, 0.01, heard.shape)
        made.append(heard.astype(np.float32))
    return made


def metadata(model):
    return {entry.key: entry.value for entry in model.metadata_props}


def check(program, name, model, folder, recordings, first_only, timed):
    """Everything of one model. Returns what is wrong, if anything."""
    import numpy as np
    import onnx
    import onnxruntime

    arguments = ["--model", model] if model else []
    file = folder / f"{name}.onnx"
    print(run(program, "export", "--onnx", file, *arguments).strip())
    loaded = onnx.load(file)
    onnx.checker.check_model(loaded, full_check=True)
    facts = metadata(loaded)
    songs, rate = json.loads(facts["songs"]), int(facts["sample_rate"])
    channels, window = int(facts["channels"]), int(facts["window"])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    heard = clips(recordings, rate, channels, window, first_only)
    paths = [folder / name / f"{number:03}.wav" for number in range(len(heard))]
    paths[0].parent.mkdir()
    for path, samples in zip(paths, heard):
        write_recording(path, samples, rate)
    said = run(program, "predict", *arguments, "--device", "cpu", "--passages", "never", "--format", "json", "--top", len(songs), *paths)
    answers = {pathlib.Path(answer["file"]).name: answer for answer in json.loads(said)}
    wanted = np.array([[dict((top["song"], top["probability"]) for top in answers[path.name]["top"])[song] for song in songs] for path in paths])
    no_songs = {songs[output] for output in json.loads(facts["no_songs"])}
    for answer in answers.values():
        best = answer["top"][0]
        assert (answer["decision"] == "no song") == (best["song"] in no_songs and best["probability"] > 0), answer
    assert all(abs(answer["threshold"] - float(facts["threshold"])) < 1e-9 for answer in answers.values()), "the threshold"

    wrong, made, vectors, apart = [], [], [], 0.0
    for start in range(0, 100, 10):
        group, at = np.stack(heard[start : start + 10]), 0
        alone = [session.run(None, {"samples": clip[None]}) for clip in group]
        for size in BATCHES:
            outputs = session.run(None, {"samples": group[at : at + size]})
            for one, several in zip(zip(*alone[at : at + size]), outputs):
                apart = max(apart, float(np.abs(np.concatenate(one) - several).max() / max(1.0, np.abs(several).max())))
            at += size
            made.append(outputs[0])
            vectors.append(outputs[3])
    made, vectors = np.concatenate(made), np.concatenate(vectors)
    off = np.abs(made - wanted).max()
    print(f"{name}: onnx.checker passes; probabilities of 100 clips differ by {off:.1e} at most, in batches by {apart:.1e}")
    if not off <= TOLERANCE:
        wrong.append(f"{name}: probabilities differ by {off}")
    if not apart <= AMONG_OTHERS:
        wrong.append(f"{name}: a clip alone and in a batch differ by {apart}")
    distinct = len({int(row.argmax()) for row in wanted if row.max() > 0})
    if distinct < 2:
        wrong.append(f"{name}: {distinct} songs are named in all clips; that compares nothing")
    if model is None:
        model = ROOT / "models/base.safetensors"
    lines = run(program, "embed", "--model", model, "--device", "cpu", "--format", "jsonl", *paths).splitlines()
    theirs = np.array([json.loads(line)["vector"] for line in lines])
    scale = np.abs(theirs).max()
    off = np.abs(vectors[:, 0] - theirs).max() / scale
    print(f"{name}: vectors differ by {off:.1e} of the largest number at most")
    if not off <= TOLERANCE:
        wrong.append(f"{name}: vectors differ by {off}")
    if timed:
        times(program, name, session, model, file, heard[80][None], options)
    return wrong


def times(program, name, session, model, file, samples, options):
    """Sizes, and milliseconds for one window on one thread and on all."""
    import onnxruntime

    print(f"{name}: {file.stat().st_size / 1e6:.2f} MB, {model.stat().st_size / 1e6:.2f} MB as safetensors")
    for threads in (1, 0):
        options.intra_op_num_threads = threads
        started = time.perf_counter()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        opened = time.perf_counter() - started
        best = float("inf")
        for _ in range(30):
            started = time.perf_counter()
            session.run(None, {"samples": samples})
            best = min(best, time.perf_counter() - started)
        print(f"{name}: onnxruntime on {threads or 'all'} thread(s): opened in {1e3 * opened:.0f} ms, a window in {1e3 * best:.1f} ms")


def readme(program, folder, recordings):
    """Runs README's lines for ONNX, as they stand there. Returns what is wrong, if anything."""
    import contextlib

    import numpy as np
    import onnx
    import onnxruntime

    rows = (ROOT / "README.md").read_text().split("## Use it from")[1].splitlines()
    [row] = [line.removeprefix("| ONNX | ") for line in rows if line.startswith("| ONNX | ")]
    export, *python = [line.strip("`") for line in row.split(" | ")[0].split("<br>")]
    with contextlib.chdir(folder):
        run(program, *export.removeprefix("humdinger ").split())
        facts = metadata(onnx.load("tunes.onnx"))
        samples, rate = read_recording(recordings[0])
        assert rate == int(facts["sample_rate"]) and int(facts["channels"]) == 1, (rate, facts)
        names = {"onnxruntime": onnxruntime, "samples": samples[None, :1]}
        for line in python:
            exec(line, names)
    songs, sung = json.loads(facts["songs"]), recordings[0].stem.split("_")[-1]
    named = songs[int(np.argmax(names["probabilities"][0]))]
    print(f"README's lines: {recordings[0].name} is {named}")
    return [] if named == sung else [f"README's lines name {sung} {named}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="store_true", help="build the program optimised")
    parser.add_argument("--program", type=pathlib.Path, help="this program, instead of building one")
    parser.add_argument("--time", action="store_true", help="print sizes and times, too")
    arguments = parser.parse_args()
    own_environment.enter("onnx-export", REQUIREMENTS, __file__)

    humdinger = arguments.program or program(arguments.release)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        songs = "Twinkle,Greensleeves,YankeeDoodle,BrotherJohn"
        run(humdinger, "synth", "--out", folder / "data", "--singers", 10, "--tunes", songs, "--seconds", 4)
        recordings = sorted((folder / "data").rglob("*.wav"))
        train = ["train", "--recipe", "notebook", "--data", folder / "data", "--epochs", 1, "--device", "cpu", "--out", folder / "run"]
        run(humdinger, *train)
        wrong = []
        for name, model, first_only in [("melody", None, False), ("notebook", folder / "run/model.safetensors", True)]:
            wrong += check(humdinger, name, model, folder, recordings, first_only, arguments.time)
        wrong += readme(humdinger.resolve(), folder, recordings)
    for what in wrong:
        print(what, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
