"""A first leaderboard."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from topwork.digests import split_digest
from topwork.plots import plot_leaderboard

_SCORES = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "oof_accuracy",
    "oof_accuracy_low",
    "oof_accuracy_high",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "ece",
)


def build_leaderboard(splits: pd.DataFrame, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a strategy, best out of fold first; what failed, did not run or used another split is last and says so.

    Args:
        splits: those that the scores must be of.
        reports: metrics and timings of each strategy in turn.

    """
    digest = split_digest(splits)
    rows = [_row(metrics, timings, digest) for metrics, timings in zip(reports[::2], reports[1::2], strict=True)]
    return sorted(rows, key=lambda row: (row["oof_accuracy"] is None, -(row["oof_accuracy"] or 0), row["strategy"]))


def draw_leaderboard(leaderboard: list[dict[str, Any]]) -> Figure:
    """The scores with their intervals."""
    return plot_leaderboard(leaderboard)


def _row(metrics: dict[str, Any], timings: dict[str, Any], digest: str) -> dict[str, Any]:
    status = metrics["status"]
    if status == "ok" and metrics["split_digest"] != digest:
        status = "not comparable"
    scores = {name: metrics.get(name) if status == "ok" else None for name in _SCORES}
    return {
        "strategy": metrics["strategy"],
        "backbone": metrics.get("backbone"),
        "status": status,
        "reason": _reason(status, metrics),
        **scores,
        "seconds": timings.get("train") if status == "ok" else None,
    }


def _reason(status: str, metrics: dict[str, Any]) -> str:
    if status == "not comparable":
        return "scored on another split"
    return str(metrics.get("reason", ""))
