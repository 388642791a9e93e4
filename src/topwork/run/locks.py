"""One run at a time in a folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from topwork.core.errors import InputError

_FOLDER = ".locks"

_log = logging.getLogger(__name__)


@contextmanager
def sole_run(data: Path, work: str) -> Iterator[None]:
    """Hold the lock for one kind of ``work`` in the folder ``data``; the end of the process frees it, however it ends.

    Raises:
        InputError: another process holds it; the message names its number.

    """
    folder = data / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / f"{work}.lock", timeout=0), folder / f"{work}.json"
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"data={data}: another {work}{_named(holder)} works here. Wait for its end, or give another data=DIR."
        ) from None
    except NotImplementedError:  # so filelock says that the file system has no locks
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
    with suppress(OSError, ValueError, KeyError, TypeError):  # it may be written just now
        return f" (process {json.loads(holder.read_text(encoding='utf-8'))['pid']})"
    return ""
