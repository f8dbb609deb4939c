"""Trained models."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _humdinger
from ._recordings import Recording, several

UNKNOWN = "unknown"


class Answer(NamedTuple):
    """What a model says of a recording."""

    song: str
    """The song, or "unknown"."""
    confidence: float
    """How sure it is of the likeliest song, from 0 to 1."""
    familiarity: float
    """How near the recording is to those of the training, from 0 to 1."""


class Model:
    """A trained model, in a file that the command `humdinger` reads and writes, too.

    >>> import humdinger
    >>> model = humdinger.Model.base()
    >>> model.songs[:2]
    ['Twinkle', 'OldMacDonald']
    """

    def __init__(self, model: _humdinger.Model) -> None:
        self._model = model

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Model:
        """Read a model file. `device` is auto, cpu, gpu or gpu:N; auto is the CPU here."""
        return cls(_humdinger.Model.load(path, device))

    @classmethod
    def base(cls, *, device: str = "auto") -> Model:
        """The model that comes with humdinger and names the built-in tunes."""
        return cls(_humdinger.Model.base(device))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, in one piece or not at all."""
        self._model.save(path)

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write an ONNX file: samples in, probabilities out."""
        self._model.export_onnx(path)

    @property
    def songs(self) -> list[str]:
        """The songs, in the order of the columns of `predict_proba`."""
        return self._model.songs

    @property
    def no_songs(self) -> list[str]:
        """Those of the songs that are examples of no song (`noise`, `background`, `other`): what is like them is answered with "unknown"."""
        return self._model.no_songs

    @property
    def recipe(self) -> str:
        """The network and how it is trained: melody or notebook."""
        return self._model.recipe

    @property
    def sample_rate(self) -> int:
        """Its sample rate in hertz; recordings of another rate are resampled."""
        return self._model.sample_rate

    @property
    def threshold(self) -> float:
        """The confidence below which it answers "unknown"."""
        return self._model.threshold

    @property
    def description(self) -> str:
        """All that the model file says of it, as JSON."""
        return self._model.description

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Parameters and running statistics by PyTorch's names."""
        return self._model.weights()

    def predict_proba(self, recordings: Iterable[Recording], rate: int | None = None) -> NDArray[np.float64]:
        """Confidences [recordings, songs], as `humdinger predict` says them.

        Of a recording that is not quite like those of the training they add up to less than 1: to its familiarity. In silence all
        are 0. `rate` is that of samples that come without; the model's own, if it is not said.
        """
        return self._infer(recordings, rate)[0]

    def predict(self, recordings: Iterable[Recording], rate: int | None = None) -> list[Answer]:
        """The songs in recordings, or "unknown", as `humdinger predict` answers.

        >>> import numpy as np
        >>> import humdinger
        >>> humdinger.Model.base().predict([np.zeros(8000)])
        [Answer(song='unknown', confidence=0.0, familiarity=1.0)]
        """
        confidences, familiarity = self._infer(recordings, rate)
        answers = []
        songs, no_songs = self.songs, set(self.no_songs)
        for row, familiar in zip(confidences, familiarity, strict=True):
            best = int(row.argmax())
            named = row[best] >= self.threshold and row[best] > 0 and songs[best] not in no_songs
            answers.append(Answer(songs[best] if named else UNKNOWN, float(row[best]), float(familiar)))
        return answers

    def embed(self, recordings: Iterable[Recording], rate: int | None = None) -> NDArray[np.float32]:
        """Embeddings of recordings, vectors [recordings, numbers], to search, cluster or train other classifiers with."""
        return self._model.embed(several(recordings, rate or self.sample_rate))

    def _infer(self, recordings: Iterable[Recording], rate: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._model.infer(several(recordings, rate or self.sample_rate))

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self._model.to_bytes(), "device": self._model.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._model = _humdinger.Model.from_bytes(state["file"], state["device"])

    def __repr__(self) -> str:
        return f"<humdinger.Model {self.recipe}: {len(self.songs)} songs>"
