#!/usr/bin/env python3
"""A long recording with known hums in it, and how many of them `humdinger predict` finds.

    tools/long_recording.py make --data hummed-songs --out long [--people even] [--seed 1] [--minutes 120] [--hums 54]
    humdinger train --data long/train.csv --out long/run
    tools/long_recording.py measure --out long --model long/run/model.safetensors [-- --overlap 0.75 ..]

`make` holds people back until there are enough clips by them (named S<person>_<style>_<take>_<Song>.wav, WAV files of one rate, mono),
writes the clips of everybody else as train.csv, and long.wav, in which each clip of those held back is heard once: 16 kHz, 16 bits,
mono. Between and under them there are noise of several colours, mains hum, knocks, words read by espeak-ng, and a voice made here of which
no word can be understood. truth.csv says where each hum lies, background.csv what is between them. All of it depends on the seed alone.
Needs numpy and espeak-ng.

`measure` runs predict and holds its passages against truth.csv. A hum is found where a passage of its song covers at least half of
it; a passage is false where it covers no half of a hum of its song; a further passage on a hum that is found counts as broken.
"""

import argparse
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import wave

import numpy as np

RATE = 16_000


def read(path):
    with wave.open(str(path), "rb") as file:
        raw, width, rate = file.readframes(file.getnframes()), file.getsampwidth(), file.getframerate()
        if file.getnchannels() != 1 or width not in (1, 2):
            sys.exit(f"{path}: only mono of 8 or 16 bits is expected")
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128, rate
    return np.frombuffer(raw, "<i2").astype(np.float64) / 32768, rate


def resample(samples, rate):
    """To RATE, by its spectrum; in whole seconds, whose lengths a Fourier transform is quick at."""
    seconds = -(-len(samples) // rate)
    spectrum = np.fft.rfft(samples, seconds * rate)
    wanted = np.zeros(seconds * RATE // 2 + 1, complex)
    kept = min(len(spectrum), len(wanted))
    wanted[:kept] = spectrum[:kept]
    return np.fft.irfft(wanted, seconds * RATE)[: round(len(samples) * RATE / rate)] * RATE / rate


def coloured(draws, count, slope):
    """Noise whose power falls by 1 / f^slope, of effective value 1."""
    whole = -(-count // RATE) * RATE
    spectrum = np.fft.rfft(draws.standard_normal(whole))
    frequency = np.maximum(np.fft.rfftfreq(whole, 1 / RATE), 20)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), whole)[:count]
    return noise / max(noise.std(), 1e-12)


VOWELS = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410), (490, 1350, 1690)]


def smooth(draws, count, rate, hertz):
    """A curve that changes so many times a second, of effective value 1."""
    knots = draws.standard_normal(int(count / rate * hertz) + 4)
    return np.interp(np.arange(count) / rate * hertz, np.arange(len(knots)), knots)


def made_speech(draws, count):
    """A voice of which no word can be understood, of effective value 1: phrases of syllables with pauses between, a pitch that wanders
    and falls in each phrase, formants that glide from vowel to vowel, hisses."""
    rate = RATE // 2
    length = count // 2 + 1
    level, hiss, fall = np.zeros(length), np.zeros(length), np.zeros(length)
    formants = np.zeros((3, length))
    at = 0
    while at < length:
        phrase, begin = draws.integers(4, 16), at
        vowel = VOWELS[draws.integers(len(VOWELS))]
        for _ in range(phrase):
            size, gap = int(rate * draws.uniform(0.07, 0.22)), int(rate * draws.uniform(0.02, 0.11))
            after = VOWELS[draws.integers(len(VOWELS))]
            end = min(at + size, length)
            level[at:end] = (np.sin(np.pi * np.linspace(0, 1, size)) ** 0.6 * draws.uniform(0.4, 1))[: end - at]
            for k in range(3):
                formants[k, at : min(end + gap, length)] = np.linspace(vowel[k], after[k], size + gap)[: min(end + gap, length) - at]
            if draws.random() < 0.5:
                tail = min(end + gap, length)
                hiss[end:tail] = np.hanning(gap)[: tail - end] * draws.uniform(0.05, 0.3)
            vowel, at = after, min(at + size + gap, length)
            if at >= length:
                break
        fall[begin:at] = np.linspace(0.12, -0.15, max(at - begin, 1))
        at += int(rate * draws.uniform(0.15, 1.5))
    pitch = draws.uniform(90, 220) * 2 ** (fall + 0.12 * smooth(draws, length, rate, 4) + 0.01 * smooth(draws, length, rate, 60))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(length)
    for harmonic in range(1, int(3800 / pitch.min())):
        hz = harmonic * pitch
        gain = sum(1 / (1 + ((hz - f) / (60 + 0.05 * f)) ** 2) / (1 + k) for k, f in enumerate(formants))
        voice += np.where(hz < 3900, gain, 0) * np.sin(harmonic * phase) / harmonic**0.5
    sound = voice * level / max(voice.std(), 1e-9) + hiss * np.diff(draws.standard_normal(length + 1))
    sound = resample(sound, rate)[:count]
    return sound / max(sound.std(), 1e-12)


