"""Builds the leaderboard, chooses the champion, and decides whether it replaces the registered champion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.candidates import told_apart
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.parameters import ComparisonParameters, EvaluationParameters
from topwork.core.results import Champion, Comparison, Leaderboard, Row, Screen, Status, StrategyResult
from topwork.core.runs import LoggedRuns, Promotion, RegisteredChampion
from topwork.core.stores import ImageStore
from topwork.decisions.distillation import price
from topwork.decisions.leaderboard import choose_champion, compare_on_shared, cost, rank
from topwork.decisions.promotion import Rule, Verdict, judge
from topwork.decisions.strategies import STRATEGY
from topwork.reporting.plots import plot_leaderboard
from topwork.scoring.metric import Metric
from topwork.scoring.predictions import with_decision
from topwork.training.thresholds import asked_decision

_ELSEWHERE = (
    "scored on another split, or with other labels: compared with the best where both were scored out of fold; its "
    "test accuracy does not compare"
)
_EPOCHS = ("epochs_in_time", "epochs_wanted", "epoch_seconds")
_TRAINING = ("fit_probe", "train")  # nodes whose seconds count
_AT_ONCE = 64  # images held in memory


def build_leaderboard(
    splits: pd.DataFrame,
    named_runs: LoggedRuns,
    other_results: tuple[StrategyResult, ...],
    screen: Screen,
    parameters: ComparisonParameters,
    *results: StrategyResult,
) -> Leaderboard:
    """One row per strategy and features, best out of fold first; strategies that failed or did not run are last.

    Strategies are compared on the out-of-fold images that all of them share: `shared_accuracy` of `shared_images`. A
    strategy that was scored on another split is compared with the best one on the images that these two share. Its test
    accuracy is left out, because it belongs to other images.

    Args:
        splits: splits that the scores must belong to.
        named_runs: earlier runs to list too, as the user asked.
        other_results: results on other features than those that the run chose first.
        screen: all features among which the run chose.
        parameters: block `comparison`.
        results: results of all strategies.

    """
    digest = split_digest(splits)
    runs = [_result_of_run(run, named_runs) for run in named_runs.table.to_dict("records")]
    every = [each for each in (*results, *other_results, *runs) if not _left_out(each)]
    told = [(_priced(_row(each, digest), each, every, splits, parameters.seed), each.out_of_fold) for each in every]
    tables = {row.key: table for row, table in told if len(table)}
    rows = sorted(_with_features([row for row, _ in told], screen), key=cost)
    scored, apart = (
        {row.key: tables[row.key] for row in rows if row.status is status and row.key in tables}
        for status in (Status.OK, Status.OTHER_SPLIT)
    )
    combined = {key: scored.pop(key) for row in rows if (key := row.key) in scored and _combines(row.strategy)}
    metric = Metric.of(parameters, sorted(splits["label"].unique()))
    compared = compare_on_shared(scored, apart, splits, parameters.seed, metric, combined)
    return rank([_compared(row, compared) for row in rows])


def crown_champion(
    leaderboard: Leaderboard,
    registered: RegisteredChampion | None,
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    other_results: tuple[StrategyResult, ...],
    evaluation: EvaluationParameters,
    parameters: ComparisonParameters,
    *results: StrategyResult,
) -> tuple[Champion, Promotion]:
    """The strategy to use, and whether MLflow's alias moves to it.

    Args:
        leaderboard: comparison of the strategies.
        registered: the present champion in the registry.
        images: images on which an older champion is tested if the data has changed.
        manifest: manifest of the images.
        splits: splits of this run.
        other_results: results on other features than those that the run chose first.
        evaluation: block `evaluation`.
        parameters: block `comparison`.
        results: results of all strategies.

    """
    champion, digest = choose_champion(leaderboard, parameters.errors), split_digest(splits)
    content = manifest.set_index("image_id")["sha256"]
    crowned = (champion.strategy, champion.slot)
    result = next((each for each in (*results, *other_results) if (each.strategy, each.slot) == crowned), None)
    table, logged = (result.out_of_fold, result.logged_model) if result else (pd.DataFrame(), {})
    if result and logged:
        newcomer = table.assign(sha256=table["image_id"].map(content))
        newcomer.attrs = table.attrs
        group_of = splits.set_index("image_id")["group"]
        answers = partial(_answers, registered, images)
        rule = Rule(result.rule, partial(_answered_as_asked, splits, evaluation, parameters))
        verdict = judge(newcomer, logged["model_id"], digest, registered, answers, group_of, parameters, rule)
    else:
        verdict = Verdict(False, "there is no logged model to promote")
    promotion = Promotion(
        moves=verdict.moves,
        reason=verdict.reason,
        model_id=logged.get("model_id", ""),
        run_id=logged.get("run_id", ""),
        strategy=champion.strategy or "",
        backbone=(result.backbone if result else None) or "",
        split_digest=digest,
        class_names=tuple(table.attrs.get("class_names", ())),
        learnt=frozenset(splits.loc[splits["split"] != TEST, "image_id"].map(content)),
        rule=result.rule if result else "",
        metric=parameters.metric,
    )
    told = {
        "promoted": verdict.moves,
        "promotion": verdict.reason,
        "difference": asdict(verdict.difference) if verdict.difference else None,
        "against": registered.version if registered else None,
        "model_id": promotion.model_id,
        "uneven": result.slices.warnings if result else (),
        "answering": result.answering if result else "",
    }
    return champion.model_copy(update=told), promotion


def draw_leaderboard(leaderboard: Leaderboard) -> Figure:
    """A plot of the scores with their intervals."""
    return plot_leaderboard(leaderboard)


def _answers(registered: RegisteredChampion | None, images: ImageStore, rows: pd.DataFrame) -> pd.DataFrame:
    """The champion's ``predicted`` class and ``probabilities`` for each row; the classes are in alphabetical order."""
    from topwork.inference.predictor import Predictor

    assert registered is not None
    predictor, parts = Predictor.of(registered.classifier()), []
    for start in range(0, len(rows), _AT_ONCE):
        some = rows.iloc[start : start + _AT_ONCE]
        parts.append(predictor.predict([images[name] for name in some["image_id"]]))
    told = pd.concat(parts, ignore_index=True)
    by_class = [[of[name] for name in sorted(of)] for of in told["probabilities"]]
    return pd.DataFrame({"predicted": told["label"], "probabilities": by_class})


