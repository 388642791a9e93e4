"""Heads on frozen features. A head is a module here with a function `fit` and a line in `decisions/strategies.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import Head


@dataclass(frozen=True)
class Examples:
    """What a head is fitted on.

    ``samples`` ``[1 + k, n, d]`` are the features of the originals and of k augmented views of each; ``truth`` ``[n]``
    are class numbers below ``classes``, ``folds`` ``[n]`` at least three different fold numbers. With ``average`` an
    image is scored by the mean over all its samples, else by the original alone.
    """

    samples: Floats
    truth: Integers
    folds: Integers
    classes: int
    average: bool

    @property
    def vectors(self) -> Floats:
        """What is scored, ``[n, d]``."""
        return np.asarray(self.samples.mean(axis=0) if self.average else self.samples[0])


@dataclass(frozen=True)
class FittedHead:
    """A head fitted on all examples, with what cross-validation says of its kind.

    ``out_of_fold`` are probabilities ``[n, c]``, each row from a model (its settings and temperature) that never saw
    the row's fold; ``facts`` are what the report of the training says.
    """

    head: Head
    temperature: float
    out_of_fold: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)
