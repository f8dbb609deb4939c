"""Estimators with scikit-learn's conventions."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from . import _humdinger
from ._progress import Progress
from ._recordings import Recording, several
from .model import Model

# Warnings about recordings that are shown one by one, as the command does.
MOST_WARNINGS = 5
Own = TypeVar("Own", bound="SongClassifier")
OwnEmbedding = TypeVar("OwnEmbedding", bound="SongEmbedding")
RATES = {"melody": 8_000, "notebook": 11_000}


class SongClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Learns which song is sung in recordings.

    Recordings are a list of sound files and arrays of samples, or an array [recordings, samples]; see the package. What is left as
    None is chosen by the recipe and the number of recordings, as `humdinger train` chooses it. The same recordings, settings and
    `random_state` give the same model, bit for bit, whatever the number of threads.

    Parameters
    ----------
    recipe : "melody", which knows a tune in any key, tempo and voice, or "notebook", the reference.
    epochs, batch_size, learning_rate : of the training.
    init : what the weights begin with: "base", "none", or a model file.
    patience : epochs without a better model after which training ends; 0 for never.
    frozen : how many of the network's blocks stay as they begin.
    augment : whether recordings are varied in training.
    validation_fraction : the part of the recordings that chooses the best epoch, and how sure is sure; of other people than
        those that it learns from, where `groups` says who sings.
    sample_rate : samples a second of arrays that come without; the recipe's own rate, if it is not said.
    device : auto, cpu, gpu or gpu:N.
    random_state : a whole number that everything random is drawn from; 1, if it is not said.
    unknown : what `predict` answers where the model is not sure enough, or it is most like the examples of no song (songs called
        `noise`, `background` or `other`); if it is not said, the likeliest of all that y names.
    run_folder : a folder to leave behind as `humdinger train` does, with the report and all numbers.
    verbose : whether to show progress, by tqdm where it is installed.

    Attributes
    ----------
    classes_ : the songs. model_ : the `Model`. training_ : how training went, with `accuracy` on the held-back recordings.
    """

    classes_: NDArray[Any]
    model_: Model
    training_: dict[str, Any]
    n_features_in_: int

    def __init__(
        self,
        recipe: str = "melody",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        init: str | os.PathLike[str] | None = None,
        patience: int | None = None,
        frozen: int | None = None,
        augment: bool = True,
        validation_fraction: float = 0.2,
        sample_rate: int | None = None,
        device: str = "auto",
        random_state: int | None = None,
        unknown: str | None = None,
        run_folder: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.init = init
        self.patience = patience
        self.frozen = frozen
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.sample_rate = sample_rate
        self.device = device
        self.random_state = random_state
        self.unknown = unknown
        self.run_folder = run_folder
        self.verbose = verbose

    def fit(self: Own, X: Iterable[Recording], y: Any, groups: Iterable[Any] | None = None) -> Own:
        """Learn from recordings X of the songs y; `groups` says who sings each, so that it validates on voices that are not in the training.

        Ctrl-C ends it with KeyboardInterrupt, and nothing is fitted then.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None: the songs")
        if self.recipe not in RATES:
            raise ValueError(f"recipe: {self.recipe!r} is none of {', '.join(RATES)}")
        recordings = several(X, self._rate())
        songs = column_or_1d(y, warn=True)
        check_classification_targets(songs)
        classes, numbers = np.unique(songs, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"the recordings hold {len(classes)} class ({classes[0]}); at least 2 songs are needed")
        names = [str(name) for name in classes]
        people = None if groups is None else [str(person) for person in groups]
        with Progress(self.verbose) as progress:
            fitted, training = _humdinger.fit(
                recordings,
                [names[number] for number in numbers],
                people,
                json.dumps(self._settings()),
                self.run_folder,
                progress.tell,
            )
        self._warn(progress.warnings)
        self.classes_, self.model_, self.training_ = classes, Model(fitted), training
        self._order = [fitted.songs.index(name) for name in names]
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind not in "OSU":
            self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Iterable[Recording]) -> NDArray[Any]:
        """The song in each recording; with `unknown`, that, where `humdinger predict` would say so."""
        confidences = self._confidences(X)
        best = confidences.argmax(axis=1)
        if self.unknown is None:
            return cast("NDArray[Any]", self.classes_[best])
        sure = confidences.max(axis=1) >= max(self.model_.threshold, np.finfo(float).tiny)
        named = sure & ~self._are_no_songs(self.classes_)[best]
        return np.where(named, self.classes_[best].astype(object), self.unknown)

    def score(self, X: Iterable[Recording], y: Any, sample_weight: Any = None) -> float:
        """The share of recordings that `predict` answers rightly; of examples of no song, `unknown` is right, too."""
        said, songs = self.predict(X), column_or_1d(y)
        right = np.asarray(said == songs, dtype=bool)
        if self.unknown is not None:
            right |= self._are_no_songs(songs) & np.asarray(said == self.unknown, dtype=bool)
        return float(np.average(right, weights=sample_weight))

    def _are_no_songs(self, songs: Iterable[Any]) -> NDArray[np.bool_]:
        """Which of these are examples of no song."""
        no_songs = set(self.model_.no_songs)
        return np.array([str(song) in no_songs for song in songs], dtype=bool)

    def predict_proba(self, X: Iterable[Recording]) -> NDArray[np.float64]:
        """Probabilities [recordings, songs] in the order of `classes_`, as if it had to be one of these; of silence, all the same.

        How near a recording is to those of the training, `familiarity` says.
        """
        confidences = self._confidences(X)
        total = confidences.sum(axis=1, keepdims=True)
        probabilities = np.full_like(confidences, 1 / len(self.classes_))
        np.divide(confidences, total, out=probabilities, where=total > 0)
        return probabilities

    def familiarity(self, X: Iterable[Recording]) -> NDArray[np.float64]:
        """How near each recording is to those of the training, from 0 to 1; 1 in silence."""
        check_is_fitted(self, "model_")
        return self.model_._model.infer(several(X, self._rate()))[1]

    def embed(self, X: Iterable[Recording]) -> NDArray[np.float32]:
        """Embeddings of recordings, vectors [recordings, numbers]."""
        check_is_fitted(self, "model_")
        return self.model_._model.embed(several(X, self._rate()))

    def _confidences(self, X: Iterable[Recording]) -> NDArray[np.float64]:
        check_is_fitted(self, "model_")
        confidences, _ = self.model_._model.infer(several(X, self._rate()))
        return confidences[:, self._order]

    def _rate(self) -> int:
        return RATES.get(self.recipe, 8_000) if self.sample_rate is None else int(self.sample_rate)

    def _settings(self) -> dict[str, Any]:
        """The settings by the names that config.toml has; what is None is left to the program."""
        settings = {
            "recipe": self.recipe,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "init": None if self.init is None else os.fspath(self.init),
            "patience": self.patience,
            "frozen": self.frozen,
            "augment": bool(self.augment),
            "val_fraction": float(self.validation_fraction),
            "device": self.device,
            "seed": self.random_state,
        }
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}
        return {key: value for key, value in plain.items() if value is not None}

    def _warn(self, texts: list[str]) -> None:
        for text in texts[:MOST_WARNINGS]:
            warnings.warn(text, UserWarning, stacklevel=3)
        if len(texts) > MOST_WARNINGS:
            warnings.warn(f"and {len(texts) - MOST_WARNINGS} more such warnings", UserWarning, stacklevel=3)


class SongEmbedding(TransformerMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Embeddings of recordings by a model, as a step of a pipeline before any classifier of vectors.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> import humdinger
    >>> pipeline = make_pipeline(humdinger.SongEmbedding(), LogisticRegression())

    Parameters
    ----------
    model : a `Model`, or a model file; the base model, if it is not said.
    sample_rate : samples a second of arrays that come without; the model's own, if it is not said.
    """

    def __init__(self, model: Model | str | os.PathLike[str] | None = None, *, sample_rate: int | None = None) -> None:
        self.model = model
        self.sample_rate = sample_rate

    def fit(self: OwnEmbedding, X: Iterable[Recording], y: Any = None) -> OwnEmbedding:
        """Reads the model, and looks whether these are recordings; nothing is learned."""
        if isinstance(self.model, Model):
            self.model_ = self.model
        else:
            self.model_ = Model.base() if self.model is None else Model.load(self.model)
        several(X, self.sample_rate or self.model_.sample_rate)
        return self

    def transform(self, X: Iterable[Recording]) -> NDArray[np.float32]:
        """Vectors [recordings, numbers]."""
        check_is_fitted(self, "model_")
        return self.model_.embed(X, self.sample_rate)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Vectors are of 32-bit floats, whatever the samples are.
        tags.transformer_tags.preserves_dtype = []
        return tags
