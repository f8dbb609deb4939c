"""Recordings that the tests share."""

import pathlib
import subprocess
import sys
from typing import NamedTuple

import pytest


class Data(NamedTuple):
    """Sung recordings with their songs and singers."""

    folder: pathlib.Path
    files: list[pathlib.Path]
    songs: list[str]
    people: list[str]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Three tunes by six people, twice each, four seconds long."""
    folder = tmp_path_factory.mktemp("recordings") / "songs"
    tunes = "Twinkle,Greensleeves,YankeeDoodle"
    words = ["synth", "--out", folder, "--singers", "6", "--takes", "2", "--tunes", tunes, "--seconds", "4"]
    subprocess.run([sys.executable, "-m", "humdinger", *map(str, words)], check=True, capture_output=True)
    files = sorted(folder.glob("*.wav"))
    fields = [file.stem.split("_") for file in files]
    return Data(folder, files, [field[3] for field in fields], [field[0] for field in fields])