WORDS = (
    "the of river mountain people singing yesterday house they would have been walking slowly towards a green light while "
    "children played under old trees and nobody remembered what teacher said about numbers weather bread water"
).split()


def read_out(draws, count):
    """Words read by espeak-ng in one of many voices, of effective value 1."""
    language = draws.choice("en-us en-gb de fr it es pt ru pl sv nl tr".split())
    voice = draws.choice("m1 m2 m3 m4 f1 f2 f3 f4".split())
    speed, pitch, seconds = draws.integers(110, 190), draws.integers(20, 80), count / RATE
    text = " ".join(draws.choice(WORDS, size=int(4 * seconds) + 8))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "words.wav"
        command = ["espeak-ng", "-v", f"{language}+{voice}", "-s", str(speed), "-p", str(pitch), "-w", str(path), text]
        subprocess.run(command, check=True)
        sound = resample(*read(path))
    sound = np.resize(sound, count)
    return sound / max(sound.std(), 1e-12)


def make(arguments):
    if not shutil.which("espeak-ng"):
        sys.exit("espeak-ng is not installed; it reads the words that are spoken in the recording")
    data, out = pathlib.Path(arguments.data), pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    clips = sorted(data.glob("S*_*_*_*.wav"))
    by_person = {}
    for clip in clips:
        by_person.setdefault(clip.stem.split("_")[0], []).append(clip)
    draws = np.random.default_rng(arguments.seed)
    people = sorted(person for person in by_person if arguments.people in ("all", ["even", "odd"][int(person[1:]) % 2]))
    draws.shuffle(people)
    held, taken = [], set()
    for person in people:
        if len(held) < arguments.hums:
            held += by_person[person]
            taken.add(person)
    if len(held) < arguments.hums:
        sys.exit(f"{data}: {len(held)} clips of such people, and {arguments.hums} are asked for")
    draws.shuffle(held)
    held = held[: arguments.hums]
    with open(out / "train.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "song", "person"])
        for clip in clips:
            person, _, _, song = clip.stem.split("_")
            if person not in taken:
                rows.writerow([clip.resolve(), song, person])

    if arguments.sounds is not None:
        draws = np.random.default_rng([arguments.seed, arguments.sounds])
    count = int(60 * arguments.minutes * RATE)
    sound = np.zeros(count)
    # Stretches of background, each of a kind and a loudness of its own; none is silent.
    at, stretches = 0, []
    while at < count:
        length = min(int(RATE * draws.uniform(5, 40)), count - at)
        kind = draws.choice(["noise", "words", "voice", "mains", "knocks"], p=[0.3, 0.25, 0.2, 0.1, 0.15])
        part = 0.004 * draws.uniform(0.3, 2) * coloured(draws, length, draws.uniform(0, 2))
        t = np.arange(length) / RATE
        if kind == "words":
            part += draws.uniform(0.03, 0.12) * read_out(draws, length)
        elif kind == "voice":
            part += draws.uniform(0.03, 0.12) * made_speech(draws, length)
        elif kind == "noise":
            part += draws.uniform(0.01, 0.1) * coloured(draws, length, draws.uniform(0, 2))
        elif kind == "mains":
            base = draws.choice([50, 60])
            part += draws.uniform(0.005, 0.03) * sum(np.sin(2 * np.pi * base * k * t) / k for k in range(1, 12))
        else:
            for _ in range(int(length / RATE * draws.uniform(0.5, 3))):
                where, size = draws.integers(0, max(length - 4000, 1)), draws.integers(400, 4000)
                size = min(size, length - where)
                ring = np.exp(-np.arange(size) / draws.uniform(60, 600)) * draws.standard_normal(size)
                part[where : where + size] += draws.uniform(0.05, 0.4) * ring
        fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.05 * RATE))
        sound[at : at + length] += part * fade
        stretches.append((f"{at / RATE:.3f}", f"{(at + length) / RATE:.3f}", kind))
        at += length
    with open(out / "background.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["start", "end", "kind"])
        rows.writerows(stretches)

    # The hums: one in each of as many equal stretches, anywhere in it, so that each lies otherwise to the windows. Under them
    # the background goes on, 20 dB below; around them it fades for a quarter of a second, as when somebody begins to sing.
    room = count // len(held)
    truth = []
    for i, clip in enumerate(held):
        samples = resample(*read(clip))
        samples = samples - samples.mean()
        samples *= draws.uniform(0.05, 0.2) / max(samples.std(), 1e-9)
        start = i * room + int(draws.integers(0, room - len(samples)))
        here = slice(start, start + len(samples))
        background = sound[here]
        wanted = 0.1 * samples.std()
        ramp = np.minimum(1, np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) / (0.25 * RATE))
        quieter = min(1, wanted / max(background.std(), 1e-9))
        sound[here] = background * (1 + (quieter - 1) * ramp) + samples
        truth.append((start / RATE, (start + len(samples)) / RATE, clip.stem.split("_")[3], clip.name))
    with open(out / "truth.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["start", "end", "song", "clip"])
        rows.writerows((f"{a:.3f}", f"{b:.3f}", song, name) for a, b, song, name in truth)
    with wave.open(str(out / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).round().astype("<i2").tobytes())
    print(f"{out / 'long.wav'}: {count / RATE / 60:.0f} minutes, {len(held)} hums by {len(taken)} people who are not in train.csv")


def measure(arguments):
    out = pathlib.Path(arguments.out)
    with open(out / "truth.csv", newline="") as file:
        truth = [(float(row["start"]), float(row["end"]), row["song"], row["clip"]) for row in csv.DictReader(file)]
    command = [arguments.humdinger, "predict", "--model", arguments.model, str(out / "long.wav"), "--format", "json"]
    begin = time.time()
    told = subprocess.run(command + arguments.more, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds = time.time() - begin
    passages = json.loads(told)[0]["passages"]
    found, broken, false, offsets = {}, 0, [], []
    for passage in passages:
        start, end, song = passage["start"], passage["end"], passage["song"]
        covers = [
            i
            for i, (a, b, name, _) in enumerate(truth)
            if name == song and min(b, end) - max(a, start) >= 0.5 * (b - a)
        ]
        if not covers:
            false.append((start, end, song, passage["confidence"]))
        for i in covers:
            broken += i in found
            found[i] = passage
            offsets += [abs(start - truth[i][0]), abs(end - truth[i][1])]
    for i, (a, b, song, name) in enumerate(truth):
        if i not in found:
            near = [p for p in passages if p["start"] < b and p["end"] > a]
            said = ", ".join(f"{p['song']} {p['start']:.1f} to {p['end']:.1f}" for p in near) or "nothing"
            print(f"not found: {name} at {a:.1f} s; there: {said}")
    for start, end, song, confidence in false:
        print(f"false: {song} {100 * confidence:.0f} % from {start:.1f} to {end:.1f} s")
    print(
        f"{len(found)} of {len(truth)} hums found, {len(false)} false passages, {broken} broken; starts and ends are off by "
        f"{np.median(offsets) if offsets else 0:.1f} s (median), {np.percentile(offsets, 90) if offsets else 0:.1f} s (nine in ten); "
        f"{seconds:.0f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--data", required=True)
    making.add_argument("--out", required=True)
    making.add_argument("--seed", type=int, default=1)
    making.add_argument("--sounds", type=int, help="another seed for what is between the hums and where they lie, with the same people")
    making.add_argument("--people", choices=["all", "even", "odd"], default="all", help="whose hums: even numbers to choose on, odd ones to report")
    making.add_argument("--minutes", type=float, default=120)
    making.add_argument("--hums", type=int, default=54)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--out", required=True)
    measuring.add_argument("--model", required=True)
    measuring.add_argument("--humdinger", default="target/release/humdinger")
    measuring.add_argument("more", nargs="*", help="further options of predict, behind --")
    arguments = parser.parse_args()
    make(arguments) if arguments.command == "make" else measure(arguments)


if __name__ == "__main__":
    main()
