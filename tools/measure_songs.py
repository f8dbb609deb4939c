#!/usr/bin/env python3
"""How many recordings `humdinger identify` names rightly: among the songs that were sung alone, and among 2 000 folk songs more.

    tools/measure_songs.py --midi FOLDER --recordings FOLDER.. [--essen FOLDER] [--humdinger target/release/humdinger]

MIDI files carry the songs' names; recordings are named S<person>_<style>_<take>_<Song>. The folk songs are those of the Essen
collection that PyPI's `music21` carries, for measuring only: without --essen, pip fetches it into a folder that is removed
afterwards. Everything is chosen on people with even numbers; those with odd numbers tell how well it was chosen. Folk songs that are the
same tunes as MIDI files are left out (--without): those that fit the written notes better than 95 of 100 recordings of the right song do.
"""

import argparse
import collections
import glob
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import zipfile

# Of Augustin, of Song00043 and of Twinkle.
SAME = """erk20:356 boehme10:208 boehme10:209 dva0:160 erk10:606 erk30:454 erk30:703 fink0:289 fink0:312
ballad50:169 ballad50:170 erk30:335 erk30:336 kinder0:20 kinder0:185 lux:506""".split()


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}")
    return done.stdout


def essen(folder):
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "music21")
    with zipfile.ZipFile(glob.glob(os.path.join(folder, "music21-*.whl"))[0]) as wheel:
        for name in wheel.namelist():
            if "corpus/essenFolksong/" in name and name.endswith(".abc"):
                (pathlib.Path(folder) / "essen").mkdir(exist_ok=True)
                (pathlib.Path(folder) / "essen" / pathlib.Path(name).name).write_bytes(wheel.read(name))
    return os.path.join(folder, "essen")


def ids(humdinger, catalogue):
    return [line.split("\t")[0] for line in run(humdinger, "catalogue", "list", catalogue).splitlines()[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--midi", required=True)
    parser.add_argument("--recordings", required=True, nargs="+")
    parser.add_argument("--essen", help="folder of the collection's ABC files")
    parser.add_argument("--humdinger", default="target/release/humdinger")
    parser.add_argument("--among", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=SAME)
    options = parser.parse_args()
    humdinger = options.humdinger
    with tempfile.TemporaryDirectory() as scratch:
        folk = options.essen or essen(scratch)
        alone, among = os.path.join(scratch, "alone.cat"), os.path.join(scratch, "among.cat")
        run(humdinger, "catalogue", "make", options.midi, "--out", alone)
        songs = ids(humdinger, alone)
        run(humdinger, "catalogue", "make", folk, "--out", among)
        others = [song for song in ids(humdinger, among) if song not in options.without]
        random.Random(options.seed).shuffle(others)
        unwanted = sorted(set(ids(humdinger, among)) - set(others[: options.among]))
        if unwanted:
            run(humdinger, "catalogue", "remove", among, *unwanted)
        run(humdinger, "catalogue", "add", among, options.midi)

        def answers(catalogue):
            start = time.monotonic()
            lines = run(humdinger, "identify", "--catalogue", catalogue, "--top", "60", "--format", "jsonl", *options.recordings)
            found = [json.loads(line) for line in lines.splitlines()]
            print(f"# {len(found)} recordings in {time.monotonic() - start:.1f} s, pitch included", file=sys.stderr)
            return found

        def person_and_song(answer):
            fields = pathlib.Path(answer["file"]).stem.split("_")
            return int(fields[0][1:]), fields[-1]

        print("| catalogue | people | recordings | top 1 | top 10 | MRR | known songs turned away |")
        print("|---|---|---|---|---|---|---|")
        for what, catalogue in [(f"{len(songs)} songs", alone), (f"{len(songs)} + {options.among} songs", among)]:
            sums = collections.defaultdict(lambda: [0, 0, 0, 0.0, 0])
            for answer in answers(catalogue):
                person, song = person_and_song(answer)
                named = [candidate["id"] for candidate in answer["candidates"]]
                place = named.index(song) + 1 if song in named else None
                of = sums["odd" if person % 2 else "even"]
                of[0] += 1
                of[1] += place == 1
                of[2] += place is not None and place <= 10
                of[3] += 1 / place if place else 0
                of[4] += answer["unknown"]
            for people, (count, first, ten, reciprocal, unknown) in sorted(sums.items()):
                shares = [100 * n / count for n in (first, ten)]
                print(f"| {what} | {people} | {count} | {shares[0]:.1f} % | {shares[1]:.1f} % | {reciprocal / count:.3f} | {100 * unknown / count:.1f} % |")

        print("\n| half of the songs left out, in turn | people | known turned away | unknown named |")
        print("|---|---|---|---|")
        sums = collections.defaultdict(lambda: [0, 0, 0, 0])
        for part in (0, 1):
            half = os.path.join(scratch, f"half{part}.cat")
            run(humdinger, "catalogue", "make", options.midi, "--out", half)
            run(humdinger, "catalogue", "remove", half, *songs[part::2])
            for answer in answers(half):
                person, song = person_and_song(answer)
                of = sums["odd" if person % 2 else "even"]
                if song in songs[part::2]:
                    of[2] += 1
                    of[3] += not answer["unknown"]
                else:
                    of[0] += 1
                    of[1] += answer["unknown"]
        for people, (known, away, unknown, named) in sorted(sums.items()):
            print(f"| {len(songs) // 2} songs | {people} | {100 * away / known:.1f} % | {100 * named / unknown:.1f} % |")


if __name__ == "__main__":
    main()
