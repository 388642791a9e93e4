"""Reports progress as logging records; the program that runs the library decides how to show them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

_log = logging.getLogger("topwork.core.progress")
_log.propagate = False  # without a display, progress is not shown


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units of the work called ``task``; ``note`` is additional text."""

    task: str
    done: int
    total: int
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """Numbers that were measured at one step of the work called ``task``."""

    task: str
    step: int
    values: Mapping[str, float]


def report_progress(task: str, done: int, total: int, unit: str, note: str = "") -> None:
    """Send the progress of the work called ``task`` to the logger ``topwork.core.progress``."""
    event = Progress(task, done, total, unit, note)
    _log.info("%s: %d of %d %s", task, done, total, unit, extra={"progress": event})


def record(task: str, step: int, values: Mapping[str, float]) -> None:
    """Send numbers measured in the work called ``task`` to the same logger, for curves."""
    _log.info("%s, %d: %s", task, step, values, extra={"measured": Measured(task, step, values)})
