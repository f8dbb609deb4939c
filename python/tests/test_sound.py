"""Files, spectrograms, pitch, catalogues."""

import json
import pathlib
import subprocess
import sys
import wave

import numpy as np
import pytest
from conftest import Data

import humdinger


def tone(hz: float, seconds: float, rate: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def test_a_file_is_read_as_it_is(tmp_path: pathlib.Path) -> None:
    stereo = np.stack([tone(440, 0.5, 44_100), tone(660, 0.5, 44_100)])
    whole = np.round(stereo * 32767).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(whole.T.tobytes())
    samples, rate = humdinger.read(tmp_path / "a.wav")
    assert rate == 44_100 and samples.dtype == np.float32
    np.testing.assert_array_equal(samples, whole.astype(np.float32) / 32768)
    resampled, rate = humdinger.read(tmp_path / "a.wav", 22_050)
    assert rate == 22_050 and resampled.shape == (2, 11_025)
    with pytest.raises(ValueError, match="sample rate"):
        humdinger.read(tmp_path / "a.wav", 5)


def test_a_tone_is_seen_and_its_pitch_found() -> None:
    for recipe, channels in (("melody", 1), ("notebook", 2)):
        seen = humdinger.spectrogram(tone(440, 2, 22_050), 22_050, recipe=recipe)
        assert seen.levels.shape == (channels, len(seen.frequencies), len(seen.times))
        loudest = seen.frequencies[seen.levels[0].mean(axis=1).argmax()]
        assert abs(loudest / 440 - 1) < 0.1
        assert abs(seen.times[-1] - 2) < 0.1
    sung = humdinger.pitch(tone(330, 1, 16_000), 16_000)
    assert abs(np.nanmedian(sung.hz) - 330) < 1 and np.isnan(humdinger.pitch(np.zeros(16_000), 16_000).hz).all()
    with pytest.raises(ValueError, match="floor"):
        humdinger.pitch(tone(330, 1, 16_000), 16_000, floor=-1)
    with pytest.raises(ValueError, match="there are melody and notebook"):
        humdinger.spectrogram(tone(330, 1, 16_000), recipe="jazz")
    with pytest.raises(ValueError, match="transpose"):
        humdinger.pitch(np.zeros((16_000, 2)))


def test_a_catalogue_names_what_is_sung(data: Data, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tunes").mkdir()
    (tmp_path / "tunes/twinkle.jianpu").write_text("1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- | 5 5 4 4 3 3 2- | 5 5 4 4 3 3 2- |")
    (tmp_path / "tunes/john.jianpu").write_text("1 2 3 1 | 1 2 3 1 | 3 4 5- | 3 4 5- |")
    catalogue = humdinger.Catalogue.make(tmp_path / "tunes")
    assert catalogue.songs == ["john", "twinkle"] and len(catalogue) == 2
    semitones = [0, 0, 7, 7, 9, 9, 7, 7, 5, 5, 4, 4, 2, 2, 0, 0]
    notes = [tone(262 * 2 ** (semitone / 12), 0.45, 16_000) for semitone in semitones]
    sung = np.concatenate([np.concatenate([note * np.minimum(1, np.arange(len(note))[::-1] / 800), np.zeros(600)]) for note in notes])
    found = catalogue.identify(sung, 16_000)
    assert found[0].id == "twinkle" and 0 <= found[0].score <= 1 and abs(found[0].key) < 13
    assert catalogue.identify(np.zeros(16_000), 16_000) == []
    catalogue.save(tmp_path / "songs.cat")
    assert humdinger.Catalogue.load(tmp_path / "songs.cat").identify(sung, 16_000) == found
    # By their notes alone the songs have other scores; the command says what Python says, of both kinds.
    alone = humdinger.Catalogue.make(tmp_path / "tunes", notes_alone=True)
    alone.save(tmp_path / "alone.cat")
    assert alone.identify(sung, 16_000)[0].id == "twinkle" and alone.identify(sung, 16_000) != found
    with wave.open(str(tmp_path / "sung.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.round(sung * 32767).astype("<i2").tobytes())
    for name in ("songs.cat", "alone.cat"):
        words = ["identify", "--format", "jsonl", "--catalogue", str(tmp_path / name), str(tmp_path / "sung.wav")]
        said = subprocess.run([sys.executable, "-m", "humdinger", *words], check=True, capture_output=True, text=True)
        theirs = [(match["id"], match["score"], match["key"]) for match in json.loads(said.stdout)["candidates"]]
        ours = humdinger.Catalogue.load(tmp_path / name).identify(tmp_path / "sung.wav")
        assert [(match.id, match.score, match.key) for match in ours] == theirs
    with pytest.raises(FileNotFoundError):
        humdinger.Catalogue.load(tmp_path / "missing.cat")
    with pytest.raises(FileNotFoundError):
        humdinger.Catalogue.make(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no melody"):
        humdinger.Catalogue.make(tmp_path / "empty")


def test_the_command_has_its_exit_codes() -> None:
    def code(*words: str) -> int:
        return subprocess.run([sys.executable, "-m", "humdinger", *words], capture_output=True).returncode

    assert (code("--version"), code("nonsense"), code("predict", "missing.wav")) == (0, 2, 1)
