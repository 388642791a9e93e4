"""Compares successive runs: what changed, how the score changed, and whether the difference is more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import pandas as pd

from topwork.core.parameters import value_of
from topwork.core.runs import LoggedRuns
from topwork.core.words import counted
from topwork.scoring.paired import Difference
from topwork.scoring.shared_images import compare_predictions

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
_PLACES = ("data", "store", "images", "strategies", "model", "compare_runs")  # locations do not change the score
_FEATURES = ("features.backbone", "features.layers", "features.image_size")
_UNKNOWN = "None"
_SIGNIFICANT = 0.05
_EPOCHS = 0.1  # a difference in trained epochs from which it is listed as a change
_NAMED = 3  # changed parameters that are listed by name


def compare_history(runs: LoggedRuns, data_digest: str, group_of: pd.Series[str], seed: int) -> pd.DataFrame:
    """Runs on the same images (columns ``HISTORY_COLUMNS``), each compared with the previous run of its strategy.

    Runs on the folder of such a run are included too, because files may have been added or labels corrected since. Two
    runs are compared pair by pair on the ``images`` that both scored out of fold under the same label. The verdict is
    ``noise`` if p is 0.05 or more.

    Args:
        runs: all runs, on any images.
        data_digest: digest of the present images.
        group_of: group of each image id.
        seed: seed of the random signs.

    """
    folders = runs.table["parameters"].map(lambda parameters: parameters.get("images", _UNKNOWN))
    same = runs.table["data_digest"] == data_digest
    table = runs.table[same | folders.isin(set(folders[same]) - {_UNKNOWN})]
    rows = []
    for _, of_strategy in table.groupby("strategy", sort=False):
        earlier: list[Mapping[Any, Any]] = []
        predictions: dict[str, pd.DataFrame | None] = {}
        for run in of_strategy.to_dict("records"):
            name, before, found = str(run["run_id"]), _before(run, earlier), None
            now = predictions[name] = runs.out_of_fold(name)
            then = predictions[str(before["run_id"])] if before else None
            if now is not None and then is not None:
                found = compare_predictions(now, then, group_of, seed)
            rows.append(_row(run, before, found))
            earlier.append(run)
    history = pd.DataFrame(rows, columns=pd.Index(HISTORY_COLUMNS))
    return history.sort_values("started", kind="stable").reset_index(drop=True)


def what_changed(run: Mapping[Any, Any], before: Mapping[Any, Any]) -> str:
    """Differences between two runs in parameters, epochs, images, splits and code, in words."""
    own, other = run["parameters"], before["parameters"]
    every = {*own, *other} - set(_PLACES)
    changed = {name for name in every if value_of(own, name, _UNKNOWN) != value_of(other, name, _UNKNOWN)}
    names = sorted(
        name for name in changed if not (_follows(name, changed, own, other) or _shared_out(name, own, other))
    )
    changes = [f"{name}: {value_of(other, name, 'none')} → {value_of(own, name, 'none')}" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        changes.append(f"{counted(len(names) - _NAMED, 'more parameter')}")
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


def _before(run: Mapping[Any, Any], earlier: Sequence[Mapping[Any, Any]]) -> Mapping[Any, Any] | None:
    """The run to compare with: of the last command before, the one on the same features, otherwise its last one."""
    others = [each for each in earlier if each["command"] != run["command"]]
    if not others:
        return None
    of_last = [each for each in others if each["command"] == others[-1]["command"]]
    same = [each for each in of_last if all(_value(each, name) == _value(run, name) for name in _FEATURES)]
    return (same or of_last)[-1]


def _value(run: Mapping[Any, Any], name: str) -> str:
    return str(value_of(run["parameters"], name, _UNKNOWN))


def _follows(name: str, changed: Set[str], own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the parameter of a block (`scratch.seed`) changed because the main parameter (`seed`) did."""
    main = name.rpartition(".")[2]
    both = main != name and main in changed
    return both and all(value_of(run, name) == run.get(main) for run in (own, other))


def _shared_out(name: str, own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether these are the minutes of a network in runs with a limited time, which no user chose."""
    limited = all(run.get("minutes", _UNKNOWN) != _UNKNOWN for run in (own, other))
    return name.endswith(".minutes") and limited


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
