"""What is said at the end of a run: the leaderboard as plain text, the champion, and what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from topwork.core.results import ALREADY, Champion, Leaderboard, Row, Status
from topwork.scoring.metric import Metric, told_number, unit_of

TITLE = "Leaderboard, best on the shared images first"
SERVER = "http://127.0.0.1:5001"  # of `make serve`
PROMOTE = "--pipelines comparison, and comparison.promote=always in --params"
_FEW = 100  # shared images below which a hint says how to get more
_NARROWEST = 10  # characters of the first column, however narrow the terminal
_P = 4  # number of the column that a narrow terminal leaves out
_GAP = "  "


def leaderboard_lines(leaderboard: Leaderboard, width: int | None = None) -> list[str]:
    """The table of the leaderboard, line by line; of at most ``width`` characters where that is possible.

    Long names of strategies take several lines then, and where that is not enough the column with p is left out.
    """
    table = [*heads(leaderboard.metric), *(cells(row) for row in leaderboard.rows)]
    if width is not None:
        if _room(table, width) < _NARROWEST:
            table = [row[:_P] + row[_P + 1 :] for row in table]
        room = max(_NARROWEST, _room(table, width))
        table = [line for row in table for line in _wrapped(row, room)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [_aligned(row, widths) for row in table]


def notes(leaderboard: Leaderboard) -> list[str]:
    """What a reader must know about the table, a line each."""
    told = [_what_is_shared(leaderboard), _best_of_each(leaderboard)]
    for row in leaderboard.rows:
        if row.earlier:
            told.append(f"{row.name}: the result of an earlier run ({row.earlier}).")
        elif row.more_time:
            told.append(row.more_time)
        if row.reason:
            name = row.name if row.status is Status.OK else f"{row.name} {row.status}"
            told.append(f"{name}: {row.reason}.")
    return [line for line in told if line]


def champion_lines(champion: Champion, row: Row | None) -> list[str]:
    """The strategy to use in one sentence, how it answers, and where it is uneven; ``row`` is that of the champion."""
    if not champion.strategy:
        return [f"No champion: {champion.reason}."]
    right = ""
    if row and row.accuracy is not None:
        accuracy, low, high = (
            f"{100 * (value or 0):.1f}" for value in (row.accuracy, row.accuracy_low, row.accuracy_high)
        )
        right = f"; {accuracy} % of the test images are right (95 % interval: {low} to {high} %)"
    stays = f"version {champion.against} stays" if champion.against else "none"
    served = [] if _is_served(champion) else [f"Served: {stays}: {champion.promotion}."]
    answering = [f"Answers: {champion.answering}."] if champion.answering else []
    uneven = [f"Warning: {each}." for each in champion.uneven]
    return [f"Champion: {champion.name}, {champion.reason}{right}.", *served, *answering, *uneven]


def next_lines(champion: Champion | None, report: str, runs_page: str, model: str) -> list[str]:
    """Where to read on, and how to serve: at most four lines. ``model`` is the name in MLflow's registry."""
    lines = [f"report  {report}", f"runs    make mlflow, then {runs_page}"]
    if champion and champion.strategy:
        lines += _served(champion, model)
    return lines


def _served(champion: Champion, model: str) -> Iterator[str]:
    serve = f"make serve MODEL=models:/{model}@champion, then {SERVER}"
    if _is_served(champion):
        yield f"server  {serve}: {champion.name}, {champion.promotion}"
        return
    if champion.against:
        yield f"server  {serve}: version {champion.against}, as before"
    yield f"        to serve {champion.name}: the same command with {PROMOTE}"


def _is_served(champion: Champion) -> bool:
    """Whether this strategy's model, of this or an earlier run, has the alias by which it is served."""
    return champion.promoted or champion.promotion == ALREADY


def heads(metric: str) -> list[list[str]]:
    """The titles of the columns, in two lines; ``metric`` is the score by which strategies are compared."""
    shared = "" if metric == "accuracy" else Metric(metric).title
    above = ["", "accuracy,", "shared," if shared else "", "behind,", "", "test accuracy,"]
    return [above, ["strategy", "out of fold", shared or "shared", unit_of(metric), "p", "95 %"]]


def cells(row: Row) -> list[str]:
    """A row of the leaderboard."""
    if row.accuracy is None:  # the reason is told below the table
        shared = f"{_shared(row)} of {row.shared_images:,}" if row.shared_images else ""
        return [row.name, str(row.status), shared, _behind(row) if shared else "", "", ""]
    name = f"{row.name} (earlier)" if row.earlier else row.name
    of_all = "" if row.oof_accuracy is None else f"{row.oof_accuracy:.3f} ({row.oof_images or 0:,.0f})"
    test = f"{row.accuracy:.3f} [{row.accuracy_low:.3f}, {row.accuracy_high:.3f}]"
    compared = ["", ""] if row.shared_score is None else [_shared(row), _behind(row)]
    return [name, of_all, *compared, _p(row.p_adjusted), test]


def _room(table: Sequence[Sequence[str]], width: int) -> int:
    """Characters that the other columns leave for the first one."""
    _, *others = zip(*table, strict=True)
    return width - sum(max(map(len, column)) + len(_GAP) for column in others)


def _wrapped(row: Sequence[str], room: int) -> Iterator[list[str]]:
    first, *more = textwrap.wrap(row[0], room, break_long_words=False, break_on_hyphens=False) or [""]
    yield [first, *row[1:]]
    for line in more:
        yield [line, *("" for _ in row[1:])]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return _GAP.join([row[0].ljust(widths[0]), *others]).rstrip()


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


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.2g}"


def _behind(row: Row) -> str:
    if row.p_adjusted is None:
        return "best"
    numbers = (told_number(-(value or 0.0), row.metric) for value in (row.behind, row.behind_high, row.behind_low))
    return "{} [{}, {}]".format(*numbers)


def _shared(row: Row) -> str:
    return f"{Metric(row.metric).shown(row.shared_score):.3f}"
