"""Recordings as they are handed over to the extension: paths, or samples [channels, samples] of 32-bit floats with their rate."""

import os
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Given: TypeAlias = str | tuple[NDArray[np.float32], int]
# What users may hand over: a path, samples, or samples with their rate.
Recording: TypeAlias = Any

# More channels than any recorder has: the array is rather the other way round.
MOST_CHANNELS = 64


def samples(array: Any, what: str) -> NDArray[np.float32]:
    """Samples [channels, samples] between -1 and 1; whole numbers of 8, 16 and 32 bits are taken for such of a sound file."""
    numbers = np.asarray(array)
    if numbers.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {what} must be real samples")
    if numbers.dtype.kind in "bOSU":
        try:
            numbers = numbers.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what} is neither a path nor samples: {error}") from None
    if numbers.ndim == 1:
        numbers = numbers[None]
    if numbers.ndim != 2:
        raise ValueError(f"{what} has {numbers.ndim} axes; samples are [samples] or [channels, samples]")
    if numbers.shape[0] > MOST_CHANNELS:
        raise ValueError(f"{what} has {numbers.shape[0]} channels; samples are [channels, samples], so transpose it")
    if numbers.dtype == np.uint8:
        numbers = (numbers.astype(np.float32) - 128) / 128
    elif numbers.dtype.kind == "i" and numbers.dtype.itemsize <= 4:
        numbers = numbers.astype(np.float32) / np.float32(2.0 ** (8 * numbers.dtype.itemsize - 1))
    with np.errstate(over="ignore"):
        # What is too large becomes infinite, and is refused as such.
        return np.ascontiguousarray(numbers, dtype=np.float32)


def one(recording: Recording, rate: int, what: str = "the recording") -> Given:
    """A single recording; `rate` is that of samples which come without."""
    if isinstance(recording, (str, os.PathLike)):
        return os.fspath(cast("str | os.PathLike[str]", recording))
    if isinstance(recording, tuple) and len(recording) == 2 and np.ndim(recording[1]) == 0 and np.ndim(recording[0]):
        recording, rate = recording[0], int(recording[1])
    return samples(recording, what), int(rate)


def several(recordings: Iterable[Recording], rate: int) -> list[Given]:
    """Several: a list of them, or an array [recordings, samples] or [recordings, channels, samples]."""
    if isinstance(recordings, (str, bytes, os.PathLike)):
        raise ValueError(f"{recordings!r} is one recording; put it into a list")
    if hasattr(recordings, "toarray"):
        raise TypeError("sparse arrays are no samples; use toarray()")
    if hasattr(recordings, "to_numpy"):
        recordings = recordings.to_numpy()
    if isinstance(recordings, np.ndarray) or hasattr(recordings, "__array__"):
        from sklearn.utils.validation import check_array

        array = np.asarray(recordings)
        if array.dtype.kind not in "OSU":
            if array.ndim < 2:
                raise ValueError(
                    f"Expected 2D array, got an array of {array.ndim} axes instead: recordings are [recordings, samples]; "
                    "Reshape your data with array.reshape(1, -1) if it is one"
                )
            array = check_array(array, dtype=None, allow_nd=True, ensure_min_features=1)
        elif array.ndim == 2:
            array = check_array(array, dtype=np.float64)
        recordings = array
    given = [one(recording, rate, f"recording {number}") for number, recording in enumerate(recordings)]
    if not given:
        raise ValueError("there are no recordings: 0 sample(s) while a minimum of 1 is required")
    return given