def _answered_as_asked(
    splits: pd.DataFrame,
    evaluation: EvaluationParameters,
    comparison: ComparisonParameters,
    out_of_fold: pd.DataFrame,
) -> pd.DataFrame:
    """The predictions of a model with the answers that the rule asked for makes of its probabilities."""
    decision, _ = asked_decision(out_of_fold, splits, evaluation, comparison)
    return with_decision(out_of_fold, decision) if decision else out_of_fold


def _row(result: StrategyResult, digest: str) -> Row:
    """The row of a strategy, without the comparison with others."""
    row = Row(
        strategy=result.strategy,
        backbone=result.backbone,
        layers=result.layers,
        image_size=result.image_size,
        slot=result.slot,
        status=result.status,
        reason=result.reason,
        earlier=result.earlier,
    )
    if result.status is not Status.OK:
        return row
    if result.split_digest != digest:
        return row.model_copy(update={"status": Status.OTHER_SPLIT, "reason": _ELSEWHERE})
    seconds = sum(result.seconds.get(node, 0.0) for node in _TRAINING)
    epochs = {name: result.training[name] for name in _EPOCHS if name in result.training}
    known = {**result.scores, **result.serving, **epochs, "seconds": seconds}
    return row.model_copy(update={name: known[name] for name in Row.model_fields if name in known and name != "status"})


def _with_features(rows: Sequence[Row], screen: Screen) -> list[Row]:
    """The rows, which name their features where they differ; a strategy that did not run has one row at most."""
    of_features = [
        row for row in rows if row.backbone and row.strategy in STRATEGY and STRATEGY[row.strategy].on_features
    ]
    others = [(each.backbone, each.image_size, each.layers) for each in screen.candidates if each.image_size]
    names = told_apart([(str(row.backbone), row.image_size, row.layers) for row in of_features], others)
    words = dict(zip(of_features, names, strict=True))
    known, left = {row.strategy for row in rows if row.status is not Status.NOT_RUN}, dict[tuple[str, ...], Row]()
    for row in rows:
        if row.status is not Status.NOT_RUN or row.strategy not in known:
            without_score = (row.strategy, str(row.status), words.get(row, ""))
            left.setdefault(without_score if row.accuracy is None else (row.strategy, row.slot), row)
    return [row.model_copy(update={"features": words.get(row, "")}) for row in left.values()]


def _compared(row: Row, compared: Mapping[str, Comparison]) -> Row:
    found = compared.get(row.key)
    return row.model_copy(update=found.model_dump()) if found else row


def _priced(row: Row, result: StrategyResult, every: Sequence[StrategyResult], splits: pd.DataFrame, seed: int) -> Row:
    """The row; of a distilled network with its price against the teacher."""
    told = price(result, every, splits, seed) if row.status is Status.OK and "teacher" in result.training else ""
    return row.model_copy(update={"reason": told}) if told else row


def _combines(strategy: str) -> bool:
    return strategy in STRATEGY and STRATEGY[strategy].combines


def _left_out(result: StrategyResult) -> bool:
    """Whether it is a combination of strategies that nobody asked for."""
    return _combines(result.strategy) and result.status is Status.NOT_RUN


def _result_of_run(run: Mapping[Hashable, Any], runs: LoggedRuns) -> StrategyResult:
    """An earlier run as a strategy result; without stored out-of-fold predictions it cannot be compared."""
    name, metrics = f"{run['strategy']} {str(run['run_id'])[:8]}", run["metrics"]
    backbone, table = run["parameters"].get("backbone"), runs.out_of_fold(str(run["run_id"]))
    if table is None:
        reason = "its out-of-fold predictions were not kept"
        return StrategyResult(name, Status.NOT_COMPARABLE, reason, backbone)
    return StrategyResult(
        strategy=name,
        status=Status.OK,
        earlier="named by compare_runs",
        backbone=backbone,
        split_digest=str(run["split_digest"]),
        scores=metrics,
        seconds={node: metrics.get(f"{node}_seconds", 0.0) for node in _TRAINING},
        out_of_fold=table,
    )
