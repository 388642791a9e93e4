"""The processor cores that this process uses; a worker uses only its share of them."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from threading import Thread

from threadpoolctl import threadpool_limits

_LOOK_EVERY = 2.0  # seconds
_pinned: int | None = None


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return allowed if _pinned is None else min(_pinned, allowed)


def is_worker() -> bool:
    """Whether this process is a worker, so that it keeps what its next part needs too."""
    return _pinned is not None


def pin(threads: int) -> None:
    """Make this process a worker that computes in so many threads; Ctrl-C is left to the process that hired it."""
    global _pinned  # noqa: PLW0603 - a property of the process
    if _pinned == threads:
        return
    _pinned = threads
    with suppress(ValueError):  # raised outside the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True, name="parent").start()
    logging.disable(logging.INFO)  # the process that hired it tells of the work
    threadpool_limits(threads)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed one cannot end its workers, which would keep their memory."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)
