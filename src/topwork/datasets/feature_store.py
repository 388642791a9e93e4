"""The content-addressed cache of feature vectors: append-only, shared between runs and data sets."""

from __future__ import annotations

import json
import logging
import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import DamagedError
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.stores import FeatureRows, FeatureStore
from topwork.datasets.checked import open_tensors, read_json, write_json, write_tensors
from topwork.datasets.previews import JSONPreview

_log = logging.getLogger(__name__)
_DIGEST = np.dtype("S32")  # a raw SHA-256; its length is fixed, so NumPy may strip trailing zeros
_BYTES = {"F32": 4, "F16": 2}


class FolderFeatureStore:
    """A folder for each feature key, with `key.json` and shards in it.

    A shard is a safetensors file with `sha256` ``[n, 32]`` (uint8) and `vectors` ``[n, d]`` (float32 or float16).

    Shards have unique names and appear completely, so any number of runs may add shards at once, and a kill loses at
    most the current shard. A damaged shard is ignored with a warning, and its images count as missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def missing(self, key: FeatureKey, sha256: Sequence[str]) -> list[str]:
        """The digests in ``sha256`` that have no vector under ``key``, in their order and without repetitions."""
        index = _Index(self._folder / key.digest)
        distinct = list(dict.fromkeys(sha256))
        return [digest for digest, row in zip(distinct, index.positions(distinct), strict=True) if row < 0]

    def get(self, key: FeatureKey, sha256: Sequence[str]) -> Floats:
        """Vectors ``[len(sha256), d]`` in the order of ``sha256``.

        Raises:
            KeyError: an image has no vector under ``key``.

        """
        return _Index(self._folder / key.digest).vectors(sha256)

    def rows(self, key: FeatureKey, sha256: Sequence[str]) -> FeatureRows:
        """The same vectors, read on access; the files are mapped into memory.

        Raises:
            KeyError: an image has no vector under ``key``.

        """
        return _Rows(self._folder / key.digest, tuple(sha256))

    def put(self, shard: FeatureShard) -> None:
        """Add a shard; existing files do not change."""
        folder = self._folder / shard.key.digest
        if not (folder / "key.json").exists():
            write_json(folder / "key.json", asdict(shard.key))
        tensors: dict[str, NDArray[Any]] = {
            "sha256": np.frombuffer(bytes.fromhex("".join(shard.sha256)), np.uint8).reshape(-1, 32),
            "vectors": shard.vectors,
        }
        write_tensors(folder / f"{uuid.uuid4().hex}.safetensors", tensors, {})

    def bytes_held(self, key: FeatureKey) -> int:
        """Bytes of all vectors under ``key``."""
        return _Index(self._folder / key.digest).size()["bytes"]

    def contents(self) -> list[dict[str, Any]]:
        """For each key: its fields, the number of images, the bytes on disk."""
        keys = sorted(self._folder.glob("*/key.json"))
        return [fields | _Index(path.parent).size() for path in keys if (fields := _key_fields(path)) is not None]


class _Index:
    """Finds the shard and the row of an image's vector; shards are opened once and read only as far as needed."""

    def __init__(self, folder: Path) -> None:
        self._shards = [shard for path in sorted(folder.glob("*.safetensors")) if (shard := _open(path)) is not None]

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.bytes_], NDArray[np.intp]]:
        """All digests in ascending order, and the row of each, counted over all shards."""
        digests = [shard.get_tensor("sha256") for shard in self._shards]
        joined = np.concatenate([np.empty((0, 32), np.uint8), *digests])
        flat = np.ascontiguousarray(joined).view(_DIGEST).ravel()
        order = np.argsort(flat, kind="stable")
        return flat[order], order

    def positions(self, sha256: Sequence[str]) -> NDArray[np.intp]:
        """Row of each image, counted over all shards; -1 if it has none."""
        digests, order = self._sorted
        if not len(digests) or not sha256:
            return np.full(len(sha256), -1)
        asked = np.frombuffer(bytes.fromhex("".join(sha256)), np.uint8).view(_DIGEST)
        at = np.minimum(np.searchsorted(digests, asked), len(digests) - 1)
        return np.where(digests[at] == asked, order[at], -1)

    def known_positions(self, sha256: Sequence[str]) -> NDArray[np.intp]:
        """The same, where each image must have a row.

        Raises:
            KeyError: an image has none.

        """
        rows = self.positions(sha256)
        if (rows < 0).any():
            raise KeyError(f"no features of the image with SHA-256 {sha256[int(np.argmax(rows < 0))]}")
        return rows

    def slices(self) -> Iterator[tuple[int, Any]]:
        """For each shard, the position of its first row and its vectors, which are read on access."""
        start = 0
        for shard in self._shards:
            yield start, shard.get_slice("vectors")
            start += shard.get_slice("sha256").get_shape()[0]

    def vectors(self, sha256: Sequence[str]) -> Floats:
        rows = self.known_positions(sha256)
        result: Floats | None = None
        start = 0
        for shard in self._shards:
            end = start + shard.get_slice("sha256").get_shape()[0]
            wanted = (rows >= start) & (rows < end)
            if wanted.any():
                vectors = shard.get_tensor("vectors")
                if result is None:
                    result = np.empty((len(rows), vectors.shape[1]), vectors.dtype)
                result[wanted] = vectors[rows[wanted] - start]
            start = end
        return np.empty((0, 0), np.float32) if result is None else result

    def size(self) -> dict[str, int]:
        """Number of distinct images and bytes of their vectors."""
        slices = [slice_ for _, slice_ in self.slices()]
        held = (_BYTES[slice_.get_dtype()] * math.prod(slice_.get_shape()) for slice_ in slices)
        return {"images": len(np.unique(self._sorted[0])), "bytes": sum(held)}


