"""Terminal output: progress with rate and remaining time, and the leaderboard at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from rich import get_console
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from topwork.core import progress
from topwork.core.results import Champion, Drift, Leaderboard, Row, Status
from topwork.core.visible import visible
from topwork.datasets.remote import described
from topwork.scoring.metric import Metric, told_number, unit_of

_QUIET_SECONDS = 30.0  # between two progress lines if no bar can be drawn
_FEW = 100  # shared images below which a hint says how to get more
_WIDE = 110  # characters of a line in a file or a pipe
_WORTH_SAYING = 1.0  # seconds that a node must take for its time to be shown
_log = logging.getLogger(__name__)


class _Rate(ProgressColumn):
    """A column with the units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class ProgressHandler(logging.Handler):
    """Shows the events of `topwork.core.progress` as bars on a terminal, and as occasional lines elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: Progress | None = None
        self._started: dict[str, tuple[float, int]] = {}  # start time, and units done at that time
        self._last_line: dict[str, float] = {}

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
        """Stop drawing, after the run or after an error."""
        if self._bars:
            self._bars.stop()
            self._bars = None

    def _draw(self, event: progress.Progress) -> None:
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=get_console(),
            )
            self._bars.start()
        known = {task.description: task.id for task in self._bars.tasks}
        task = known.get(event.task)
        if task is None or self._bars.tasks[-1].completed > event.done:
            task = self._bars.add_task(event.task, total=event.total, unit=event.unit, note="")
        self._bars.update(task, completed=event.done, total=event.total, note=event.note)
        if event.done >= event.total:
            self.stop()

    def _say(self, event: progress.Progress) -> None:
        now = time.monotonic()
        started, done = self._started.get(event.task, (now, event.total))
        if event.done <= done:  # started or restarted
            self._started[event.task], self._last_line[event.task] = (now, event.done), now
        elif event.done < event.total and now - self._last_line[event.task] >= _QUIET_SECONDS:
            self._last_line[event.task] = now
            rate = (event.done - done) / max(now - started, 1e-9)
            left = (event.total - event.done) / rate
            note = f"; {event.note}" if event.note else ""
            _log.info(
                "%s: %d of %d %s, %.0f/s, %.0f s left%s",
                *(event.task, event.done, event.total, event.unit, rate, left, note),
            )


class _Visible(logging.Filter):
    """Escapes control characters, because names of files and classes may contain terminal commands."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record on, with a safe message."""
        message = record.getMessage()
        if (shown := visible(message)) != message:
            record.msg, record.args = shown, None
        return True


_VISIBLE = _Visible()


class Display:
    """Hooks that draw progress while a run lasts and keep its leaderboard for the end."""

    def __init__(self) -> None:
        self._handler = ProgressHandler()
        self._leaderboard: Leaderboard | None = None
        self._champion: Champion | None = None
        self._drift: Drift | None = None
        self._labelled = 0
        self._saved = set[str]()
        self._catalog: Any = None
        self._node_started: float | None = None

    @hook_impl
    def after_context_created(self) -> None:
        """Add a filter that makes log messages safe to show."""
        for handler in logging.getLogger().handlers:
            handler.addFilter(_VISIBLE)  # adding it again has no effect

    @hook_impl
    def before_pipeline_run(self, catalog: Any) -> None:
        """Start to show progress."""
        self._catalog = catalog
        logger = logging.getLogger("topwork.core.progress")
        logger.setLevel(logging.INFO)
        if self._handler not in logger.handlers:
            logger.addHandler(self._handler)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Show the time of the previous node, and the name of this one."""
        self._finish_node()
        self._node_started = time.monotonic()
        _log.info("[bold]%s[/bold]", node.name, extra={"markup": True})

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Stop showing progress."""
        self._finish_node()
        self.close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Stop showing progress."""
        self.close()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember the leaderboard, the champion and the names of saved outputs for the end of the run."""
        self._saved.add(dataset_name)
        if dataset_name == "leaderboard":
            self._leaderboard = data
        if dataset_name == "champion":
            self._champion = data
        if dataset_name == "drift":
            self._drift = data
        if dataset_name == "label_these":
            self._labelled = int((data["label"] != "").sum())

    def close(self) -> None:
        """Stop showing progress, and restore the terminal."""
        self._node_started = None
        self._handler.stop()
        logging.getLogger("topwork.core.progress").removeHandler(self._handler)

    def _finish_node(self) -> None:
        # A node that yields still runs after Kedro reports it as finished. It has ended when the next node starts.
        if self._node_started is not None and (seconds := time.monotonic() - self._node_started) >= _WORTH_SAYING:
            _log.info("  %.1f s", seconds)
        self._node_started = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """A context that shows progress, and restores the terminal at its end, even after an error."""
        try:
            yield
        finally:
            self.close()

    def show_results(self, runs_page: str) -> None:
        """Print the leaderboard, if there is one, the files to read, and where all runs are side by side."""
        if self._leaderboard:
            _wide_console().print(leaderboard_table(self._leaderboard))
            _print(_what_is_shared(self._leaderboard))
            if told := _best_of_each(self._leaderboard):
                _print(told)
            for row in self._leaderboard.rows:
                if row.earlier:
                    _print(f"{row.name}: the result of an earlier run ({row.earlier}).")
                if row.more_time and not row.earlier:
                    _print(row.more_time)
                if row.reason:
                    status = "" if row.status is Status.OK else f" {row.status}"
                    _print(f"{row.name}{status}: {row.reason}.")
            if self._champion:
                _print(champion_lines(self._champion))
        if "report" in self._saved:
            _print(f"Read {described(self._catalog['report'].artifacts[0])}.")
            _print(f"Compare runs: `make mlflow`, then {runs_page}; or `--pipelines history`.")
        if "onnx_model" in self._saved:
            _print(f"The ONNX file is {described(self._catalog['onnx_model'].path)}.")
        if "new_predictions" in self._saved:
            table, sheets = self._catalog["new_predictions"].artifacts[0], self._catalog["new_sheets"].folder
            _print(f"Read {described(table)}; look at {described(sheets)}.")
        if self._drift:
            report, sheet = (described(self._catalog[name].artifacts[0]) for name in ("drift", "foreign_sheet"))
            _print(f"{self._drift.conclusion}\nRead {report}; look at {sheet}.")
        if "label_these" in self._saved:
            _print(self._what_to_label())
        self._leaderboard = self._champion = self._drift = None
        self._saved.clear()

    def _what_to_label(self) -> str:
        """What to do with the images that were chosen."""
        table, joined = (described(self._catalog[name].artifacts[0]) for name in ("label_these", "labelled_images"))
        sheet, labelled = described(self._catalog["label_these_sheet"].artifacts[0]), self._labelled
        done = f"{labelled} of its rows have a label now. `kedro run --params images={joined}` learns from all. "
        return (
            f"{done if labelled else ''}Look at {sheet}, fill in the column label of {table}, and run the same command "
            f"again: it joins them with the labelled images in {joined}, for `kedro run --params images=` that."
        )


