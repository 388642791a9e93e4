"""Progress leaves the library as logging records; whoever runs it decides how they look."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger("topwork.progress")
_log.propagate = False  # without a display there is nothing to say


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units of the work called ``task``."""

    task: str
    done: int
    total: int
    unit: str


def report(task: str, done: int, total: int, unit: str) -> None:
    """Tell the observers of the logger ``topwork.progress`` how far the work called ``task`` has come."""
    _log.info("%s: %d of %d %s", task, done, total, unit, extra={"progress": Progress(task, done, total, unit)})