class _Rows:
    """Vectors of some images from mapped shards, in the order of the images."""

    def __init__(self, folder: Path, sha256: tuple[str, ...]) -> None:
        index = _Index(folder)
        self._of = folder, sha256
        self._positions = index.known_positions(sha256)
        self._starts, self._slices = zip(*index.slices(), strict=True)

    def __reduce__(self) -> tuple[Any, ...]:  # another process maps the files itself
        return _Rows, self._of

    def __getitem__(self, rows: Integers) -> Floats:
        positions = self._positions[rows]
        shards = np.searchsorted(self._starts, positions, side="right") - 1
        places = positions - np.asarray(self._starts)[shards]
        return np.concatenate(
            [self._slices[shard][int(at) : int(at) + 1] for shard, at in zip(shards, places, strict=True)]
        )


def _key_fields(path: Path) -> dict[str, Any] | None:
    """The fields of a key, for people; None if the file is damaged."""
    try:
        fields: dict[str, Any] = read_json(path)
    except DamagedError as error:
        _log.warning("%s is damaged (%s): delete it; the next run over new images writes it again.", path, error)
        return None
    return fields


def _open(path: Path) -> Any:
    try:
        return open_tensors(path)[0]
    except (DamagedError, OSError) as error:
        _log.warning("%s is damaged (%s): the features of its images are computed again.", path, error)
        return None


class FeatureStoreDataset(AbstractDataset[FeatureShard, FeatureStore]):
    """Loads a handle on the store; saving a shard adds it."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._store = FolderFeatureStore(Path(path))
        self._path = Path(path)
        self.metadata = metadata

    def load(self) -> FeatureStore:
        """The handle."""
        return self._store

    def save(self, data: FeatureShard) -> None:
        """Add the shard."""
        self._store.put(data)

    def preview(self) -> JSONPreview:
        """What the store holds, key by key, for kedro-viz."""
        return JSONPreview(json.dumps(self._store.contents()))

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
