"""Other processes that the user asked for: `workers=N` for parts of the work, `processes=N` for training together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from topwork.core.errors import InputError
from topwork.core.words import counted, perhaps
from topwork.workers import BACKENDS, hired, started_by_launcher

_LOCAL = "loky"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Concurrency:
    """The processes of a run.

    ``workers`` of a ``backend``, in the ``cluster`` of this address or on this machine, do parts of the work (0: the
    run does it itself). ``processes`` train each network together.
    """

    workers: int = 0
    backend: str = _LOCAL
    cluster: str | None = None
    worker_threads: int | None = None
    processes: int = 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A context in which these processes work for the run; they are started when they are needed."""
        with ExitStack() as started:
            if self.workers:
                started.enter_context(hired(self.backend, self.workers, self.cluster, self.worker_threads))
                where = f"in the cluster {self.cluster}" if self.cluster else "on this machine"
                _log.info("%s %s (%s)", counted(self.workers, "worker"), where, self.backend)
            if self.processes > 1:
                from topwork.training import ranks

                started.enter_context(ranks.processes(self.processes))
            yield


@contextmanager
def leading() -> Iterator[None]:
    """A context in which this process runs the program, and those that a launcher started beside it wait for it."""
    try:
        yield
    finally:
        if started_by_launcher():
            from topwork.training.ranks import dismiss_followers

            dismiss_followers()


def checked_concurrency(knobs: Mapping[str, Any]) -> Concurrency:
    """The processes that the main parameters ask for.

    Raises:
        InputError: a value is not allowed, or one is missing.

    """
    backend, workers, cluster, threads = (knobs[name] for name in ("backend", "workers", "cluster", "worker_threads"))
    for name in ("workers", "worker_threads", "processes"):
        _check_number(name, knobs[name])
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"backend={backend}: {perhaps(str(backend), BACKENDS)}known are {', '.join(BACKENDS)}.")
    if cluster and backend is None:
        raise InputError(f"cluster={cluster}: say which kind of cluster it is, backend=ray or backend=dask.")
    if cluster and backend == _LOCAL:
        raise InputError(f"cluster={cluster}: loky works on this machine alone; backend=ray or backend=dask does not.")
    if workers is None and (backend or threads):
        raise InputError("How many workers? Give workers=N too, such as workers=2.")
    processes = knobs["processes"] or 1
    if processes > 1 and started_by_launcher():
        raise InputError(f"processes={processes}: torchrun or Slurm started the processes already; leave it out.")
    return Concurrency(workers or 0, backend or _LOCAL, cluster, threads, processes)


def _check_number(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InputError(f"{name}={value}: give a number from 1 on, such as {name}=2.")
