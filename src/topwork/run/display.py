"""Hooks that show a run on the terminal: its stages, their progress, and what it found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich import get_console
from rich.text import Text

from topwork.core.results import Champion, Drift, Leaderboard
from topwork.core.visible import visible
from topwork.datasets.remote import described
from topwork.run.lines import Lines, take_over
from topwork.run.progress_view import ProgressHandler
from topwork.run.stages import stage_of
from topwork.run.summary import TITLE, champion_lines, leaderboard_lines, next_lines, notes

_log = logging.getLogger(__name__)


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
    """Hooks that tell the stages and their progress while a run lasts, and keep its leaderboard for the end."""

    def __init__(self) -> None:
        self._handler = ProgressHandler()
        self._lines = Lines()
        self._title = ""
        self._leaderboard: Leaderboard | None = None
        self._champion: Champion | None = None
        self._drift: Drift | None = None
        self._labelled = 0
        self._saved = set[str]()
        self._catalog: Any = None

    def titled(self, title: str) -> None:
        """Give the stage of the next strategy this name, which also says on which features it runs."""
        self._title = title

    def take_over(self) -> None:
        """Print log messages as lines, in place of Kedro's own handler."""
        take_over(self._lines)

    @hook_impl
    def after_context_created(self) -> None:
        """Print log messages as lines, and make those of other handlers safe to show."""
        self.take_over()
        for handler in logging.getLogger().handlers:
            handler.addFilter(_VISIBLE)  # adding it again has no effect

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Start to show progress."""
        self._catalog = catalog
        self._lines.stages.plan(stage_of(node, self._title) for node in pipeline.nodes)
        logger = logging.getLogger("topwork.core.progress")
        logger.setLevel(logging.INFO)
        if self._handler not in logger.handlers:
            logger.addHandler(self._handler)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """End the node before, and show the stage of this one."""
        stage = stage_of(node, self._title)
        self._lines.stages.enter(stage)
        self._handler.begin(stage)
        _log.debug("%s", node.name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Stop showing progress."""
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
        """Stop showing progress, tell what still waits, and restore the terminal."""
        self._handler.stop()
        self._lines.finish()
        logging.getLogger("topwork.core.progress").removeHandler(self._handler)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """A context that shows progress, and restores the terminal at its end, even after an error."""
        try:
            yield
        finally:
            self.close()

    def show_results(self, runs_page: str) -> None:
        """Print the leaderboard, if there is one, the champion, and what to do next."""
        if self._leaderboard:
            self._show_leaderboard(self._leaderboard)
        if "report" in self._saved:
            page, model = described(self._catalog["report"].artifacts[0]), self._catalog["registered_champion"].name
            _print("Next:", "bold")
            for line in next_lines(self._champion, page, runs_page, model):
                _print(f"  {line}", copied=True)
        if "onnx_model" in self._saved:
            _print(f"The ONNX file of {self._asked} is {described(self._catalog['onnx_model'].path)}.")
        if "new_predictions" in self._saved:
            table, sheets = self._catalog["new_predictions"].artifacts[0], self._catalog["new_sheets"].folder
            _print(f"Answers of {self._asked}: read {described(table)}; look at {described(sheets)}.")
        if self._drift:
            report, sheet = (described(self._catalog[name].artifacts[0]) for name in ("drift", "foreign_sheet"))
            _print(f"{self._drift.conclusion}\nRead {report}; look at {sheet}.")
        if "label_these" in self._saved:
            _print(self._what_to_label())
        self._leaderboard = self._champion = self._drift = None
        self._saved.clear()

    @property
    def _asked(self) -> str:
        """Name of the classifier that was asked; nodes that are no part of this run have loaded none."""
        return self._catalog["asked_classifier"].name or "an earlier run"

    def _show_leaderboard(self, leaderboard: Leaderboard) -> None:
        console = get_console()
        _print(TITLE, "bold")
        for line in leaderboard_lines(leaderboard, console.width if console.is_terminal else None):
            _print(line)
        for line in notes(leaderboard):
            _print(line, "dim")
        if self._champion:
            for line in champion_lines(self._champion, leaderboard.row_of(self._champion)):
                _print(line)

    def _what_to_label(self) -> str:
        """What to do with the images that were chosen."""
        table, joined = (described(self._catalog[name].artifacts[0]) for name in ("label_these", "labelled_images"))
        sheet, labelled = described(self._catalog["label_these_sheet"].artifacts[0]), self._labelled
        done = f"{labelled} of its rows have a label now. `kedro run --params images={joined}` learns from all. "
        return (
            f"{done if labelled else ''}Look at {sheet}, fill in the column label of {table}, and run the same command "
            f"again: it joins them with the labelled images in {joined}, for `kedro run --params images=` that."
        )


def _print(text: str, style: str = "", *, copied: bool = False) -> None:
    """Print the text without markup, emoji and automatic colours for numbers and paths.

    A terminal breaks lines between words, unless addresses and commands in them are ``copied``; a file has them whole.
    """
    console = get_console()
    console.print(Text(visible(text), style), soft_wrap=copied or not console.is_terminal)
