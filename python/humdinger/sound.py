"""Sound files, spectrograms and pitch."""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _humdinger
from ._recordings import Recording, one


class Spectrogram(NamedTuple):
    """Sound over frequency and time."""

    levels: NDArray[np.float32]
    """Decibels [channels, bands, frames]."""
    frequencies: NDArray[np.float64]
    """The bands' centres in Hz."""
    times: NDArray[np.float64]
    """The frames' centres in seconds."""


class Pitch(NamedTuple):
    """What somebody sings, over time."""

    times: NDArray[np.float64]
    """Seconds."""
    hz: NDArray[np.float64]
    """The pitch in Hz; NaN where nothing is sung."""
    periodicity: NDArray[np.float64]
    """How well the sound repeats itself at that pitch, from 0 to 1."""


def read(path: str | os.PathLike[str], rate: int | None = None) -> tuple[NDArray[np.float32], int]:
    """Read a sound file of any kind that `humdinger` reads: samples [channels, samples] and samples a second.

    With `rate` it is resampled to that many samples a second.
    """
    return _humdinger.read(path, rate)


def spectrogram(recording: Recording, rate: int = 44_100, *, recipe: str = "melody") -> Spectrogram:
    """The spectrogram that a recipe's network is shown of a recording, in decibels.

    `rate` is that of samples that come without. `melody` has 24 bands an octave from 80 Hz, `notebook` 64 mel bands of two channels.

    >>> import numpy as np
    >>> import humdinger
    >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    >>> seen = humdinger.spectrogram(tone, 16_000)
    >>> seen.levels.shape
    (1, 120, 32)
    >>> round(float(seen.frequencies[seen.levels[0, :, 16].argmax()]))
    440
    """
    levels, frequencies, hop = _humdinger.spectrogram(one(recording, rate), recipe)
    return Spectrogram(levels, frequencies, np.arange(levels.shape[2], dtype=np.float64) * hop)


def pitch(
    recording: Recording,
    rate: int = 44_100,
    *,
    floor: float | None = None,
    ceiling: float | None = None,
    hop: float | None = None,
) -> Pitch:
    """The pitch that somebody sings, hums or whistles.

    `rate` is that of samples that come without; `floor` and `ceiling` bound the pitch in Hz, `hop` are the seconds between rows.

    >>> import numpy as np
    >>> import humdinger
    >>> tone = 0.5 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)
    >>> round(float(np.nanmedian(humdinger.pitch(tone, 16_000).hz)), 1)
    220.0
    """
    return Pitch(*_humdinger.pitch(one(recording, rate), floor, ceiling, hop))
