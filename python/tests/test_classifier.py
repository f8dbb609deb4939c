"""SongClassifier and SongEmbedding: scikit-learn's conventions, and what is learned."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from conftest import Data
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import humdinger
from humdinger import Model, SongClassifier, SongEmbedding

pytestmark = pytest.mark.filterwarnings("ignore:.*is clipped:UserWarning", "ignore:and .* more such warnings:UserWarning")


@pytest.fixture(scope="module")
def fitted(data: Data) -> SongClassifier:
    return SongClassifier(epochs=6, device="cpu").fit(data.files, data.songs, groups=data.people)


def test_it_learns(data: Data, fitted: SongClassifier) -> None:
    assert fitted.classes_.tolist() == ["Greensleeves", "Twinkle", "YankeeDoodle"]
    assert fitted.training_["accuracy"] >= 0.75 and fitted.training_["clips"] >= 4
    assert fitted.score(data.files, data.songs) >= 0.8
    probabilities = fitted.predict_proba(data.files)
    assert probabilities.shape == (36, 3) and probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(data.files)).all()


def test_files_and_arrays_are_the_same(data: Data, fitted: SongClassifier, tmp_path: pathlib.Path) -> None:
    arrays = [humdinger.read(file) for file in data.files]
    again = clone(fitted).fit(arrays, data.songs, groups=data.people)
    again.model_.save(tmp_path / "a")
    fitted.model_.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes(), "the same recordings, the same bits"
    np.testing.assert_array_equal(again.predict_proba(arrays[:3]), fitted.predict_proba(data.files[:3]))
    # Of 16 bits, as they lie in the file; and at the classifier's own rate without a rate.
    whole = [(samples * 32768).astype(np.int16) for samples, _ in arrays[:3]]
    np.testing.assert_array_equal(fitted.predict_proba(whole), fitted.predict_proba(data.files[:3]))


def test_the_command_says_the_same(data: Data, fitted: SongClassifier, tmp_path: pathlib.Path) -> None:
    fitted.model_.save(tmp_path / "model")
    words = ["predict", "--device", "cpu", "--model", tmp_path / "model", "--format", "csv", *data.files[:4]]
    said = subprocess.run([sys.executable, "-m", "humdinger", *map(str, words)], check=True, capture_output=True, text=True)
    rows = [line.split(",") for line in said.stdout.splitlines()[1:]]
    answers = Model.load(tmp_path / "model").predict(data.files[:4])
    assert [row[1] for row in rows] == [answer.song for answer in answers]
    np.testing.assert_allclose([float(row[2]) for row in rows], [answer.confidence for answer in answers], atol=1e-6)
    unknown = clone(fitted).set_params(unknown="unknown")
    unknown.__dict__.update({key: value for key, value in fitted.__dict__.items() if key.endswith("_") or key == "_order"})
    assert unknown.predict(data.files[:4]).tolist() == [answer.song for answer in answers]
    assert unknown.predict([np.zeros(8000)]).tolist() == ["unknown"]


def test_examples_of_no_song_are_unknown(data: Data, tmp_path: pathlib.Path) -> None:
    # The base model, to which Twinkle is noise.
    humdinger.Model.base().save(tmp_path / "base")
    whole = (tmp_path / "base").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    assert header.count(b'\\"Twinkle\\"') == 1
    header = header.replace(b'\\"Twinkle\\"', b'\\"Noise\\"')
    (tmp_path / "model").write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + length :])
    model = Model.load(tmp_path / "model")
    assert model.no_songs == ["Noise"] and Model.base().no_songs == []
    files = [file for file, song in zip(data.files, data.songs, strict=True) if song == "Twinkle"]
    answers = model.predict(files)
    named = [answer.song for answer in Model.base().predict(files)]
    assert "Twinkle" in named, "or it shows nothing"
    assert {answer.song for answer, name in zip(answers, named, strict=True) if name == "Twinkle"} == {"unknown"}
    words = ["predict", "--device", "cpu", "--model", tmp_path / "model", "--format", "csv", *files]
    said = subprocess.run([sys.executable, "-m", "humdinger", *map(str, words)], check=True, capture_output=True, text=True)
    assert [line.split(",")[1] for line in said.stdout.splitlines()[1:]] == [answer.song for answer in answers]


def test_a_classifier_learns_what_is_no_song(data: Data) -> None:
    rng = np.random.default_rng(1)
    noise = [(rng.normal(0, 0.1, 32_000), 8_000) for _ in range(18)]
    songs = [*data.songs, *["noise"] * 12]
    classifier = SongClassifier(epochs=6, device="cpu").fit([*data.files, *noise[:12]], songs)
    assert classifier.model_.no_songs == ["noise"]
    fresh, truth = noise[12:], ["noise"] * 6
    likeliest = classifier.predict(fresh)
    assert (likeliest == "noise").any() and classifier.score(fresh, truth) == np.mean(likeliest == "noise")
    classifier.set_params(unknown="nobody")
    answers = [answer.song for answer in classifier.model_.predict(fresh)]
    assert classifier.predict(fresh).tolist() == ["nobody" if song == "unknown" else song for song in answers]
    assert "noise" not in answers
    right = np.array([song == "unknown" for song in answers])
    assert classifier.score(fresh, truth) == right.mean()
    assert classifier.score(fresh, truth, sample_weight=[1, 0, 0, 0, 0, 0]) == right[0]
    # It is no song, but it is not that one.
    assert classifier.score(fresh, ["Twinkle"] * 6) == np.mean([song == "Twinkle" for song in answers])


def test_a_pipeline_and_groups(data: Data) -> None:
    quick = make_pipeline(SongClassifier(epochs=1, device="cpu"))
    made = cross_validate(quick, data.files, data.songs, groups=data.people, cv=GroupKFold(2), return_indices=True)
    people = np.array(data.people)
    for train, test in zip(made["indices"]["train"], made["indices"]["test"], strict=True):
        assert not set(people[train]) & set(people[test])
    assert made["test_score"].shape == (2,) and (made["test_score"] > 0.3).all()
    vectors = make_pipeline(SongEmbedding(), LogisticRegression(max_iter=1000)).fit(data.files, data.songs)
    assert vectors.score(data.files, data.songs) > 0.9


def test_labels_of_any_kind_come_back(data: Data) -> None:
    numbers = [{"Twinkle": 10, "Greensleeves": 9, "YankeeDoodle": -3}[song] for song in data.songs]
    classifier = SongClassifier(epochs=6, device="cpu", validation_fraction=0.0).fit(data.files, numbers)
    assert classifier.classes_.tolist() == [-3, 9, 10]
    assert set(classifier.predict(data.files).tolist()) <= {-3, 9, 10}
    assert classifier.training_["accuracy"] is None
    assert classifier.score(data.files, numbers) > 0.5, "columns are in the order of classes_"


def test_parameters_and_pickles(data: Data, fitted: SongClassifier) -> None:
    parameters = fitted.get_params()
    assert parameters["epochs"] == 6 and clone(fitted).get_params() == parameters
    assert not hasattr(clone(fitted), "model_")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(data.files[:2]), fitted.predict_proba(data.files[:2]))
    assert fitted.embed(data.files[:2]).shape == (2, 128)
    assert 0 < fitted.familiarity(data.files[:1])[0] <= 1


def test_what_is_wrong_is_told_as_python_tells_it(data: Data, fitted: SongClassifier, tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFittedError):
        SongClassifier().predict(data.files)
    with pytest.raises(FileNotFoundError, match="missing.wav"):
        SongClassifier(epochs=1).fit(["missing.wav", *data.files], ["Twinkle", *data.songs])
    with pytest.raises(FileNotFoundError, match="missing.wav"):
        fitted.predict(["missing.wav"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        Model.load("missing.safetensors")
    (tmp_path / "text.wav").write_text("no sound at all in here")
    with pytest.raises(ValueError, match="text.wav"):
        fitted.predict([tmp_path / "text.wav"])
    with pytest.raises(ValueError, match="text.wav"):
        Model.load(tmp_path / "text.wav")
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict([np.full(800, np.nan)])
    with pytest.raises(ValueError, match="at least 2 songs"):
        SongClassifier().fit(data.files, ["Twinkle"] * 36)
    with pytest.raises(ValueError, match="36 recordings, but 35 songs"):
        SongClassifier().fit(data.files, data.songs[1:])
    with pytest.raises(ValueError, match="36 recordings, but 1 groups"):
        SongClassifier().fit(data.files, data.songs, groups=["Anna"])
    with pytest.raises(ValueError, match="setting `epochs`: 0 is not from 1"):
        SongClassifier(epochs=0).fit(data.files, data.songs)
    with pytest.raises(ValueError, match="`best` is no device"):
        SongClassifier(device="best").fit(data.files, data.songs)
    with pytest.raises(ValueError, match="none of melody, notebook"):
        SongClassifier("jazz").fit(data.files, data.songs)
    with pytest.raises(ValueError, match="put it into a list"):
        fitted.predict(str(data.files[0]))
    with pytest.raises(FileExistsError, match="not empty"):
        SongClassifier(epochs=1, run_folder=data.folder).fit(data.files, data.songs)


def test_a_run_folder_is_left_behind(data: Data, tmp_path: pathlib.Path) -> None:
    SongClassifier(epochs=1, device="cpu", run_folder=tmp_path / "run").fit(data.files, data.songs, groups=data.people)
    there = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.toml", "report.html", "model.safetensors", "steps.csv"} <= there


def test_ctrl_c_is_heard_and_other_threads_run(data: Data) -> None:
    classifier = SongClassifier(epochs=100_000, patience=0, device="cpu")
    counted = 0
    pressed = 0.0
    done = threading.Event()

    def count() -> None:
        nonlocal counted, pressed
        started = time.monotonic()
        while not done.is_set():
            counted += 1
            time.sleep(0.01)
            if not pressed and time.monotonic() - started > 2:
                pressed = time.monotonic()
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            classifier.fit(data.files, data.songs)
        heard = time.monotonic()
    finally:
        done.set()
        thread.join()
    assert heard - pressed < 1.5, "within a second or so"
    assert counted > 40, "the other thread ran meanwhile"
    assert not hasattr(classifier, "model_")


def test_progress(data: Data, capfd: pytest.CaptureFixture[str]) -> None:
    SongClassifier(epochs=2, device="cpu", verbose=True).fit(data.files, data.songs, groups=data.people)
    said = capfd.readouterr().err
    assert "epoch 1: loss" in said and "epoch 2: loss" in said and "held back" in said
    assert "clip/s" in said, "tqdm is installed for the tests"
    SongClassifier(epochs=1, device="cpu").fit(data.files, data.songs)
    assert capfd.readouterr().err == ""


# Checks of scikit-learn that ask for what cannot be asked of recordings.
INAPPLICABLE = {
    "check_n_features_in_after_fitting": "recordings may be of any length",
    "check_classifiers_train": "three numbers are no recording of a song that could be learned",
}


OF_ANY_LENGTH = dict.fromkeys(
    ["check_n_features_in", "check_n_features_in_after_fitting", "check_transformer_general"],
    INAPPLICABLE["check_n_features_in_after_fitting"],
)


@pytest.mark.parametrize(
    ("estimator", "inapplicable", "least"),
    [
        (SongClassifier("notebook", epochs=1, device="cpu", validation_fraction=0.0), INAPPLICABLE, 40),
        (SongEmbedding(), OF_ANY_LENGTH, 40),
    ],
)
def test_scikit_learns_checks(estimator: Any, inapplicable: dict[str, str], least: int) -> None:
    made = check_estimator(estimator, expected_failed_checks=inapplicable, on_fail=None)
    failed = {result["check_name"]: str(result["exception"]) for result in made if result["status"] == "failed"}
    assert not failed
    assert {result["check_name"] for result in made if result["status"] == "xfail"} == set(inapplicable)
    assert len([result for result in made if result["status"] == "passed"]) > least
