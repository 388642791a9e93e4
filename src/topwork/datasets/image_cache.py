"""Images of an object storage that were read, on this machine's disk, up to a limit."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from topwork.datasets.remote import partial_beside

_STEPS = 50  # the folder is measured again when this part of the limit was written
_LEFT = 0.9  # of the limit, after the least recently used files have gone
_SUFFIX = ".image"


class ImageCache:
    """Bytes by name, in any number of processes at once; each may go over the limit by a fiftieth before it cleans.

    Files appear completely. A file that another process removed is a miss. Reading a file makes it a recent one.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock, self._unmeasured = threading.Lock(), limit  # the first file that is written starts a measurement

    def __reduce__(self) -> tuple[type[ImageCache], tuple[Path, int]]:
        return ImageCache, (self._folder, self._limit)

    def get(self, name: str) -> bytes | None:
        """The bytes of this name, or None."""
        path = self._path(name)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return content

    def put(self, name: str, content: bytes) -> None:
        """Store the bytes, unless they are too many; a full disk is no error, since the storage has them."""
        if len(content) > self._limit // _STEPS:
            return
        path = self._path(name)
        partial = partial_beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            return
        if self._is_time_to_clean(len(content)):
            self._clean()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}{_SUFFIX}"

    def _is_time_to_clean(self, written: int) -> bool:
        with self._lock:
            self._unmeasured += written
            if self._unmeasured < self._limit // _STEPS:
                return False
            self._unmeasured = 0
            return True

    def _clean(self) -> None:
        """Remove what was not used for the longest time, unless another process is doing it."""
        with suppress(Timeout, OSError), FileLock(self._folder / ".lock", timeout=0):
            held = sorted(self._held())
            over = sum(size for _, size, _ in held) - self._limit
            if over <= 0:
                return
            over += int(self._limit * (1 - _LEFT))
            for _, size, path in held:
                if over <= 0:
                    return
                Path(path).unlink(missing_ok=True)
                over -= size

    def _held(self) -> list[tuple[int, int, str]]:
        """Time of the last use, size and path of each file."""
        found = []
        for folder in os.scandir(self._folder):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                with suppress(OSError):
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        return found
