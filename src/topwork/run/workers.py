"""The workers that the user asked for: `workers=N`, `backend=NAME`, `cluster=ADDRESS`."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from topwork.core.errors import InputError
from topwork.core.words import counted

_LOCAL = "loky"
_BACKENDS = (_LOCAL, "ray", "dask")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AskedWorkers:
    """``count`` workers of a ``backend``, in the ``cluster`` of this address or on this machine."""

    backend: str
    count: int
    cluster: str | None
    threads: int | None

    @contextmanager
    def hired(self) -> Iterator[None]:
        """A context in which they work for this run."""
        from topwork.workers import hired

        with hired(self.backend, self.count, self.cluster, self.threads):
            where = f"in the cluster {self.cluster}" if self.cluster else "on this machine"
            _log.info("%s %s (%s)", counted(self.count, "worker"), where, self.backend)
            yield


def checked_workers(knobs: Mapping[str, Any]) -> AskedWorkers | None:
    """The workers that the main parameters ask for; None: the run works in its own process.

    Raises:
        InputError: a value is not allowed, or one is missing.

    """
    backend, count, cluster, threads = (knobs[name] for name in ("backend", "workers", "cluster", "worker_threads"))
    for name, value in (("workers", count), ("worker_threads", threads)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise InputError(f"{name}={value}: give a number from 1 on, such as {name}=2.")
    if backend is not None and backend not in _BACKENDS:
        near = difflib.get_close_matches(str(backend), _BACKENDS, n=1)
        hint = f"perhaps {near[0]}? " if near else ""
        raise InputError(f"backend={backend}: {hint}known are {', '.join(_BACKENDS)}.")
    if cluster and backend in {None, _LOCAL}:
        raise InputError(f"cluster={cluster}: say which kind of cluster it is, backend=ray or backend=dask.")
    if count is None:
        if backend or threads:
            raise InputError("How many workers? Give workers=N too, such as workers=2.")
        return None
    return AskedWorkers(backend or _LOCAL, count, cluster, threads)
