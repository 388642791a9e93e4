"""Progress leaves the library as logging records; whoever runs it decides how they look."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

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


def track(items: Iterable[T], task: str, total: int, unit: str) -> Iterator[T]:
    """The items one by one, each reported once the caller is done with it."""
    report(task, 0, total, unit)
    for done, item in enumerate(items, start=1):
        yield item
        report(task, done, total, unit)
