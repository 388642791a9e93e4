"""Kedro sessions of a run, and how they end: by a signal, or by an error of a strategy."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kedro.utils import load_obj

from topwork.core.errors import InputError, StoreLostError
from topwork.run.failures import told_error

_log = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which ends a run like Ctrl-C."""


class Failures:
    """Failed strategies with their errors; other failures end the run."""

    def __init__(self) -> None:
        self.by_strategy: dict[str, Exception] = {}

    def note(self, title: str, error: Exception) -> None:
        """Note the error of a strategy; raise it if MLflow's server is lost, because then nothing can be logged."""
        if isinstance(told_error(error), StoreLostError):
            raise error
        self.by_strategy[title] = error
        if told_error(error) is None:
            _log.error("%s failed", title, exc_info=error)

    def tell(self, *, others: bool) -> None:
        """Raise an error that names the failed strategies, if there are any; ``others``: the rest is finished."""
        if not self.by_strategy:
            return
        reasons = [
            f"{name} failed: {str(told_error(error) or error).rstrip('.')}." for name, error in self.by_strategy.items()
        ]
        raise InputError(" ".join([*reasons, *(["What else was asked for is finished."] if others else [])]))


def run_session(options: Mapping[str, Any], pipelines: Sequence[str], node_names: Sequence[str]) -> None:
    """Run these nodes of the pipelines in a session of their own."""
    from kedro.framework.session import KedroSession

    runner = load_obj(options["runner"] or "SequentialRunner", "kedro.runner")
    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    with session:
        session.run(
            pipeline_names=list(pipelines),
            runner=runner(is_async=options["is_async"], **options["runner_params"]),
            node_names=tuple(node_names),
            load_versions=options["load_versions"],
            only_missing_outputs=options["only_missing_outputs"],
        )


def load_store(options: Mapping[str, Any]) -> None:
    """Set MLflow to the store and experiment of a session with these options, in which nothing runs."""
    from kedro.framework.session import KedroSession

    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    with session:
        session.load_context()


@contextmanager
def terminable() -> Iterator[None]:
    """A context in which SIGTERM acts like Ctrl-C, so that the MLflow run is closed."""

    def stop(*_: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
