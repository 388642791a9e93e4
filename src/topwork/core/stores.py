"""What the catalog lends to nodes: handles by which they read and keep, without knowing where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from topwork.core.arrays import Floats, Integers
from topwork.core.features import FeatureKey, FeatureShard


class ImageStore(Mapping[str, bytes]):
    """Read-only mapping from image id to the bytes of its file, read when asked for.

    ``listing`` is the table of all files found (columns ``LISTING_COLUMNS``), ``layout`` how the folder was understood,
    ``source`` what the user gave.
    """

    listing: pd.DataFrame
    layout: str
    source: str

    def __len__(self) -> int:
        return len(self.listing)

    def __iter__(self) -> Iterator[str]:
        return iter(self.listing["image_id"])


class FeatureStore(Protocol):
    """Handle on cached feature vectors; where they lie is the handle's own affair."""

    def missing(self, key: FeatureKey, sha256: Sequence[str]) -> list[str]:
        """Those of ``sha256``, each once and in their order, that have no vector under ``key``."""
        ...

    def get(self, key: FeatureKey, sha256: Sequence[str]) -> Floats:
        """Vectors ``[len(sha256), d]`` in the order asked for."""
        ...

    def rows(self, key: FeatureKey, sha256: Sequence[str]) -> FeatureRows:
        """The same without reading them yet."""
        ...

    def put(self, shard: FeatureShard) -> None:
        """Add a shard; nothing that is already there changes."""
        ...

    def bytes_held(self, key: FeatureKey) -> int:
        """Bytes of all vectors under ``key``."""
        ...


class FeatureRows(Protocol):
    """Cached vectors of some images, read as they are asked for; memory holds no more than a batch."""

    def __getitem__(self, rows: Integers) -> Floats:
        """Vectors ``[len(rows), d]`` of the images at these places."""
        ...


class CheckpointStore(Protocol):
    """Handle on what trainings have reached, by a name that says which: tensors, and facts beside them."""

    def get(self, name: str) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        """The checkpoint of this name, if there is one."""
        ...

    def put(self, name: str, tensors: Mapping[str, Floats], facts: Mapping[str, Any]) -> None:
        """Put it in the place of the one before."""
        ...

    def keep_only(self, names: Sequence[str]) -> None:
        """Remove the checkpoints of other trainings."""
        ...


class NetworkStore(Protocol):
    """Handle on networks converted to another form, each a graph and its weights."""

    def network(self, name: str) -> tuple[bytes, bytes] | None:
        """The network kept under this name, if there is one."""
        ...

    def keep_network(self, name: str, graph: bytes, weights: bytes) -> None:
        """Keep it for later runs."""
        ...


class EngineStore(NetworkStore, Protocol):
    """Handle on what this machine found out about engines: choices made, and networks converted."""

    def recall(self, request: Mapping[str, Any]) -> FeatureKey | None:
        """The key that an equal request was resolved to, if one was."""
        ...

    def remember(self, request: Mapping[str, Any], key: FeatureKey, measured: Sequence[Mapping[str, Any]]) -> None:
        """Keep the key, and what was measured to choose it."""
        ...


@dataclass(frozen=True)
class Stores:
    """What the catalog lends to a training: images, and where to keep what is computed."""

    images: Mapping[str, bytes]
    features: FeatureStore
    engines: EngineStore
    checkpoints: CheckpointStore
