"""Songs that are found by their notes."""

from __future__ import annotations

import os
from typing import NamedTuple

from . import _humdinger
from ._recordings import Recording, one


class Match(NamedTuple):
    """A song that may be the one that somebody sings."""

    id: str
    """What the catalogue calls it."""
    title: str
    """Its title."""
    score: float
    """How sure it is, from 0 to 1."""
    known: bool
    """Whether that is enough to name it."""
    key: float
    """Semitones from the notes as they are written to the key that was sung in."""
    tempo: float
    """The tempo that was sung in, as a share of the song's own."""
    at: tuple[float, float]
    """Where in the song the singer began and stopped, in seconds at the song's own tempo."""


class Catalogue:
    """Melodies, of which it is said which one somebody sings; nothing is trained.

    >>> import pathlib, tempfile
    >>> import humdinger
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "twinkle.jianpu").write_text("1 1 5 5 6 6 5- | 4 4 3 3 2 2 1- | 5 5 4 4 3 3 2- |")
    >>> _ = (folder / "john.jianpu").write_text("1 2 3 1 | 1 2 3 1 | 3 4 5- | 3 4 5- |")
    >>> catalogue = humdinger.Catalogue.make(folder)
    >>> catalogue.songs
    ['john', 'twinkle']
    """

    def __init__(self, catalogue: _humdinger.Catalogue) -> None:
        self._catalogue = catalogue

    @classmethod
    def make(
        cls, *paths: str | os.PathLike[str], track: str | None = None, notes_alone: bool = False
    ) -> Catalogue:
        """A catalogue of the melodies in folders and files: MIDI, ABC, numbered notation, recordings.

        `track` is the track of MIDI files that sings, by its number or a part of its name; otherwise the likeliest is taken.
        Each song also gets an embedding: a synthetic singer sings it, and the base model computes its vector. With `notes_alone`
        there are no embeddings, which is quicker to make, but slightly less often right.
        """
        return cls(_humdinger.Catalogue.make(*paths, track=track, notes_alone=notes_alone))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Catalogue:
        """Read a catalogue's file."""
        return cls(_humdinger.Catalogue.load(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, in one piece or not at all."""
        self._catalogue.save(path)

    @property
    def songs(self) -> list[str]:
        """What the songs are called."""
        return self._catalogue.songs

    def __len__(self) -> int:
        return len(self._catalogue)

    def __repr__(self) -> str:
        return f"<humdinger.Catalogue of {len(self)} songs>"

    def identify(
        self, recording: Recording, rate: int = 44_100, *, top: int = 3, anywhere: bool = False
    ) -> list[Match]:
        """The songs that somebody may sing in a recording, the likeliest first; none where too little is sung.

        `rate` is that of samples that come without. With `anywhere` the singer may begin with any phrase.
        """
        found = self._catalogue.search(one(recording, rate), top, anywhere)
        return [Match(**match) for match in found]
