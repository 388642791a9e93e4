"""Bottleneck features, and the key that says what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError


@dataclass(frozen=True)
class FeatureKey:
    """Everything besides an image's bytes that a feature vector depends on.

    Two vectors may be exchanged for one another exactly if their images' SHA-256 and their keys are equal.
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
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all fields, the name of the key's folder in the feature store."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureShard:
    """Finished feature vectors ``[n, d]`` of ``n`` distinct images, named by the SHA-256 of their bytes.

    They are float32, or float16 where whole maps are kept.
    """

    key: FeatureKey
    sha256: tuple[str, ...]
    vectors: Floats


@dataclass(frozen=True)
class Features:
    """Bottleneck features ``vectors`` ``[n, d]`` (float32), row ``i`` of image ``image_id[i]``.

    ``views`` ``[k, n, d]`` are those of the augmented views number 1 to k of the same images. They carry the ``key``
    they were made under, what was ``requested`` by the parameters, and the digest of the images' ids and ``content``,
    so that who uses them can tell whether they are still the right ones.
    """

    key: FeatureKey
    requested: Mapping[str, Any]
    content: str
    image_id: tuple[str, ...]
    vectors: Floats
    views: Floats

    def positions(self, image_ids: Sequence[str]) -> Integers:
        """Row numbers of the images asked for, ``[len(image_ids)]``.

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
        """The mean ``[n, d]`` over originals and views: a linear head's score of it is the mean of its scores."""
        return np.asarray((self.vectors + self.views.sum(axis=0)) / np.float32(1 + len(self.views)))
