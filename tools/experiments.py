#!/usr/bin/env python3
"""Makes the numbers of RESULTS.md, with nothing but the program and Python's own library.

    tools/experiments.py WHAT --data hummed-songs --work runs/experiments [--seeds 1,2,3]

WHAT is one of: folds, notebook, few, base, none, default, anywhere, views, unknown, ablation, time. `--data` is a folder of recordings named
S<person>_<hum|whistle>_<take>_<Song>.wav. Every run's folder stays in `--work`; what is there already is not run again. Each
result is printed and added to results.jsonl there. `--program` names the program, `--device` where it computes,
`--people` whose recordings count: those of people with even numbers, on whom settings may be chosen, or with odd ones.
"""

import argparse
import collections
import csv
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
import wave
from array import array

NAME = re.compile(r"S(\d+)_(hum|whistle)_(\d+)_(\w+)\.wav$")
# Tunes of the synthesiser that are not among the recordings' songs.
OTHERS = "OdeToJoy,JingleBells,MaryLamb,AuldLangSyne,Greensleeves,OhSusanna,RowBoat,SilentNight,Saints,Clementine,DeckTheHalls,MyBonnie"
# Whose recordings count: see `--people`.
PEOPLE = "all"
Clip = collections.namedtuple("Clip", "path person style song")


def clips(folder):
    found = []
    for name in sorted(os.listdir(folder)):
        match = NAME.search(name)
        if match:
            person, style, _, song = match.groups()
            found.append(Clip(os.path.abspath(os.path.join(folder, name)), int(person), style, song))
    sides = {"all": [0, 1], "even": [0], "odd": [1]}[PEOPLE]
    found = [clip for clip in found if clip.person % 2 in sides]
    if not found:
        sys.exit(f"{folder} holds no recording named S<person>_<hum|whistle>_<take>_<Song>.wav")
    return found


class Lab:
    def __init__(self, args):
        self.args = args
        os.makedirs(args.work, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.args.work, *parts)

    def program(self, *arguments):
        done = subprocess.run([self.args.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, arguments))}\n{done.stderr}")
        return done.stdout

    def result(self, **entry):
        with open(self.path("results.jsonl"), "a") as file:
            file.write(json.dumps(entry) + "\n")
        print("  ".join(f"{key} {value}" for key, value in entry.items()), flush=True)

    def train(self, name, *arguments):
        """Trains into a folder of this name, where that has not been done; returns the folder and the seconds."""
        out, done = self.path(name), self.path(name + ".seconds")
        if not os.path.exists(done):
            shutil.rmtree(out, ignore_errors=True)
            start = time.time()
            self.program("train", "--device", self.args.device, "--out", out, *arguments)
            with open(done, "w") as file:
                file.write(str(time.time() - start))
        with open(done) as file:
            return out, float(file.read())

    def evaluate(self, model, data):
        return json.loads(self.program("evaluate", "--device", self.args.device, "--model", model, "--data", data, "--json"))

    def listing(self, name, chosen, side=None):
        """A CSV file that lists these clips; `side` gives the column `side` for `--split column:side`."""
        path = self.path(name + ".csv")
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "song", "person"] + (["side"] if side else []))
            for clip in chosen:
                writer.writerow([clip.path, clip.song, clip.person] + ([side(clip)] if side else []))
        return path

    def synth(self, name, *arguments):
        folder = self.path(name)
        if not os.path.isdir(folder):
            self.program("synth", "--out", folder, *arguments)
        return folder

    def config(self, key, value):
        """A configuration file with this one setting."""
        path = self.path(f"{key}.toml")
        with open(path, "w") as file:
            file.write(f"{key} = {value}\n")
        return path

    def confidences(self, model, paths):
        """(file, answer, confidence) of each sound file or of each in a folder."""
        text = self.program("predict", "--device", self.args.device, "--model", model, "--format", "csv", *paths)
        rows = list(csv.DictReader(text.splitlines()))
        return [(row["file"], row["prediction"], float(row["confidence"])) for row in rows]


