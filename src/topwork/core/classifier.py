"""The classifier that every strategy ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.features import FeatureKey
from topwork.core.heads import Head

CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS = "spec.json", "weights.safetensors"  # the files of a classifier


@dataclass(frozen=True)
class Rejection:
    """How far features are from all that was learnt from, and from where on they are of none of the classes.

    Features ``[n, d]`` less the ``centre`` ``[d]`` are taken along ``directions`` ``[k, d]``, with the length of the
    rest as one more coordinate; ``whitening`` ``[k + 1, k + 1]`` makes the classes round, ``means`` ``[c, k + 1]`` are
    theirs.
    """

    centre: Floats
    directions: Floats
    whitening: Floats
    means: Floats
    threshold: float

    def distances(self, features: Floats) -> Floats:
        """To the nearest class mean, ``[n]``."""
        places = self.coordinates(features) @ self.whitening.T
        squared = (places**2).sum(1)[:, None] - 2 * places @ self.means.T + (self.means**2).sum(1)
        return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), 0)))

    def coordinates(self, features: Floats) -> Floats:
        """Along the directions, and the length of what lies outside them, ``[n, k + 1]``."""
        centred = np.asarray(features, np.float64) - self.centre
        along = centred @ self.directions.T
        outside = np.sqrt(np.maximum((centred**2).sum(1) - (along**2).sum(1), 0))
        return np.column_stack([along, outside])

    def rejecting_above(self, threshold: float) -> Rejection:
        """The same with another bound."""
        return replace(self, threshold=threshold)


@dataclass(frozen=True)
class Classifier:
    """A backbone with a head grafted on: what every strategy ends in, and all that is needed to answer.

    ``probabilities = softmax(scores / temperature)``, columns in the order of ``class_names``; ``training`` is what the
    training reports, numbers and words. With ``test_views`` (``count`` and ``plan``) an image's scores are the mean
    over the original and so many of its augmented views. ``network`` holds the backbone's tensors: those of the trunk
    (``trunk.…``) and of the dense layers of ``hidden`` sizes before the head (``neck.…``). If it is ``frozen``, the
    head was fitted on features that ``key`` names, else the network has learnt too. ``rejection`` tells images of none
    of the classes; ``data_digest`` names the images.
    """

    strategy: str
    key: FeatureKey
    head: Head
    class_names: tuple[str, ...]
    temperature: float
    split_digest: str
    training: Mapping[str, Any] = field(default_factory=dict)
    test_views: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Floats] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    frozen: bool = True
    data_digest: str = ""
    rejection: Rejection | None = None
