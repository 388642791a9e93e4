"""The content-addressed cache of feature vectors: append-only, shared between runs and data sets."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import DamagedError
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.stores import FeatureRows, FeatureStore
from topwork.datasets.checked import read_json, write_json, write_tensors
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import exists, listed, place, sent
from topwork.datasets.shard_index import Held, ShardIndex

_log = logging.getLogger(__name__)
_OPEN = 512  # shards that one `_Rows` keeps mapped, of the 65,530 files that Linux maps for a process
_INDICES = 16  # folders whose index is kept: a key's originals, its views, the near-duplicates' key


class FolderFeatureStore:
    """A folder for each feature key, with `key.json` and shards in it.

    A shard is a safetensors file with `sha256` ``[n, 32]`` (uint8) and `vectors` ``[n, d]`` (float32 or float16).

    Shards have unique names and appear completely, so any number of runs may add shards at once, and a kill loses at
    most the current shard. A damaged shard is ignored with a warning, and its images count as missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return sent(FolderFeatureStore, self._folder)

    def missing(self, key: FeatureKey, sha256: Sequence[str]) -> list[str]:
        """The digests in ``sha256`` that have no vector under ``key``, in their order and without repetitions."""
        distinct = list(dict.fromkeys(sha256))
        rows = self._index(key).held().positions(distinct)
        return [distinct[place] for place in np.flatnonzero(rows < 0)]

    def get(self, key: FeatureKey, sha256: Sequence[str]) -> Floats:
        """Vectors ``[len(sha256), d]`` in the order of ``sha256``.

        Raises:
            KeyError: an image has no vector under ``key``.

        """
        return _vectors(self._index(key), sha256)

    def rows(self, key: FeatureKey, sha256: Sequence[str]) -> FeatureRows:
        """The same vectors, read on access; the files are mapped into memory.

        Raises:
            KeyError: an image has no vector under ``key``.

        """
        return _Rows(self._path(key), tuple(sha256))

    def put(self, shard: FeatureShard) -> None:
        """Add a shard; existing files do not change."""
        folder = self._folder / shard.key.digest
        if not exists(folder / "key.json"):
            write_json(folder / "key.json", asdict(shard.key))
        tensors: dict[str, NDArray[Any]] = {
            "sha256": np.frombuffer(bytes.fromhex("".join(shard.sha256)), np.uint8).reshape(-1, 32),
            "vectors": shard.vectors,
        }
        write_tensors(folder / f"{uuid.uuid4().hex}.safetensors", tensors, {})

    def bytes_held(self, key: FeatureKey) -> int:
        """Bytes of all vectors under ``key``."""
        return int(self._index(key).held().sizes.sum())

    def contents(self) -> list[dict[str, Any]]:
        """For each key: its fields, the number of images, the bytes on disk."""
        keys = listed(self._folder, "*/key.json")
        described = [(path.parent, fields) for path in keys if (fields := _key_fields(path)) is not None]
        return [fields | ShardIndex(folder).held().size() for folder, fields in described]

    def _path(self, key: FeatureKey) -> Path:
        return (self._folder / key.digest).absolute()

    def _index(self, key: FeatureKey) -> ShardIndex:
        return _index_of(self._path(key))


class _Rows:
    """Vectors of some images from mapped shards, in the order of the images; several threads may read them."""

    def __init__(self, folder: Path, sha256: tuple[str, ...]) -> None:
        self._folder, self._sha256 = folder, sha256
        self._index = _index_of(folder)
        self._find()
        self._vectors = lru_cache(maxsize=_OPEN)(partial(_slice, self._index))

    def __reduce__(self) -> tuple[Any, ...]:  # another process maps the files itself
        return sent(_Rows, self._folder, self._sha256)

    def __getitem__(self, rows: Integers) -> Floats:
        while True:
            try:
                return self._read(*self._found, rows)
            except _LostError:  # another shard may have the image
                self._find()

    def _find(self) -> None:
        held = self._index.held()
        self._found = held, held.known_positions(self._sha256)  # at once, since other threads read it

    def _read(self, held: Held, positions: Integers, rows: Integers) -> Floats:
        order = np.argsort(positions[rows], kind="stable")  # shard after shard: each is opened once at most
        wanted = positions[rows][order]
        shards = np.searchsorted(held.starts, wanted, side="right") - 1
        places = (wanted - held.starts[shards]).tolist()
        read = [self._vectors(held.names[shard])[at : at + 1] for shard, at in zip(shards, places, strict=True)]
        vectors = np.empty((len(read), read[0].shape[1]), read[0].dtype)
        vectors[order] = np.concatenate(read)
        return vectors


class _LostError(Exception):
    """A shard of the index cannot be read any more."""


@lru_cache(maxsize=_INDICES)
def _index_of(folder: Path) -> ShardIndex:
    """The index of a folder; all handles of the process share it."""
    return ShardIndex(folder)


def _slice(index: ShardIndex, name: str) -> Any:
    if (file := index.open(name)) is None:
        raise _LostError
    return file.get_slice("vectors")


def _vectors(index: ShardIndex, sha256: Sequence[str]) -> Floats:
    """The vectors, of which one shard at a time is mapped; what a lost shard held is looked for in the others."""
    result, places = np.empty((0, 0), np.float32), np.arange(len(sha256))
    while len(places):
        held, lost = index.held(), [np.empty(0, int)]
        rows = held.known_positions([sha256[place] for place in places.tolist()])
        for name, at, within in held.by_shard(rows):
            if (file := index.open(name)) is None:
                lost.append(at)
                continue
            vectors = file.get_tensor("vectors")
            if not len(result):
                result = np.empty((len(sha256), vectors.shape[1]), vectors.dtype)
            result[places[at]] = vectors[within]
        places = places[np.concatenate(lost)]
    return result


def _key_fields(path: Path) -> dict[str, Any] | None:
    """The fields of a key, for people; None if the file is damaged."""
    try:
        fields: dict[str, Any] = read_json(path)
    except DamagedError as error:
        _log.warning("%s is damaged (%s): delete it; the next run over new images writes it again.", path, error)
        return None
    return fields


class FeatureStoreDataset(AbstractDataset[FeatureShard, FeatureStore]):
    """Loads a handle on the store; saving a shard adds it."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._store = FolderFeatureStore(place(path))
        self._path = place(path)
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
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
