"""Images in an object storage: listed by one request for many, read when asked for, and kept in a cache of the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from stat import S_IFREG
from typing import Any

import pandas as pd

from topwork.core.errors import InputError
from topwork.core.stores import ImageStore
from topwork.data.image_files import FoundFile, is_litter
from topwork.data.image_table import TABLES
from topwork.data.listing import Listing, from_text, list_files
from topwork.datasets.image_cache import ImageCache
from topwork.datasets.remote import Mirror, at_hand, cache_folder, in_urls, mirror_of, place, version_of, written_at

_GIGABYTE = 10**9
_STAMP = ("path", "size", "mtime_ns", "ctime_ns", "inode")


class RemoteImages(ImageStore):
    """Images in a storage; their ``path`` in the listing is a URL, their stamp tells one version from another."""

    def __init__(self, found: Listing, source: str, mirror: Mirror, cache: ImageCache) -> None:
        self.listing, self.layout, self.attributes = found.table, found.layout, found.attributes
        self.source = source
        self._mirror, self._cache = mirror, cache

    @cached_property
    def _stamps(self) -> dict[str, tuple[Any, ...]]:
        columns = [self.listing[name] for name in _STAMP]
        return dict(zip(self.listing["image_id"], zip(*columns, strict=True), strict=True))

    def only(self, image_ids: Sequence[str]) -> RemoteImages:
        """Images with these ids alone."""
        rows = [(image_id, *self._stamps[image_id]) for image_id in image_ids]
        listing = pd.DataFrame(rows, columns=pd.Index(["image_id", *_STAMP]))
        return RemoteImages(Listing(listing, self.layout), self.source, self._mirror, self._cache)

    def __getitem__(self, image_id: str) -> bytes:
        stamp = self._stamps[image_id]
        name = hashlib.sha256(repr([str(self._mirror.root), *map(str, stamp)]).encode()).hexdigest()
        content = self._cache.get(name)
        if content is None:
            url, size = from_text(stamp[0]), stamp[1]
            content = self._mirror.read(url)
            if len(content) == size:  # else it has changed since it was listed
                self._cache.put(name, content)
        return content


def load_images(url: str, layout: str, parameter: str, gigabytes: float) -> tuple[RemoteImages, Listing]:
    """The images below a URL, or those of a table there.

    Raises:
        InputError: there are none, or they do not have this layout.

    """
    path = place(url)
    mirror = mirror_of(path)
    assert mirror is not None
    try:
        info = mirror.info(path)
    except FileNotFoundError:
        raise InputError(f"{parameter}={url}: there is no such folder or table.") from None
    is_table = info["type"] == "file"
    if is_table and path.suffix.lower() in TABLES:
        at_hand(path)
    tree = _Tree(mirror, path.parent if is_table else path)
    try:
        found = list_files(path, layout, parameter, tree)
    except InputError as error:
        raise InputError(in_urls(str(error))) from error
    paths = [in_urls(each) for each in found.table["path"]]
    cache = ImageCache(cache_folder() / "images", int(gigabytes * _GIGABYTE))
    told = replace(found, table=found.table.assign(path=paths), notes=tuple(map(in_urls, found.notes)))
    return RemoteImages(told, url, mirror, cache), told


def save_images(url: str, data: Iterable[tuple[str, bytes]], mark: str) -> None:
    """Write pairs of relative name and bytes below a URL; equal objects are not written again, all others are removed.

    Raises:
        InputError: objects are there, but not the one called ``mark``, which says that Topwork wrote them.

    """
    folder = place(url)
    mirror = mirror_of(folder)
    assert mirror is not None
    there = mirror.below(folder)
    if there and folder / mark not in there:
        raise InputError(f"{url} holds files that Topwork did not write: give another `images=`.")
    mirror.write(folder / mark, b"")
    expected = {folder / mark}
    for name, content in data:
        path = folder / name
        expected.add(path)
        known = there.get(path)
        if known is None or known["size"] != len(content) or mirror.read(mirror.url(path)) != content:
            mirror.write(path, content)
    for path in there.keys() - expected:
        mirror.remove(path)


class _Tree:
    """The files below a folder of a mirror, as `data.image_files` finds them on a disk."""

    def __init__(self, mirror: Mirror, root: Path) -> None:
        self._mirror, self._root = mirror, root
        self._files = mirror.names_below(root)
        self._inside: dict[str, list[str]] = {str(root): []}
        self._folders: dict[str, set[str]] = {}
        for path in self._files:
            folder, _, name = path.rpartition("/")
            if not is_litter(name) and self._is_known(folder):
                self._inside[folder].append(name)

    def _is_known(self, folder: str) -> bool:
        """Note the folder in the one above; False if it lies in one that a system made."""
        if folder in self._inside:
            return True
        above, _, name = folder.rpartition("/")
        if is_litter(name) or not self._is_known(above):
            return False
        self._folders.setdefault(above, set()).add(name)
        self._inside[folder] = []
        return True

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        return str(path) in self._files

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder, which is where any file is below it."""
        return not self.is_file(path)

    def subfolders(self, folder: Path) -> list[Path]:
        """Subfolders that hold anything, sorted by name."""
        return sorted(folder / name for name in self._folders.get(str(folder), ()))

    def loose_files(self, folder: Path) -> list[str]:
        """Names of the files directly in a folder, sorted."""
        return sorted(self._inside.get(str(folder), ()))

    def walk(self, folder: str, relative: str) -> Iterator[FoundFile]:
        """Files below a folder, sorted by name."""
        folders = self._folders.get(folder, set())
        for name in sorted([*folders, *self._inside.get(folder, ())]):
            inner, below = f"{folder}/{name}", f"{relative}/{name}" if relative else name
            if name in folders:
                yield from self.walk(inner, below)
            if inner in self._files:
                yield self.look_at(below, inner)

    def look_at(self, relative: str, path: str) -> FoundFile:
        """The file at this path; one outside of the tree is asked for by itself."""
        info = self._files.get(path) or self._outside(Path(path))
        if info is None:
            return FoundFile(relative, path, None, "file not found")
        return FoundFile(relative, path, _status(info), "")

    def _outside(self, path: Path) -> Mapping[str, Any] | None:
        if path.is_relative_to(self._root) or not self._mirror.holds(path):
            return None
        try:
            info = self._mirror.info(path)
        except FileNotFoundError:
            return None
        return info if info["type"] == "file" else None


def _status(info: Mapping[str, Any]) -> os.stat_result:
    """Size and time of an object, and a number that is another one for each version, where a file has its inode."""
    version = int.from_bytes(hashlib.sha256(version_of(info).encode()).digest()[:7], "big")  # fits into int64
    times = {"st_mtime_ns": written_at(info), "st_ctime_ns": 0}
    return os.stat_result((S_IFREG | 0o444, version, 0, 1, 0, 0, int(info["size"]), 0, 0, 0), times)