def percent(values):
    values = [100 * value for value in values]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} +- {spread:.1f}"


def predictions(run):
    with open(os.path.join(run, "predictions.csv"), newline="") as file:
        return list(csv.DictReader(file))


def fold_runs(lab, seed, recipe="melody"):
    return lab.train(f"folds-{recipe}-seed{seed}", "--data", lab.args.data, "--recipe", recipe, "--folds", 5, "--seed", seed)


def fold_accuracies(run):
    with open(os.path.join(run, "folds.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    return [float(row["accuracy"]) for row in rows], [float(row["calibration_error"]) for row in rows]


def folds(lab, recipe="melody"):
    means = []
    for seed in lab.args.seeds:
        run, seconds = fold_runs(lab, seed, recipe)
        accuracies, errors = fold_accuracies(run)
        means.append(statistics.mean(accuracies))
        lab.result(what="folds", recipe=recipe, seed=seed, accuracy=percent(accuracies),
                   folds=[round(100 * a, 1) for a in accuracies], calibration_error=round(statistics.mean(errors), 3),
                   seconds=round(seconds))
    lab.result(what="folds", recipe=recipe, seeds=len(means), mean=percent(means))


def few(lab):
    """The first `count` clips of each song from people in a random order; tested on everybody else. Nothing validates, so that
    nothing of the test is seen."""
    everything = clips(lab.args.data)
    starts = {"plain": ["--init", "none"], "base": [], "tuned": from_model(pretrained(lab)), "other-tunes": from_model(pretrained_on_others(lab)),
              "default": from_model(default_run(lab, 1)[0])}
    for count in lab.args.counts:
        accuracies = {start: [] for start in starts}
        for seed in lab.args.seeds:
            chosen, rest = first_clips(everything, count, seed)
            if len({clip.song for clip in rest}) < len({clip.song for clip in chosen}):
                print(f"{count} clips a song, seed {seed}: too few people are left to test on")
                continue
            test = lab.listing(f"few-{count}-seed{seed}-test", rest)
            for start, more in starts.items():
                run, seconds = few_run(lab, count, seed, start, chosen, more)
                accuracy = lab.evaluate(os.path.join(run, "model.safetensors"), test)["accuracy"]
                accuracies[start].append(accuracy)
                lab.result(what="few", clips=count, seed=seed, start=start, people=len({clip.person for clip in chosen}),
                           train=len(chosen), test=len(rest), accuracy=round(100 * accuracy, 1), seconds=round(seconds))
        if accuracies["plain"]:
            lab.result(what="few", clips=count, seeds=len(accuracies["plain"]),
                       **{start: percent(values) for start, values in accuracies.items()})


def base(lab):
    """Few recordings, and four fifths of all, from the base model that comes with the program, with all defaults; and from nothing
    with `--nothing`. Seconds are those of the epochs, as the run's table has them."""
    everything = clips(lab.args.data)
    starts = {"base": []} | ({"nothing": ["--init", "none"]} if lab.args.nothing else {})
    for start, more in starts.items():
        for count in lab.args.counts:
            accuracies, seconds = [], []
            for seed in lab.args.seeds:
                chosen, rest = first_clips(everything, count, seed)
                test = lab.listing(f"{PEOPLE}-{count}-seed{seed}-test", rest)
                run, _ = few_run(lab, count, seed, f"{start}-{PEOPLE}", chosen, more)
                accuracies.append(lab.evaluate(os.path.join(run, "model.safetensors"), test)["accuracy"])
                seconds.append(epochs_took(run))
            lab.result(what="base", people=PEOPLE, start=start, clips_a_song=count, train=len(chosen), test=len(rest),
                       accuracy=percent(accuracies), each=[round(100 * a, 1) for a in accuracies],
                       training_seconds=[round(s, 1) for s in seconds])
        if PEOPLE == "all":
            for seed in lab.args.seeds:
                run, _ = lab.train(f"folds-{start}-seed{seed}", "--data", lab.args.data, "--folds", 5, "--seed", seed, *more)
                accuracies, _ = fold_accuracies(run)
                took = [epochs_took(os.path.join(run, f"fold-{fold}")) for fold in range(1, 6)]
                lab.result(what="base", start=start, folds=5, seed=seed, accuracy=percent(accuracies),
                           each=[round(100 * a, 1) for a in accuracies], training_seconds=round(statistics.mean(took), 1))


def epochs_took(run):
    with open(os.path.join(run, "epochs.csv"), newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def first_clips(everything, count, seed):
    """The first `count` clips of each song from people in a random order, and the clips of everybody else."""
    people = sorted({clip.person for clip in everything})
    random.Random(seed).shuffle(people)
    taken, chosen, used = collections.Counter(), [], set()
    for person in people:
        for clip in (clip for clip in everything if clip.person == person):
            if taken[clip.song] < count:
                taken[clip.song] += 1
                chosen.append(clip)
                used.add(person)
    return chosen, [clip for clip in everything if clip.person not in used]


def few_run(lab, count, seed, name, chosen, more):
    """Trains on these first clips, with nothing held back of them."""
    data = lab.listing(f"few-{count}-seed{seed}-train", chosen)
    return lab.train(f"few-{count}-seed{seed}-{name}", "--data", data, "--val-fraction", 0, "--seed", seed, *more)


def from_model(run):
    return ["--init", os.path.join(run, "model.safetensors"), "--learning-rate", 0.001]


def pretrained(lab, seed=1):
    """A model that knows the recordings' songs from synthetic singers alone."""
    return of_singers(lab, "singers", ",".join(sorted({clip.song for clip in clips(lab.args.data)})), seed)


def pretrained_on_others(lab, seed=1):
    """A model that knows other tunes than the recordings' songs, from synthetic singers."""
    return of_singers(lab, "other-singers", OTHERS, seed)


def of_singers(lab, name, tunes, seed):
    data = lab.synth(name, "--singers", 300, "--styles", "hum", "--channels", "mono", "--tunes", tunes)
    run, _ = lab.train(f"{name}-seed{seed}", "--data", data, "--epochs", lab.args.epochs, "--val-fraction", 0.05, "--seed", seed)
    return run


def none(lab):
    """Trained on synthetic singers alone, tried on the real ones; the singers may be tuned on the people with even numbers."""
    everything = clips(lab.args.data)
    sides = {"even": 0, "odd": 1} if lab.args.odd else {"even": 0}
    for seed in lab.args.seeds:
        model = os.path.join(pretrained(lab, seed), "model.safetensors")
        for side, rest in sides.items():
            data = lab.listing(side, [clip for clip in everything if clip.person % 2 == rest])
            metrics = lab.evaluate(model, data)
            recall = {song["name"]: round(100 * song["recall"]) for song in metrics["songs"]}
            lab.result(what="none", seed=seed, people=side, clips=metrics["clips"], accuracy=round(100 * metrics["accuracy"], 1),
                       songs=recall)


def default_run(lab, seed):
    """`train` without data."""
    return lab.train(f"default-seed{seed}", "--seed", seed)


def default(lab):
    """`train` without arguments; and hums only, tried on other people's whistles, and the other way round."""
    for seed in lab.args.seeds:
        run, seconds = default_run(lab, seed)
        by_style = collections.defaultdict(list)
        for row in predictions(run):
            by_style["whistle" if "_whistle_" in row["file"] else "hum"].append(row["truth"] == row["prediction"])
        right = sum(by_style.values(), [])
        lab.result(what="default", seed=seed, accuracy=round(100 * statistics.mean(right), 1), seconds=round(seconds),
                   **{style: round(100 * statistics.mean(values), 1) for style, values in by_style.items()})
    for heard, tried in [("hum", "whistle"), ("whistle", "hum")]:
        accuracies = []
        for seed in lab.args.seeds:
            data = lab.synth(f"only-{heard}", "--styles", heard, "--singers", 40)
            test = lab.synth(f"other-{tried}", "--styles", tried, "--singers", 10, "--first-person", 41)
            run, _ = lab.train(f"only-{heard}-seed{seed}", "--data", data, "--val-fraction", 0.1, "--seed", seed)
            accuracies.append(lab.evaluate(os.path.join(run, "model.safetensors"), test)["accuracy"])
        lab.result(what="default", trained_on=heard, tried_on=tried, accuracy=percent(accuracies))


def cut(source, target, seconds, begin):
    """Writes `seconds` of a WAV file from the share `begin` of what can be left out in front."""
    with wave.open(source) as file:
        length = min(file.getnframes(), int(seconds * file.getframerate()))
        file.setpos(int(begin * (file.getnframes() - length)))
        parameters, data = file.getparams(), file.readframes(length)
    with wave.open(target, "wb") as file:
        file.setparams(parameters)
        file.writeframes(data)


def anywhere(lab):
    """The fold models on their own validation clips, whole and cut to 4 s from a random point."""
    for seed in lab.args.seeds:
        whole_and_cut(lab, seed)


def parts_of(lab, everything):
    """The same clips cut to 4 s from a random point."""
    folder, dice, parts = self_made(lab, "cut-4s"), random.Random(4), []
    for clip in everything:
        begin, target = dice.random(), os.path.abspath(os.path.join(folder, os.path.basename(clip.path)))
        if not os.path.exists(target):
            cut(clip.path, target, 4, begin)
        parts.append(clip._replace(path=target))
    return parts


def whole_and_cut(lab, seed, one_view=False):
    everything = clips(lab.args.data)
    everything_cut = parts_of(lab, everything)
    run, _ = fold_runs(lab, seed)
    right, total = collections.Counter(), collections.Counter()
    for fold in range(1, 6):
        part = os.path.join(run, f"fold-{fold}")
        model, held = os.path.join(part, "model.safetensors"), {row["file"] for row in predictions(part)}
        if one_view:
            model = with_one_view(model, lab.path(f"one-view-seed{seed}-fold{fold}.safetensors"))
        for name, of in {"whole": everything, "cut": everything_cut}.items():
            chosen = [clip for clip in of if os.path.basename(clip.path) in held]
            metrics = lab.evaluate(model, lab.listing(f"{name}-{seed}-{fold}", chosen))
            right[name] += round(metrics["accuracy"] * metrics["clips"])
            total[name] += metrics["clips"]
    what = "views" if one_view else "anywhere"
    lab.result(what=what, seed=seed, **{name: round(100 * right[name] / total[name], 1) for name in right})


def views(lab):
    """The fold models with all their views, and looking at every clip only as it is."""
    for seed in lab.args.seeds:
        whole_and_cut(lab, seed)
        whole_and_cut(lab, seed, one_view=True)


def with_one_view(model, target):
    """A copy of a model file that has nothing but the plain view."""
    with open(model, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        tensors = file.read()
    told = json.loads(header["__metadata__"]["humdinger"])
    told["front_end"]["views"] = [{"shift": 0.0, "stretch": 1.0}]
    header["__metadata__"]["humdinger"] = json.dumps(told)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + tensors)
    return target


def self_made(lab, name):
    folder = lab.path(name)
    os.makedirs(folder, exist_ok=True)
    return folder


def write_sound(path, samples, rate=8000):
    loudest = max(1e-9, max(map(abs, samples)))
    data = array("h", (int(max(-1, min(1, x / max(1, loudest))) * 32767) for x in samples))
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(data.tobytes())


def noises(lab):
    """Hiss, rumble, bands, swelling hiss, steady tones and knocks, ten of each; and silence, digital and nearly so."""
    folder, dice = self_made(lab, "noise"), random.Random(6)
    for i in range(66):
        path, kind = os.path.join(folder, f"{i}.wav"), i // 10
        level, pitch, beat = 10 ** dice.uniform(-2, -0.1), math.exp(dice.uniform(4, 7.3)), dice.uniform(0.2, 4)
        slow, low, band, samples = 0.0, 0.0, 0.0, []
        for t in range(64_000):
            x = dice.gauss(0, 0.3)
            slow += 0.02 * (x - slow)
            low += 2 * math.sin(math.pi * min(pitch, 1500) / 8000) * band
            band += 2 * math.sin(math.pi * min(pitch, 1500) / 8000) * (x - low - 0.3 * band)
            tone = math.sin(2 * math.pi * pitch * t / 8000)
            knock = 3 * x if dice.random() < 3e-4 else 0.02 * x
            swell = x * (1 + math.sin(2 * math.pi * beat * t / 8000)) / 2
            faint = [0.0, dice.choice([0, 0, 0, 1]) / 32767 / level][i % 2]
            samples.append(level * [x, 5 * slow, band, swell, 0.5 * tone + 0.02 * x, knock, faint][kind])
        if not os.path.exists(path):
            write_sound(path, samples)
    return folder


def speech(lab):
    """Sentences by espeak-ng in many voices and languages, where it is installed."""
    folder, dice = self_made(lab, "speech"), random.Random(7)
    if not shutil.which("espeak-ng"):
        print("espeak-ng is not installed: no speech")
        return None
    words = ("the of river mountain people singing yesterday house they would have been walking slowly towards a green light while "
             "children played under old trees and nobody remembered what teacher said about numbers weather bread water").split()
    for i in range(60):
        language, voice = dice.choice("en-us en-gb de fr it es pt ru pl sv nl tr".split()), dice.choice("m1 m2 m3 m4 f1 f2 f3 f4".split())
        text, speed, pitch = " ".join(dice.choices(words, k=60)), dice.randint(110, 190), dice.randint(20, 80)
        path = os.path.join(folder, f"{i}.wav")
        if not os.path.exists(path):
            whole = path + ".whole"
            subprocess.run(["espeak-ng", "-v", f"{language}+{voice}", "-s", str(speed), "-p", str(pitch), "-w", whole, text], check=True)
            cut(whole, path, 8, 0)
            os.remove(whole)
    return folder


def unknown(lab):
    """At the threshold stored with each fold's model: how many clips of known songs by people never heard are turned away, and
    how much of what is none of the songs is taken for one. Then each song in turn is left out of the training, and tried."""
    everything, seed = clips(lab.args.data), lab.args.seeds[0]
    sets = {"noise": noises(lab), "speech": speech(lab),
            "other tunes": lab.synth("other-tunes", "--singers", 10, "--styles", "hum", "--first-person", 900, "--tunes", OTHERS)}
    run, _ = fold_runs(lab, seed)
    turned, wrong, taken, total = 0, 0, collections.Counter(), collections.Counter()
    for fold in range(1, 6):
        part = os.path.join(run, f"fold-{fold}")
        model = os.path.join(part, "model.safetensors")
        truth = {row["file"]: row["truth"] for row in predictions(part)}
        for file, answer, _ in lab.confidences(model, [os.path.join(lab.args.data, name) for name in truth]):
            total["known"] += 1
            turned += answer == "unknown"
            wrong += answer not in ("unknown", truth[os.path.basename(file)])
        for name, folder in sets.items():
            if folder:
                answers = [answer != "unknown" for _, answer, _ in lab.confidences(model, [folder])]
                taken[name] += sum(answers)
                total[name] += len(answers)
    share = lambda count, of: f"{100 * count / max(1, of):.1f}"
    lab.result(what="unknown", known_turned_away=share(turned, total["known"]), known_taken_for_another=share(wrong, total["known"]),
               **{name.replace(" ", "_") + "_taken": share(taken[name], total[name]) for name in sets if total[name]})
    counts = collections.Counter()
    for song in sorted({clip.song for clip in everything}):
        data = lab.listing(f"without-{song}", [clip for clip in everything if clip.song != song])
        run, _ = lab.train(f"without-{song}", "--data", data, "--seed", seed)
        model, held = os.path.join(run, "model.safetensors"), {row["file"] for row in predictions(run)}
        people = {NAME.search(name).group(1) for name in held}
        strange = [clip.path for clip in everything if clip.song == song and str(clip.person) in people]
        answers = [answer != "unknown" for _, answer, _ in lab.confidences(model, strange)]
        lab.result(what="left out", song=song, taken=share(sum(answers), len(answers)), clips=len(answers))
        counts.update(taken=sum(answers), of=len(answers))
    lab.result(what="left out", taken=share(counts["taken"], counts["of"]), clips=counts["of"])


def ablation(lab):
    """Ten clips a song, which leave room to see a difference, without one ingredient after the other; tested on everybody else,
    whole and cut to 4 s."""
    everything = clips(lab.args.data)
    everything_cut = parts_of(lab, everything)
    without = {"nothing": [], "views": []}
    without |= {kind: ["--without", kind] for kind in ["key", "tempo", "masks", "parts", "key,tempo", "key,tempo,masks,parts"]}
    without |= {key.replace("_", " "): ["--config", lab.config(key, 0.0)] for key in ["label_smoothing", "weight_decay"]}
    for kind, more in without.items():
        accuracies = {"whole": [], "cut": []}
        for seed in lab.args.seeds:
            chosen, rest = first_clips(everything, 10, seed)
            others = {clip.person for clip in rest}
            name = "without-" + re.sub("[ ,]", "-", kind) if more else "plain"
            run, _ = few_run(lab, 10, seed, name, chosen, more)
            model = os.path.join(run, "model.safetensors")
            if kind == "views":
                model = with_one_view(model, lab.path(f"few-10-seed{seed}-one-view.safetensors"))
            for name, of in {"whole": everything, "cut": everything_cut}.items():
                test = lab.listing(f"ablation-seed{seed}-{name}", [clip for clip in of if clip.person in others])
                accuracies[name].append(lab.evaluate(model, test)["accuracy"])
        lab.result(what="ablation", without=kind, seeds=len(lab.args.seeds), **{k: percent(v) for k, v in accuracies.items()},
                   each={k: [round(100 * a, 1) for a in v] for k, v in accuracies.items()})


def timing(lab):
    """Training on everything with the defaults; and what one more prediction costs once the program runs."""
    _, seconds = lab.train("time", "--data", lab.args.data, "--val-fraction", 0)
    lab.result(what="time", training_seconds=round(seconds, 1), clips=len(clips(lab.args.data)))
    model, paths = lab.path("time", "model.safetensors"), [clip.path for clip in clips(lab.args.data)[:201]]
    lab.confidences(model, paths)
    def best(chosen):
        times = []
        for _ in range(5):
            start = time.time()
            lab.confidences(model, chosen)
            times.append(time.time() - start)
        return min(times)
    one, many = best(paths[:1]), best(paths)
    lab.result(what="time", program_and_one_prediction_ms=round(1000 * one, 1),
               each_further_prediction_ms=round(1000 * (many - one) / (len(paths) - 1), 2))


WHAT = {"folds": folds, "notebook": lambda lab: folds(lab, "notebook"), "few": few, "base": base, "none": none, "default": default,
        "anywhere": anywhere, "views": views, "unknown": unknown, "ablation": ablation, "time": timing}


def main():
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", default="runs/experiments")
    parser.add_argument("--program", default="target/release/humdinger")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3])
    parser.add_argument("--counts", type=numbers, default=[5, 10, 20, 40], help="few, base: clips a song")
    parser.add_argument("--epochs", type=int, default=10, help="none, few: epochs over the synthetic singers")
    parser.add_argument("--odd", action="store_true", help="none: also the people with odd numbers, on whom nothing may be tuned")
    parser.add_argument("--people", choices=["all", "even", "odd"], default="all", help="whose recordings count, by their numbers")
    parser.add_argument("--nothing", action="store_true", help="base: also from freshly drawn weights")
    args = parser.parse_args()
    global PEOPLE
    PEOPLE = args.people
    WHAT[args.what](Lab(args))


if __name__ == "__main__":
    main()
