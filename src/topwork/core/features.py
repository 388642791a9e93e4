"""Bottleneck features, and the key with everything that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError

OWN_EXTRACTOR = "python:"
"""Prefix of the name of a feature extractor of the user, in place of a network."""


@dataclass(frozen=True)
class FeatureKey:
    """Everything besides an image's bytes that a feature vector depends on.

    Two vectors are interchangeable if and only if the SHA-256 of their images and their keys are equal.
    """

    backbone: str
    weights: str  # digest of the weights
    preprocessing: Mapping[str, Any]
    layers: tuple[str, ...]
    pool: str
    view: str
    engine: str
    number_format: str
    decoder: str

    @property
    def has_layers(self) -> bool:
        """Whether the features come from a network, whose layers can be trained."""
        return not self.backbone.startswith(OWN_EXTRACTOR)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all fields; it is the name of the key's folder in the feature store."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureShard:
    """Feature vectors ``[n, d]`` of ``n`` distinct images, which are identified by the SHA-256 of their bytes.

    The vectors are float32, or float16 for whole feature maps.
    """

    key: FeatureKey
    sha256: tuple[str, ...]
    vectors: Floats


@dataclass(frozen=True)
class Features:
    """Bottleneck features ``vectors`` ``[n, d]`` (float32); row ``i`` belongs to image ``image_id[i]``.

    ``views`` ``[k, n, d]`` are the features of the augmented views 1 to k of the same images. ``key`` is their feature
    key, ``requested`` are the parameters that they depend on, and ``content`` is the digest of the images' ids and
    contents. With these, a reader can check whether the features are still current.
    """

    key: FeatureKey
    requested: Mapping[str, Any]
    content: str
    image_id: tuple[str, ...]
    vectors: Floats
    views: Floats

    def positions(self, image_ids: Sequence[str]) -> Integers:
        """Row numbers of the given images, ``[len(image_ids)]``.

        Raises:
            InputError: an image has no features.

        """
        position = {image_id: row for row, image_id in enumerate(self.image_id)}
        absent = [image_id for image_id in image_ids if image_id not in position]
        if absent:
            raise InputError(
                f"{len(absent)} images have no features, for instance {absent[0]!r}: run `--pipelines features` again."
            )
        return np.array([position[image_id] for image_id in image_ids], int)

    def averaged(self) -> Floats:
        """The mean ``[n, d]`` over originals and views; the scores of a linear head are then averaged too."""
        return np.asarray((self.vectors + self.views.sum(axis=0)) / np.float32(1 + len(self.views)))
