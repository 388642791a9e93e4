"""What changed from run to run, what that did to the score, and whether it was more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from topwork.core.runs import LoggedRuns
from topwork.scoring.paired import Difference, compare_predictions

HISTORY_COLUMNS = (
    "started",
    "strategy",
    "changed",
    "oof_accuracy",
    "accuracy",
    "images",
    "difference",
    "low",
    "high",
    "p",
    "verdict",
    "run_id",
)
_PLACES = ("data", "store", "images", "strategies", "model", "compare_runs")  # where things lie changes no score
_UNKNOWN = "None"
_SIGNIFICANT = 0.05
_EPOCHS = 0.1  # more or less that a machine had time for are a change
_NAMED = 3  # changed parameters that are spelt out


def compare_history(runs: LoggedRuns, data_digest: str, group_of: pd.Series[str], seed: int) -> pd.DataFrame:
    """Runs on the same images (columns ``HISTORY_COLUMNS``), each compared with the strategy's run before it.

    A run over the folder of such a run belongs to them too: files may have been added since, or labels mended. Two runs
    are compared on the ``images`` that both were scored on out of fold under the same label, pair by pair; the verdict
    is ``noise`` where a difference as large comes about by chance in one of twenty cases or more.

    Args:
        runs: of any images.
        data_digest: names the images.
        group_of: group of each image id.
        seed: of the signs drawn.

    """
    folders = runs.table["parameters"].map(lambda parameters: parameters.get("images", _UNKNOWN))
    same = runs.table["data_digest"] == data_digest
    table = runs.table[same | folders.isin(set(folders[same]) - {_UNKNOWN})]
    rows = []
    for _, of_strategy in table.groupby("strategy", sort=False):
        before: Mapping[Any, Any] | None = None
        predictions: pd.DataFrame | None = None
        for run in of_strategy.to_dict("records"):
            now = runs.out_of_fold(str(run["run_id"]))
            found = None
            if now is not None and predictions is not None:
                found = compare_predictions(now, predictions, group_of, seed)
            rows.append(_row(run, before, found))
            before, predictions = run, now
    history = pd.DataFrame(rows, columns=pd.Index(HISTORY_COLUMNS))
    return history.sort_values("started", kind="stable").reset_index(drop=True)


def what_changed(run: Mapping[Any, Any], before: Mapping[Any, Any]) -> str:
    """Parameters, splits and code that differ, in words."""
    own, other = run["parameters"], before["parameters"]
    names = sorted(name for name in {*own, *other} if own.get(name) != other.get(name) and name not in _PLACES)
    changes = [f"{name}: {other.get(name, 'none')} → {own.get(name, 'none')}" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        changes.append(f"{len(names) - _NAMED} more parameters")
    trained, trained_before = (each["metrics"].get("training.epochs") for each in (run, before))
    if None not in {trained, trained_before} and abs(trained - trained_before) >= _EPOCHS:
        changes.append(f"epochs that fitted into the minutes: {trained_before:.1f} → {trained:.1f}")
    if run["data_digest"] != before["data_digest"]:
        changes.append("images or labels")
    elif run["split_digest"] != before["split_digest"]:
        changes.append("splits")
    if run["commit"] != before["commit"]:
        changes.append(f"code {before['commit'][:7]} → {run['commit'][:7]}")
    return "; ".join(changes) or "the same settings again"


def _row(run: Mapping[Any, Any], before: Mapping[Any, Any] | None, found: Difference | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "started": run["started"],
        "strategy": run["strategy"],
        "changed": what_changed(run, before) if before else "first run",
        "oof_accuracy": run["metrics"].get("oof_accuracy"),
        "accuracy": run["metrics"].get("accuracy"),
        "run_id": run["run_id"],
        "verdict": "" if before is None else "not comparable",
    }
    if found:
        verdict = "noise" if found.p >= _SIGNIFICANT else ("better" if found.difference > 0 else "worse")
        row |= {"images": found.images, "difference": found.difference, "low": found.low, "high": found.high}
        row |= {"p": found.p, "verdict": verdict}
    return row
