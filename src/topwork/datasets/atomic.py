"""Files that appear completely or not at all."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = ".*.partial"
_ABANDONED = 24 * 3600  # seconds after which nobody writes to a partial file any more


@contextmanager
def appearing_whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it replaces ``path`` if the block succeeds, else it is removed.

    A killed process leaves a hidden `.partial` file that nothing reads (`remove_abandoned`). With ``durable`` off, a
    power failure may leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.partial"
    try:
        yield partial
        if durable:
            with partial.open("rb") as written:
                os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_abandoned(folder: Path, *, older_than: float = _ABANDONED) -> None:
    """Remove partial files of killed processes below the folder, if they are at least ``older_than`` seconds old."""
    newest = time.time() - older_than
    for path in folder.rglob(_PARTIAL):
        with suppress(OSError):  # the file of another user, or already removed
            if path.is_file() and path.stat().st_mtime <= newest:
                path.unlink()
