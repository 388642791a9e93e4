"""A leaderboard of all strategies, ranked on the images that all of them were scored on."""

from __future__ import annotations

from collections.abc import Mapping
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


_TRAINING = ("fit_probe", "train")  # nodes whose seconds count


def build_leaderboard(splits: pd.DataFrame, *reports: Any) -> list[dict[str, Any]]:
    """One row a strategy, best out of fold first; what failed, did not run or used another split is last and says so.

    Strategies are compared on the out-of-fold images that all of them share: `shared_accuracy` of `shared_images`.

    Args:
        splits: those that the scores must be of.
        reports: metrics, timings and out-of-fold predictions of each strategy in turn.

    """
    digest = split_digest(splits)
    triples = list(zip(reports[::3], reports[1::3], reports[2::3], strict=True))
    rows = [_row(metrics, timings, digest) for metrics, timings, _ in triples]
    tables = {row["strategy"]: table for row, (*_, table) in zip(rows, triples, strict=True) if row["status"] == "ok"}
    shared = _shared_accuracy(tables)
    rows = [{**row, **shared.get(row["strategy"], _NOT_SHARED)} for row in rows]
    return sorted(
        rows, key=lambda row: (row["shared_accuracy"] is None, -(row["shared_accuracy"] or 0), row["strategy"])
    )


_NOT_SHARED = {"shared_accuracy": None, "shared_images": None}


def _shared_accuracy(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Accuracy of each table's predictions on the images that all of them have."""
    if not tables:
        return {}
    ids = set.intersection(*(set(table["image_id"]) for table in tables.values()))
    found = {}
    for strategy, table in tables.items():
        common = table[table["image_id"].isin(ids)]
        right = float((common["predicted"] == common["label"]).mean()) if len(common) else None
        found[strategy] = {"shared_accuracy": right, "shared_images": len(common)}
    return found


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
        "seconds": sum(timings.get(node, 0.0) for node in _TRAINING) if status == "ok" else None,
    }


def _reason(status: str, metrics: dict[str, Any]) -> str:
    if status == "not comparable":
        return "scored on another split"
    return str(metrics.get("reason", ""))
