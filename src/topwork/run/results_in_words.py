"""The descriptions of runs in MLflow."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from topwork.core.columns import OK
from topwork.core.results import Champion, Leaderboard, StrategyResult
from topwork.core.visible import visible
from topwork.core.words import counted
from topwork.run.summary import cells, champion_lines, heads

_GAP = "&emsp; | "  # MLflow's pages put no space between the columns of a table
_NAMED = 5  # classes that a description names


def note_of_run(champion: Champion, leaderboard: Leaderboard) -> str:
    """What a run found, in Markdown: its champion with scores in one line, why it is the champion, all strategies."""
    row = leaderboard.row_of(champion)
    first = f"{champion.name}: {told_scores(row.model_dump())}." if row else ""
    reasons = [f"{each.name} {each.status}: {each.reason}." for each in leaderboard.rows if each.reason]
    alias = f"The alias `champion` moved to it: {champion.promotion}." if champion.promoted else ""
    paragraphs = [first, *champion_lines(champion, None), alias, _table(leaderboard), *reasons]
    return "\n\n".join(visible(each) for each in paragraphs if each)


def note_of_strategy(result: StrategyResult) -> str:
    """What became of a strategy, in Markdown."""
    if not result.scores:
        return visible(f"{result.status}: {result.reason}.")
    features = f"{result.strategy} on {result.backbone}, {result.image_size} px: {told_scores(result.scores)}."
    warnings = (f"Warning: {each}." for each in result.slices.warnings)
    answering = [f"Answers: {result.answering}."] if result.answering else []
    return "\n\n".join(visible(each) for each in (features, *answering, *warnings))


def told_scores(scores: Mapping[str, float | None]) -> str:
    """Accuracy out of fold and on the test split, with 95 % intervals; what is not known is left out."""
    told = [
        f"{_interval(*(scores.get(f'{prefix}accuracy{end}') for end in ('', '_low', '_high')))} {where}"
        for prefix, where in (
            ("oof_", f"on {counted(scores.get('oof_images') or 0, 'image')} out of fold"),
            ("", "on the test split"),
        )
        if scores.get(f"{prefix}accuracy") is not None
    ]
    return f"accuracy {', '.join(told)}" if told else "no score"


def count_answers(predictions: pd.DataFrame) -> dict[str, float]:
    """How many files were given, were rejected, and may be of none of the classes, as metrics for MLflow."""
    return {
        "predicted.files": len(predictions),
        "predicted.rejected": int((predictions["status"] != OK).sum()),
        "predicted.none_of_these": int(predictions["none_of_these"].fillna(False).sum()),
    }


def note_of_answers(predictions: pd.DataFrame) -> str:
    """What a classifier answered for new images, in words."""
    files, rejected, none = count_answers(predictions).values()
    classes = predictions.loc[predictions["status"] == OK, "label"].value_counts()
    most = ", ".join(f"{label} {count}" for label, count in classes.head(_NAMED).items())
    found = f" Answered most often: {most}." if most else ""
    told = f"{counted(files, 'file')}: {rejected:.0f} rejected, {none:.0f} may be of none of the classes.{found}"
    return visible(told, one_line=True)


def _table(leaderboard: Leaderboard) -> str:
    head = [" ".join(filter(None, lines)) for lines in zip(*heads(leaderboard.metric), strict=True)]
    first, *rows = (
        f"| {_GAP.join(cell.replace('|', '/') for cell in line)} |" for line in (head, *map(cells, leaderboard.rows))
    )
    return "\n".join((first, f"|{' --- |' * len(head)}", *rows))


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
