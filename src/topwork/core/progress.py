"""Progress leaves the library as logging records; whoever runs it decides how they look."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

_log = logging.getLogger("topwork.core.progress")
_log.propagate = False  # without a display there is nothing to say


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units of the work called ``task``; ``note`` is what else can be said of it."""

    task: str
    done: int
    total: int
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """Numbers that the work called ``task`` came to at one of its steps."""

    task: str
    step: int
    values: Mapping[str, float]


def report_progress(task: str, done: int, total: int, unit: str, note: str = "") -> None:
    """Tell the observers of the logger ``topwork.core.progress`` how far the work called ``task`` has come."""
    event = Progress(task, done, total, unit, note)
    _log.info("%s: %d of %d %s", task, done, total, unit, extra={"progress": event})


def record(task: str, step: int, values: Mapping[str, float]) -> None:
    """Tell them what the work called ``task`` came to, for whoever draws curves."""
    _log.info("%s, %d: %s", task, step, values, extra={"measured": Measured(task, step, values)})
