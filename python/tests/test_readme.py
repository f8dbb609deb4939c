"""The lines for Python of README's table "Use it from", as they stand there."""

import pathlib
import shutil

import pytest
from conftest import Data

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def lines(row: str) -> list[str]:
    """The lines of one row."""
    rows = README.read_text().split("## Use it from")[1].splitlines()
    [found] = [line.removeprefix(f"| {row} | ") for line in rows if line.startswith(f"| {row} | ")]
    return [line.strip("`") for line in found.split(" | ")[0].split("<br>")]


@pytest.mark.filterwarnings("ignore:.*is clipped:UserWarning")
def test_the_lines_of_the_readme(data: Data, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(data.files[0], "new-clip.wav")
    names: dict[str, object] = {"files": data.files, "songs": data.songs, "people": data.people}
    python = lines("Python")
    assert len(python) == 3
    for line in python[:-1]:
        exec(line, names)  # noqa: S102
    assert eval(python[-1], names).tolist() == data.songs[:1]  # noqa: S307