def _print(text: str) -> None:
    """Print the text without markup, emoji or automatic colours for numbers and paths."""
    get_console().print(Text(visible(text)), soft_wrap=True)


def _wide_console() -> Console:
    """The console; where no terminal limits the lines, with room for the names of strategies and features."""
    console = get_console()
    if console.is_terminal or console.width >= _WIDE:
        return console
    return Console(file=console.file, width=_WIDE)


def _what_is_shared(leaderboard: Leaderboard) -> str:
    images = leaderboard.shared_images
    if not images:
        return "No model has a score yet."
    compared = [row for row in leaderboard.rows if row.p_adjusted is not None]
    together = f" Intervals and p allow for {len(compared)} comparisons." if len(compared) > 1 else ""
    few = ""
    if images < _FEW and any((row.oof_images or 0) > images for row in leaderboard.rows):  # networks limit them
        few = " So few tell little apart: finetune.folds=5,scratch.folds=5 score more."
    return (
        "Out of fold: on so many images, each scored by a model that had not seen it. Shared: the "
        f"{images:,} of them that all these models were scored on; choices are made there.{together}{few}"
    )


def _best_of_each(leaderboard: Leaderboard) -> str:
    """The best strategy on each of the features, if there are several, in words."""
    best: dict[str, Row] = {}
    for row in leaderboard.rows:  # best first
        if row.features and row.accuracy is not None and not row.earlier:
            best.setdefault(row.features, row)
    if len(best) < 2:
        return ""
    first, *others = best.values()
    told = (f"{row.name} {_behind(row)} {unit_of(row.metric)}" for row in others)
    return f"Best on each: {first.name}; behind it {', '.join(told)}. An interval with 0 in it shows no difference."


def leaderboard_table(leaderboard: Leaderboard) -> Table:
    """The leaderboard for the terminal; results of earlier runs are marked."""
    table = Table(
        title="Leaderboard, best on the shared images first", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("strategy", overflow="fold", min_width=8)
    metric = leaderboard.metric
    shared = "shared" if metric == "accuracy" else f"shared, {Metric(metric).title}"
    for column in ("accuracy,\nout of fold", shared, f"behind, {unit_of(metric)}", "p", "test accuracy, 95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in leaderboard.rows:
        if row.accuracy is None:
            shared = f"{_shared(row)} of {row.shared_images:,}" if row.shared_images else ""
            behind = _behind(row) if shared else ""
            # the reason is printed below the table
            table.add_row(Text(visible(row.name)), row.status, shared, behind, style="dim")
            continue
        name = f"{row.name} (earlier run)" if row.earlier else row.name
        of_all = "" if row.oof_accuracy is None else f"{row.oof_accuracy:.3f} ({row.oof_images or 0:,.0f})"
        table.add_row(
            Text(visible(name)),
            of_all,
            "" if row.shared_score is None else _shared(row),
            "" if row.shared_score is None else _behind(row),
            _p(row.p_adjusted),
            f"{row.accuracy:.3f} [{row.accuracy_low:.3f}, {row.accuracy_high:.3f}]",
        )
    return table


def champion_lines(champion: Champion) -> str:
    """Text on the strategy to use, and on the alias."""
    if not champion.strategy:
        return f"No champion: {champion.reason}."
    alias = "The alias `champion` in MLflow moved to it" if champion.promoted else _where_it_stays(champion)
    uneven = "".join(f"\nWarning: {each}." for each in champion.uneven)
    answering = f"\nAnswers: {champion.answering}." if champion.answering else ""
    return f"Champion: {champion.name}, {champion.reason}.\n{alias}: {champion.promotion}.{answering}{uneven}"


def _where_it_stays(champion: Champion) -> str:
    version = f"stays at version {champion.against}" if champion.against else "is not set"
    return f"The alias `champion` in MLflow {version}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.2g}"


def _behind(row: Row) -> str:
    if row.p_adjusted is None:
        return "best"
    numbers = (told_number(-(value or 0.0), row.metric) for value in (row.behind, row.behind_high, row.behind_low))
    return "{} [{}, {}]".format(*numbers)


def _shared(row: Row) -> str:
    return f"{Metric(row.metric).shown(row.shared_score):.3f}"
