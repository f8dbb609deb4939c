"""Names the song that somebody hums, sings or whistles.

`SongClassifier` learns songs from recordings, with scikit-learn's conventions; `Model` is what it has learned, in a file that the command
`humdinger` reads and writes, too. `Catalogue` finds a song by its notes, without any recording of it. `spectrogram` and `pitch` show
sound as the classifiers see it. A recording is a sound file's path, an array of samples ([samples] or [channels, samples]), or a pair of
such an array and its samples a second.
"""

from typing import TYPE_CHECKING, Any

from ._humdinger import __version__
from .catalogue import Catalogue, Match
from .model import Answer, Model
from .sound import Pitch, Spectrogram, pitch, read, spectrogram

if TYPE_CHECKING:
    from .classifier import SongClassifier, SongEmbedding

__all__ = [
    "Answer",
    "Catalogue",
    "Match",
    "Model",
    "Pitch",
    "SongClassifier",
    "SongEmbedding",
    "Spectrogram",
    "__version__",
    "pitch",
    "read",
    "spectrogram",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import, which the command need not wait for.
    if name in ("SongClassifier", "SongEmbedding"):
        from . import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
