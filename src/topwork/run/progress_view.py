"""Progress with rate and remaining time: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

from topwork.core import progress

_QUIET_SECONDS = 30.0  # between two progress lines if no bar can be drawn
_MEASURED = 2.0  # seconds before a rate means something
_log = logging.getLogger(__name__)


class ProgressHandler(logging.Handler):
    """Shows the events of `topwork.core.progress`: one bar that is cleared at its end, or occasional lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._bars: Progress | None = None
        self._stage = ""
        self._started: dict[str, tuple[float, int]] = {}  # start time, and units done at that time
        self._last_line: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """Show that this stage is at work, on a terminal."""
        if stage != self._stage:
            self.stop()
            self._stage = stage
        if get_console().is_terminal and self._bars is None:
            self._bars = _bars()
            self._replace(stage, None)
            self._bars.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one event."""
        event: progress.Progress | None = getattr(record, "progress", None)
        if event is None:
            return
        if get_console().is_terminal:
            self._draw(event)
        else:
            self._say(event)

    def stop(self) -> None:
        """Clear what is drawn, after a stage or after an error."""
        self._stage = ""
        if self._bars:
            self._bars.stop()
            self._bars = None

    def _draw(self, event: progress.Progress) -> None:
        self.begin(self._stage)
        assert self._bars
        part, task = _part(self._stage, event.task), self._bars.tasks[0]
        told = f"{self._stage}: {part}" if part else self._stage
        if event.done >= event.total:
            self._replace(self._stage, None)
            return
        if task.total is None or task.description != told or task.completed > event.done:
            self._replace(told, event.total, event.unit)
        shown = self._bars.tasks[0].id
        self._bars.update(shown, completed=event.done, total=event.total, note=event.note)

    def _replace(self, description: str, total: int | None, unit: str = "") -> None:
        """Draw another bar in place of the present one; without a total it shows only that work goes on."""
        assert self._bars
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.add_task(description, total=total, unit=unit, note="")

    def _say(self, event: progress.Progress) -> None:
        now = self._clock()
        started, done = self._started.get(event.task, (now, event.total))
        if event.done <= done:  # started or restarted
            self._started[event.task], self._last_line[event.task] = (now, event.done), now
        elif event.done < event.total and now - self._last_line[event.task] >= _QUIET_SECONDS:
            self._last_line[event.task] = now
            rate = (event.done - done) / max(now - started, 1e-9)
            left = (event.total - event.done) / rate
            note = f"; {event.note}" if event.note else ""
            part = f"{name}: " if (name := _part(self._stage, event.task)) else ""
            _log.info(
                "%s%s of %s %s, %.3g/s, %.0f s left%s",
                *(part, f"{event.done:,}", f"{event.total:,}", event.unit, rate, left, note),
                extra={"now": True},
            )


class _Bar(BarColumn):
    """A column with the bar; empty while there is nothing to count."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        """The bar of the task."""
        return super().render(task) if task.total else Text()


class _Counted(MofNCompleteColumn):
    """A column with the units done; empty while there is nothing to count."""

    def render(self, task: Task) -> Text:
        """The units done and all of them."""
        return super().render(task).append(f" {task.fields['unit']}") if task.total else Text()


class _Rate(ProgressColumn):
    """A column with the units per second, as soon as it is more than chance."""

    def render(self, task: Task) -> Text:
        """The rate of the task."""
        known = task.speed and (task.elapsed or 0.0) >= _MEASURED
        return Text(f"{task.speed:,.3g}/s" if known else "", style="progress.data.speed")


class _Remaining(TimeRemainingColumn):
    """A column with the remaining time; empty while there is nothing to count."""

    def render(self, task: Task) -> Text:
        """The time that the task needs yet."""
        return super().render(task).append(" left") if task.total and task.speed else Text()


def _bars() -> Progress:
    columns = (SpinnerColumn("line"), TextColumn("{task.description}"), _Bar(20), _Counted(), _Rate(), _Remaining())
    return Progress(
        *columns, TextColumn("{task.fields[note]}"), console=get_console(), transient=True, refresh_per_second=4
    )


def _part(stage: str, task: str) -> str:
    """The task without the name of its stage before it: `fold 0` of `finetune, fold 0`."""
    return "" if task.lower() == stage.lower() else task.removeprefix(f"{stage}, ")
