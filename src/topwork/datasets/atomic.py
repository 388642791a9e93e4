"""Files that appear completely or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from topwork.datasets.remote import partial_beside, publish

_PARTIAL = ".*.partial"
_ABANDONED = 24 * 3600  # seconds after which nobody writes to a partial file any more


@contextmanager
def appearing_together(*paths: Path, durable: bool = True) -> Iterator[tuple[Path, ...]]:
    """A temporary path beside each of ``paths`` to write to; they replace ``paths`` if the block succeeds, else go.

    All files are on disk before the first one is renamed, so that only the renames lie between old and new. Where a
    path stands for a URL, its file is put there first, in one piece. A killed process leaves hidden `.partial` files
    that nothing reads (`remove_abandoned`). With ``durable`` off, a power failure may leave an empty file.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    partials = tuple(map(partial_beside, paths))
    try:
        yield partials
        for partial in partials if durable else ():
            with partial.open("rb") as written:
                os.fsync(written.fileno())
        for partial, path in zip(partials, paths, strict=True):
            publish(partial, path)
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


@contextmanager
def appearing_whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """`appearing_together` for one file."""
    with appearing_together(path, durable=durable) as (partial,):
        yield partial


def remove_abandoned(folder: Path, *, older_than: float = _ABANDONED) -> None:
    """Remove partial files of killed processes below the folder, if they are at least ``older_than`` seconds old."""
    newest = time.time() - older_than
    for path in folder.rglob(_PARTIAL):
        with suppress(OSError):  # the file of another user, or already removed
            if path.is_file() and path.stat().st_mtime <= newest:
                path.unlink()
