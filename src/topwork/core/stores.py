"""Handles from the catalog, with which nodes read and store data without knowing where it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Classifier
from topwork.core.features import FeatureKey, FeatureShard


def no_attributes() -> pd.DataFrame:
    """The attributes of images of which nothing is told beside their labels."""
    return pd.DataFrame({"image_id": pd.Series(dtype="str")})


class ImageStore(Mapping[str, bytes]):
    """Read-only mapping from image id to the bytes of its file, which is read on access.

    ``listing`` is the table of all files found (columns ``LISTING_COLUMNS``), ``layout`` is the recognised layout, and
    ``source`` is the path that the user gave. ``attributes`` are the columns of a table of images that are the user's
    own (text), beside ``image_id``.
    """

    listing: pd.DataFrame
    attributes: pd.DataFrame
    layout: str
    source: str

    @abstractmethod
    def only(self, image_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The same images, but only those with these ids; it can be sent to another process, which reads the files."""

    def __len__(self) -> int:
        return len(self.listing)

    def __iter__(self) -> Iterator[str]:
        return iter(self.listing["image_id"])


class TrainedStore(Protocol):
    """Handle on what the strategies have trained; ``slot`` is the folder of their features (`Candidate.slot`)."""

    def classifier(self, strategy: str, slot: str) -> Classifier:
        """The classifier of the strategy."""
        ...

    def distances(self, strategy: str, slot: str) -> pd.DataFrame:
        """The distances of the test images to the training images."""
        ...


class FeatureStore(Protocol):
    """Handle on cached feature vectors; the implementation decides where they are stored."""

    def missing(self, key: FeatureKey, sha256: Sequence[str]) -> list[str]:
        """The elements of ``sha256`` without a vector under ``key``, each once and in the given order."""
        ...

    def get(self, key: FeatureKey, sha256: Sequence[str]) -> Floats:
        """Vectors ``[len(sha256), d]`` in the order of ``sha256``."""
        ...

    def rows(self, key: FeatureKey, sha256: Sequence[str]) -> FeatureRows:
        """The same vectors, read later on access."""
        ...

    def put(self, shard: FeatureShard) -> None:
        """Add a shard; existing shards do not change."""
        ...

    def bytes_held(self, key: FeatureKey) -> int:
        """Size of all vectors under ``key`` in bytes."""
        ...


class FeatureRows(Protocol):
    """Cached vectors of some images, read on access, so that only one batch is in memory."""

    def __getitem__(self, rows: Integers) -> Floats:
        """Vectors ``[len(rows), d]`` of the images with these row numbers."""
        ...


class CheckpointStore(Protocol):
    """Handle on checkpoints of trainings by name; each has tensors and facts."""

    def get(self, name: str) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        """Tensors and facts of the checkpoint with this name, or None."""
        ...

    def put(self, name: str, tensors: Mapping[str, Floats], facts: Mapping[str, Any]) -> None:
        """Store a checkpoint, in place of an earlier one with this name."""
        ...

    def keep_only(self, names: Sequence[str]) -> None:
        """Remove all checkpoints except those with these names."""
        ...


class NetworkStore(Protocol):
    """Handle on converted networks; each consists of a graph and its weights."""

    def network(self, name: str) -> tuple[bytes, bytes] | None:
        """Graph and weights of the network with this name, or None."""
        ...

    def keep_network(self, name: str, graph: bytes, weights: bytes) -> None:
        """Store the network for later runs."""
        ...


class EngineStore(NetworkStore, Protocol):
    """Handle on the engines chosen on this machine, and on converted networks."""

    def recall(self, request: Mapping[str, Any]) -> FeatureKey | None:
        """The stored key of an equal request, or None."""
        ...

    def remember(self, request: Mapping[str, Any], key: FeatureKey, measured: Sequence[Mapping[str, Any]]) -> None:
        """Store the key of a request, and the measurements by which it was chosen."""
        ...


@dataclass(frozen=True)
class Stores:
    """Handles that a training needs: images, and stores for computed data."""

    images: Mapping[str, bytes]
    features: FeatureStore
    engines: EngineStore
    checkpoints: CheckpointStore
