"""A lock, so that only one run at a time works in a folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from topwork.core.errors import InputError
from topwork.datasets.remote import in_urls, mirror_of

_FOLDER = ".locks"

_log = logging.getLogger(__name__)


@contextmanager
def sole_run(data: Path, work: str) -> Iterator[None]:
    """Hold the lock for one kind of ``work`` in the folder ``data``; it is also released if the process is killed.

    Raises:
        InputError: another process holds the lock; the message names its process id.

    """
    if mirror_of(data):
        _log.warning(
            "%s: the lock is of this machine alone: do not start runs in it on two machines.", in_urls(f"{data}")
        )
    folder = data / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / f"{work}.lock", timeout=0), folder / f"{work}.json"
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"data={in_urls(str(data))}: another {work}{_named(holder)} works here. Wait for its end, or give another "
            "data=DIR."
        ) from None
    except NotImplementedError:  # filelock raises this if the file system has no locks
        _log.warning("%s lies on a file system without locks: do not start two runs in it at once.", data)
        yield
        return
    try:
        holder.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _named(holder: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):  # the file may be incomplete at this moment
        return f" (process {json.loads(holder.read_text(encoding='utf-8'))['pid']})"
    return ""
