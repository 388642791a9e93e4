"""A leaderboard of all strategies, the champion among them, and whether it takes the registered champion's place."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from topwork.core.arrays import Bools
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.parameters import ComparisonParameters
from topwork.core.runs import LoggedRuns, Promotion, RegisteredChampion
from topwork.core.stores import ImageStore
from topwork.decisions.leaderboard import APART, OK_STATUS, UNCOMPARED, choose_champion, compare_on_shared, rank
from topwork.decisions.promotion import Verdict, judge
from topwork.reporting.plots import plot_leaderboard

_SCORES = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "oof_accuracy",
    "oof_accuracy_low",
    "oof_accuracy_high",
    "oof_images",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "ece",
    "coverage",
    "answered_accuracy",
)
_ELSEWHERE = (
    "scored on another split of the images: compared with the best where both were scored out of fold; its test "
    "accuracy is of other images"
)
_SERVED = ("served_images", "same_label", "max_difference", "seconds_per_thousand", "megabytes")
_TRAINING = ("fit_probe", "train")  # nodes whose seconds count
_PARTS = 5  # reports of a strategy
_AT_ONCE = 64  # images held in memory


def build_leaderboard(
    splits: pd.DataFrame, named_runs: LoggedRuns, parameters: ComparisonParameters, *reports: Any
) -> list[dict[str, Any]]:
    """One row a strategy, best out of fold first; what failed or did not run is last and says so.

    Strategies are compared on the out-of-fold images that all of them share: `shared_accuracy` of `shared_images`.
    One that was scored on another split is compared with the best on the images that these two share, and its test
    accuracy, which is of other images, is left out.

    Args:
        splits: those that the scores must be of.
        named_runs: earlier runs that the user wants to see beside them.
        parameters: of the block `comparison`.
        reports: metrics, timings, out-of-fold predictions, serving and logged model of each strategy in turn.

    """
    digest = split_digest(splits)
    by_strategy = [reports[start : start + _PARTS] for start in range(0, len(reports), _PARTS)]
    rows = [_row(metrics, timings, serving, digest) for metrics, timings, _, serving, _ in by_strategy]
    tables: list[pd.DataFrame | None] = [table for _, _, table, *_ in by_strategy]
    for run in named_runs.table.to_dict("records"):
        tables.append(named_runs.out_of_fold(str(run["run_id"])))
        rows.append(_row_of_run(run, tables[-1] is not None, digest))
    scored, apart = (
        {
            row["strategy"]: table
            for row, table in zip(rows, tables, strict=True)
            if row["status"] == status and table is not None and len(table)
        }
        for status in (OK_STATUS, APART)
    )
    compared = compare_on_shared(scored, apart, splits, parameters.seed)
    return rank([{**row, **compared.get(row["strategy"], UNCOMPARED)} for row in rows])


def crown_champion(
    leaderboard: list[dict[str, Any]],
    registered: RegisteredChampion | None,
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: ComparisonParameters,
    *reports: Any,
) -> tuple[dict[str, Any], Promotion]:
    """The strategy to take, and whether MLflow's alias moves to it.

    Args:
        leaderboard: the strategies compared.
        registered: what the alias names now.
        images: to ask an older champion about, where the data changed.
        manifest: of the images.
        splits: of this run.
        parameters: of the block `comparison`.
        reports: as for `build_leaderboard`.

    """
    champion, digest = choose_champion(leaderboard, parameters.errors), split_digest(splits)
    name, content = champion["strategy"], manifest.set_index("image_id")["sha256"]
    by_name = {reports[start]["strategy"]: reports[start : start + _PARTS] for start in range(0, len(reports), _PARTS)}
    table, logged = (by_name[name][2], by_name[name][4]) if name else (pd.DataFrame(), {})
    if logged:
        newcomer = table.assign(sha256=table["image_id"].map(content))
        newcomer.attrs = table.attrs
        group_of = splits.set_index("image_id")["group"]
        known = (registered, partial(_answers, registered, images), group_of, parameters)
        verdict = judge(newcomer, logged["model_id"], digest, *known)
    else:
        verdict = Verdict(False, "there is no logged model to promote")
    promotion = Promotion(
        moves=verdict.moves,
        reason=verdict.reason,
        model_id=logged.get("model_id", ""),
        run_id=logged.get("run_id", ""),
        strategy=name or "",
        split_digest=digest,
        class_names=tuple(table.attrs.get("class_names", ())),
        learnt=frozenset(splits.loc[splits["split"] != TEST, "image_id"].map(content)),
    )
    difference = asdict(verdict.difference) if verdict.difference else None
    told = {"promoted": verdict.moves, "promotion": verdict.reason, "difference": difference}
    return {**champion, **told, "against": registered.version if registered else None}, promotion


def draw_leaderboard(leaderboard: list[dict[str, Any]]) -> Figure:
    """The scores with their intervals."""
    return plot_leaderboard(leaderboard)


def _answers(registered: RegisteredChampion | None, images: ImageStore, rows: pd.DataFrame) -> Bools:
    """Whether the champion is right on each row."""
    from topwork.inference.predictor import Predictor

    assert registered is not None
    predictor, right = Predictor.of(registered.classifier()), list[bool]()
    for start in range(0, len(rows), _AT_ONCE):
        some = rows.iloc[start : start + _AT_ONCE]
        answers = predictor.predict([images[name] for name in some["image_id"]])
        right += (answers["label"].to_numpy() == some["label"].to_numpy()).tolist()
    return np.array(right)


def _row(
    metrics: Mapping[str, Any], timings: Mapping[str, float], serving: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    status = metrics["status"]
    if status == OK_STATUS and metrics["split_digest"] != digest:
        status = APART
    is_ok = status == OK_STATUS
    return {
        "strategy": metrics["strategy"],
        "backbone": metrics.get("backbone"),
        "status": status,
        "reason": _reason(status, metrics),
        **{name: metrics.get(name) if is_ok else None for name in _SCORES},
        "seconds": _seconds(timings, _TRAINING) if is_ok else None,
        **{name: serving.get(name) if is_ok else None for name in _SERVED},
    }


def _row_of_run(run: Mapping[Hashable, Any], is_kept: bool, digest: str) -> dict[str, Any]:
    """As that of a strategy; a run from before out-of-fold predictions were kept cannot be compared."""
    name = f"{run['strategy']} {str(run['run_id'])[:8]}"
    metrics = {**run["metrics"], "strategy": name, "backbone": run["parameters"].get("backbone"), "status": "ok"}
    if not is_kept:
        metrics |= {"status": "not comparable", "reason": "its out-of-fold predictions were not kept"}
    costs = {"train": metrics.get("train_seconds", 0.0), "fit_probe": metrics.get("fit_probe_seconds", 0.0)}
    return _row({**metrics, "split_digest": run["split_digest"]}, costs, {}, digest)


def _seconds(timings: Mapping[str, float], nodes: Sequence[str]) -> float:
    return sum(timings.get(node, 0.0) for node in nodes)


def _reason(status: str, metrics: Mapping[str, Any]) -> str:
    return _ELSEWHERE if status == APART else str(metrics.get("reason", ""))
