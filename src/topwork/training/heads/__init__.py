"""Heads on frozen features: each is a module here with a function `fit`, and a line in `decisions/strategies.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats, Integers
from topwork.core.features import Features
from topwork.core.heads import Head

ABSENT_CLASS = -1e3
"""Score of a class without training images, which happens with very small folds."""


@dataclass(frozen=True)
class Examples:
    """The data that a head is fitted on.

    ``samples`` ``[1 + k, n, d]`` are the features of the originals and of k augmented views of each. ``truth`` ``[n]``
    are class numbers below ``classes``. ``folds`` ``[n]`` are fold numbers, at least three different ones. With
    ``average`` an image is scored by the mean over all its samples, otherwise by the original alone.
    """

    samples: Floats
    truth: Integers
    folds: Integers
    classes: int
    average: bool

    @classmethod
    def of(cls, features: Features, images: pd.DataFrame, average: bool) -> Self:
        """The features of images (columns ``image_id``, ``label``, ``fold``); classes in alphabetical order."""
        rows = features.positions(images["image_id"].tolist())
        names, truth = np.unique(images["label"], return_inverse=True)
        samples = np.concatenate([features.vectors[None, rows], features.views[:, rows]])
        return cls(samples, truth, images["fold"].to_numpy(), len(names), average)

    @property
    def vectors(self) -> Floats:
        """The feature vectors to score, ``[n, d]``."""
        return np.asarray(self.samples.mean(axis=0) if self.average else self.samples[0])


@dataclass(frozen=True)
class FittedHead:
    """A head fitted on all examples, with its temperature and the results of cross-validation.

    ``out_of_fold`` are probabilities ``[n, c]``. Each row comes from a model that did not use the row's fold, neither
    for the fit nor for its settings and temperature. ``facts`` are shown in the report of the training.
    """

    head: Head
    temperature: float
    out_of_fold: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)
