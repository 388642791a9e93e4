"""Shares out parts of some work among the workers, and does again what a worker lost when it died."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from topwork.core.errors import InputError
from topwork.core.words import counted
from topwork.workers.crew import Crew, Outcome

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_DEATHS = 3  # of workers with the same part: then its items are tried in smaller parts, one at a time
_NAMED = 5
_PARTS_A_WORKER = 8  # so that the workers end at about the same time, and progress is seen
_LARGEST_PART = 10_000


def parts_for(crew: Crew, items: Sequence[T], smallest: int = 64) -> list[Sequence[T]]:
    """The items in parts for the workers: eight for each worker, but of at least ``smallest`` and at most 10,000."""
    size = min(_LARGEST_PART, max(smallest, -(-len(items) // (_PARTS_A_WORKER * crew.count))))
    return [items[start : start + size] for start in range(0, len(items), size)]


def shared_out(
    crew: Crew,
    job_for: Callable[[Sequence[T]], Callable[[], R]],
    parts: Sequence[Sequence[T]],
    name_of: Callable[[T], str] = str,
) -> Iterator[tuple[Sequence[T], R]]:
    """Pairs of a part and its result, in the order in which they are finished.

    The part of a worker that dies is done again. If three workers die with the same part, it is set aside, and halved
    at the end until the items that end a worker are found. The work must not change if it is done twice.

    Args:
        crew: the workers.
        job_for: from the items of a part to the job of a worker; only this is sent to it.
        parts: the items of each part.
        name_of: the name of an item in messages.

    Raises:
        InputError: some items end every worker; this is raised after all others are finished.
        Exception: a job raised it.

    """
    todo = _Todo(parts, name_of)
    running: dict[Future[Outcome], _Part[T]] = {}
    while todo.left or running:
        while part := todo.next(len(running), crew.count):
            running[crew.submit(job_for(part.items))] = part
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part, error = running.pop(future), future.exception()
            if error is None:
                yield part.items, future.result().value
            elif crew.died(error):
                todo.note_death(part)
            else:
                raise error
    todo.check_finished()


@dataclass(frozen=True)
class _Part(Generic[T]):
    """Some items, and how many workers died with them; a suspected part is done alone, so that the cause is known."""

    items: Sequence[T]
    deaths: int = 0
    suspected: bool = False


class _Todo(Generic[T]):
    """The parts that are not finished."""

    def __init__(self, parts: Sequence[Sequence[T]], name_of: Callable[[T], str]) -> None:
        self._waiting = deque(_Part(items) for items in parts)
        self._suspects: deque[_Part[T]] = deque()
        self._deadly: list[T] = []
        self._name_of = name_of

    @property
    def left(self) -> bool:
        """Whether any part has not been started."""
        return bool(self._waiting or self._suspects)

    def next(self, running: int, workers: int) -> _Part[T] | None:
        """The part to start now, if there is one; suspected parts come last, and one at a time."""
        if self._waiting:
            return self._waiting.popleft() if running < workers else None
        return self._suspects.popleft() if self._suspects and not running else None

    def note_death(self, part: _Part[T]) -> None:
        """Decide what happens to the part of a worker that died."""
        deaths, alone = part.deaths + 1, len(part.items) == 1
        if part.suspected and not alone:
            self._halve(part)
        elif deaths < _DEATHS:
            _log.warning("A worker process died: %s are done again.", self._names(part.items))
            again = _Part(part.items, deaths, part.suspected)
            (self._suspects if part.suspected else self._waiting).append(again)
        elif part.suspected:
            self._deadly += part.items
        else:
            _log.warning("%d workers died: %s are set aside, to find out why.", deaths, self._names(part.items))
            self._halve(part)

    def check_finished(self) -> None:
        """Check that no item ended every worker.

        Raises:
            InputError: some did.

        """
        if self._deadly:
            raise InputError(
                f"{counted(len(self._deadly), 'item')} ended every process that worked on them, by a defect of a "
                f"library or for lack of memory: {self._names(self._deadly)}. All others are finished. Move these "
                "away, or give each worker more memory (fewer workers); the same command goes on."
            )

    def _halve(self, part: _Part[T]) -> None:
        middle = len(part.items) // 2
        halves = [items for items in (part.items[:middle], part.items[middle:]) if len(items)]
        self._suspects.extendleft(_Part(items, suspected=True) for items in reversed(halves))

    def _names(self, items: Sequence[T]) -> str:
        if len(items) <= _NAMED:
            return ", ".join(map(self._name_of, items))
        return f"{self._name_of(items[0])} and {len(items) - 1:,} more"
