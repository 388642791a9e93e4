"""Where a feature vector lies among the shards of a folder: the index of their SHA-256."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Integers
from topwork.core.errors import DamagedError
from topwork.datasets.checked import open_tensors
from topwork.datasets.remote import listed, mirror_of

_log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_DIGEST = np.dtype("S32")  # a raw SHA-256; its length is fixed, so NumPy may strip trailing zeros
_BYTES = {"F32": 4, "F16": 2}

Digests = NDArray[np.bytes_]


@dataclass(frozen=True)
class Held:
    """The digests of some shards, in the order of their names; a row is counted over all of them.

    Where two shards have the same image, the row is the one in the shard whose name comes first, in every process.
    """

    numbers: Mapping[str, int]  # of the shards, by name
    starts: Integers  # [shards + 1], the first row of each, and the number of rows
    sizes: Integers  # [shards], bytes of the vectors
    digests: Digests  # [rows]
    order: Integers  # [rows], the rows by ascending digest

    @classmethod
    def of(cls, shards: Mapping[str, tuple[Digests, int]]) -> Held:
        """Of the digests and the bytes of the vectors of each shard, by name."""
        names = sorted(shards)
        digests = np.concatenate([np.empty(0, _DIGEST), *(shards[name][0] for name in names)])
        starts = np.cumsum([0, *(len(shards[name][0]) for name in names)])
        sizes = np.array([shards[name][1] for name in names], int)
        order = np.argsort(digests, kind="stable")
        return cls({name: number for number, name in enumerate(names)}, starts, sizes, digests, order)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the shards, by number."""
        return tuple(self.numbers)

    def shard(self, name: str) -> tuple[Digests, int]:
        """The digests and the bytes of a shard, as `of` takes them."""
        number = self.numbers[name]
        return self.digests[self.starts[number] : self.starts[number + 1]], int(self.sizes[number])

    def positions(self, sha256: Sequence[str]) -> Integers:
        """Row of each image, ``[len(sha256)]``; -1 if it has none."""
        if not len(self.digests) or not sha256:
            return np.full(len(sha256), -1)
        asked = np.frombuffer(bytes.fromhex("".join(sha256)), np.uint8).view(_DIGEST)
        ascending, at = np.argsort(asked, kind="stable"), np.empty(len(asked), int)
        # neighbours are searched for one after the other: what is compared is in the processor's cache by then
        at[ascending] = np.searchsorted(self.digests, asked[ascending], sorter=self.order)
        rows = self.order[np.minimum(at, len(self.digests) - 1)]
        return np.where(self.digests[rows] == asked, rows, -1)

    def known_positions(self, sha256: Sequence[str]) -> Integers:
        """The same, where each image must have a row.

        Raises:
            KeyError: an image has none.

        """
        rows = self.positions(sha256)
        if (rows < 0).any():
            raise KeyError(f"no features of the image with SHA-256 {sha256[int(np.argmax(rows < 0))]}")
        return rows

    def by_shard(self, rows: Integers) -> Iterator[tuple[str, Integers, Integers]]:
        """For each shard with any of ``rows``: its name, their places in ``rows``, and in the shard."""
        order = np.argsort(rows, kind="stable")
        edges = np.searchsorted(rows[order], self.starts)
        for number in np.flatnonzero(np.diff(edges)):
            places = order[edges[number] : edges[number + 1]]
            yield self.names[number], places, rows[places] - self.starts[number]

    def size(self) -> dict[str, int]:
        """Number of distinct images and bytes of their vectors."""
        ascending = self.digests[self.order]
        repeated = int((ascending[1:] == ascending[:-1]).sum())
        return {"images": len(ascending) - repeated, "bytes": int(self.sizes.sum())}


class ShardIndex:
    """The index of a folder, which is built anew when a shard comes or goes; the vectors stay in the files.

    A row takes 40 bytes of memory. Shards never change, so that a look at the names in the folder is enough: the time
    of the folder itself is too coarse to tell two changes apart. Several threads may use it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = Held.of({})
        self._unusable: set[str] = set()
        self._lock = threading.Lock()

    def held(self) -> Held:
        """What the shards hold now."""
        with self._lock:
            # once more if shards were unusable, which are left out then, or went between the look and the opening
            while (names := self._names()) != self._held.numbers.keys():
                read = {name: self._shard(name) for name in names}
                self._held = Held.of({name: shard for name, shard in read.items() if shard is not None})
            return self._held

    def open(self, name: str) -> Any:
        """The shard mapped into memory as long as what is returned, or a slice of it, is referenced.

        None if it is gone or damaged; `held` leaves it out from then on.
        """
        try:
            return open_tensors(self._folder / name)[0]
        except FileNotFoundError:
            pass
        except (DamagedError, OSError) as error:
            path = self._folder / name
            _log.warning("%s is damaged (%s): the features of its images are computed again.", path, error)
        self._unusable.add(name)
        return None

    def _names(self) -> set[str]:
        if mirror_of(self._folder):
            return {path.name for path in listed(self._folder, f"*{_SUFFIX}")} - self._unusable
        try:
            with os.scandir(self._folder) as entries:
                names = {entry.name for entry in entries if entry.name.endswith(_SUFFIX)}
        except FileNotFoundError:
            return set()
        return names - self._unusable

    def _shard(self, name: str) -> tuple[Digests, int] | None:
        if name in self._held.numbers:
            return self._held.shard(name)
        if (file := self.open(name)) is None:
            return None
        vectors = file.get_slice("vectors")
        digests = np.ascontiguousarray(file.get_tensor("sha256")).view(_DIGEST).ravel()
        return digests, _BYTES[vectors.get_dtype()] * prod(vectors.get_shape())
