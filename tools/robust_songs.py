#!/usr/bin/env python3
"""What `humdinger identify` survives: recordings of people in other keys, tempos and voices, cut short, with wrong notes, over a telephone.

    tools/robust_songs.py --midi FOLDER --catalogue songs.cat --recordings FOLDER.. [--every 8] [--humdinger target/release/humdinger]

The catalogue holds the songs of the MIDI files, and others beside them (tools/measure_songs.py says from where). Recordings are named
S<person>_<style>_<take>_<Song>; every eighth of the people with even numbers is taken (--people odd: of the others). Each is changed by
`sox`, which has to be installed. Whistles, and songs that are begun with any phrase, are by synthetic singers (`humdinger synth`).
--keep FOLDER leaves what was heard there, a folder for each change.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

# Effects of sox; "rate" keeps 8 kHz, "dither" is off (-D), so that the same comes out every time.
CHANGES = {
    "as recorded": [],
    "in another key: a fourth up": ["pitch", "500"],
    "in another key: a fifth down": ["pitch", "-700"],
    "a child's voice: formants up by a third, an octave up": ["speed", "1.3", "tempo", "-s", "0.769", "pitch", "746"],
    "a deep man's voice: formants and pitch down by a third": ["speed", "0.77", "tempo", "-s", "1.299"],
    "slower: x 0.7": ["tempo", "-m", "0.7", "trim", "0", "8"],
    "faster: x 1.4": ["tempo", "-m", "1.4"],
    "the first 5 s alone": ["trim", "0", "5"],
    "the first 3 s alone": ["trim", "0", "3"],
    "over a telephone": ["sinc", "300-3400", "gain", "-6"],
    "faint, 40 dB down": ["gain", "-40"],
    "too loud, clipped by 12 dB": ["gain", "12"],
}


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}")
    return done.stdout


def changed(source, target, effects):
    run("sox", "-D", "-G" if effects[:2] != ["gain", "12"] else "-V1", source, "-r", "8000", "-b", "16", "-c", "1", target, *effects)


def noisy(source, target, scratch, decibels):
    """With pink noise so many decibels below the recording."""
    level = [line.split()[-1] for line in subprocess.run(["sox", source, "-n", "stat"], stderr=subprocess.PIPE, text=True).stderr.splitlines() if line.startswith("RMS     amplitude")]
    noise = os.path.join(scratch, "noise.wav")
    loud = float(level[0]) * 10 ** (-decibels / 20)
    # Pink noise of sox at full gain has an RMS of about 0.12.
    run("sox", "-D", "-R", "-n", "-r", "8000", "-b", "16", "-c", "1", noise, "synth", "8", "pinknoise", "vol", f"{loud / 0.12:.5f}")
    run("sox", "-D", "-m", "-v", "0.7", source, "-v", "0.7", noise, "-r", "8000", "-b", "16", "-c", "1", target, "trim", "0", "8")


def wrong_notes(source, target, scratch, semitones, chance):
    """Half a second at a time, some of them sung a tone or two too high or too low."""
    pieces = []
    for i in range(16):
        piece = os.path.join(scratch, f"piece{i}.wav")
        effects = ["trim", f"{0.5 * i}", "0.5"]
        if chance.random() < 1 / 8:
            effects += ["pitch", str(chance.choice([-100, 100]) * semitones)]
        run("sox", "-D", source, "-r", "8000", "-b", "16", "-c", "1", piece, *effects)
        pieces.append(piece)
    run("sox", "-D", *pieces, target)


def recordings(folders, every, odd):
    files = sorted(path for folder in folders for path in pathlib.Path(folder).iterdir() if path.suffix in (".wav", ".flac"))
    return [path for path in files if int(path.stem.split("_")[0][1:]) % 2 == odd][::every]


def make(options, scratch):
    """Folders of what is to be heard, by what was changed, and what identify is told beside them."""
    files = recordings(options.recordings, options.every, options.people == "odd")
    folders = {}

    def folder(name):
        path = os.path.join(options.keep or scratch, "".join(c if c.isalnum() else "-" for c in name))
        os.makedirs(path)
        return path

    for name, effects in CHANGES.items():
        folders[name] = (folder(name), [])
        for file in files:
            changed(file, os.path.join(folders[name][0], file.stem + ".wav"), effects)
    for decibels in (20, 10, 5):
        name = f"in pink noise, {decibels} dB below"
        folders[name] = (folder(name), [])
        for file in files:
            noisy(file, os.path.join(folders[name][0], file.stem + ".wav"), scratch, decibels)
    chance = random.Random(1)
    name = "about two wrong notes, by a tone"
    folders[name] = (folder(name), [])
    for file in files:
        wrong_notes(file, os.path.join(folders[name][0], file.stem + ".wav"), scratch, 2, chance)
    synth = ["synth", "-q", "--tunes", options.midi, "--singers", str(options.singers), "--seconds", "8", "--channels", "mono"]
    for name, more, told in [
        ("synthetic singers hum", ["--styles", "hum", "--anywhere", "0"], []),
        ("synthetic singers whistle", ["--styles", "whistle", "--anywhere", "0"], []),
        ("synthetic singers hum from any phrase, with --anywhere", ["--styles", "hum", "--anywhere", "1"], ["--anywhere"]),
    ]:
        folders[name] = (folder(name), told)
        os.rmdir(folders[name][0])
        run(options.humdinger, *synth, *more, "--out", folders[name][0])
    return folders


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--midi", required=True)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--recordings", required=True, nargs="+")
    parser.add_argument("--humdinger", default="target/release/humdinger")
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--people", choices=["even", "odd"], default="even")
    parser.add_argument("--singers", type=int, default=4)
    parser.add_argument("--keep")
    options = parser.parse_args()
    if shutil.which("sox") is None:
        sys.exit("sox is not installed; recordings are changed by it")
    with tempfile.TemporaryDirectory() as scratch:
        print("| | recordings | top 1 | top 10 | turned away |\n|---|---|---|---|---|")
        for name, (folder, told) in make(options, scratch).items():
            command = [options.humdinger, "identify", "--catalogue", options.catalogue, "--top", "10", "--format", "jsonl", *told, folder]
            answers = [json.loads(line) for line in run(*command).splitlines()]
            places = [[c["id"] for c in answer["candidates"]] for answer in answers]
            songs = [pathlib.Path(answer["file"]).stem.split("_")[-1] for answer in answers]
            first = sum(ids[:1] == [song] for ids, song in zip(places, songs))
            ten = sum(song in ids for ids, song in zip(places, songs))
            away = sum(answer["unknown"] for answer in answers)
            print(f"| {name} | {len(answers)} | {100 * first / len(answers):.0f} % | {100 * ten / len(answers):.0f} % | {100 * away / len(answers):.0f} % |", flush=True)


if __name__ == "__main__":
    main()
