"""Writes the page that a user reads after a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from topwork.core.columns import OK, TEST
from topwork.core.parameters import ReportParameters
from topwork.core.results import Advice, Champion, Leaderboard, Screen, StrategyResult
from topwork.core.slices import Slices
from topwork.core.stores import ImageStore
from topwork.decisions.label_errors import can_doubt
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.findings import cost, differences, how_sure, learnt, next_steps
from topwork.reporting.pages import Thumbnail, render_page, svg_of, thumbnail_of
from topwork.reporting.plots import (
    plot_confusion,
    plot_forecast,
    plot_leaderboard,
    plot_reliability,
    plot_two_classes,
)
from topwork.scoring.metric import Metric, unit_of
from topwork.scoring.metrics import confusion
from topwork.scoring.predictions import (
    class_numbers,
    likeliest_accuracy,
    most_confident_mistakes,
    stacked_probabilities,
)
from topwork.scoring.two_classes import curves

_HARDEST = 25  # classes in the table of classes
_NAMED = 20  # rejected files that are named
_DRAWS = 1000  # bootstrap draws of the bands of curves


def write_report(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    advice: Advice,
    leaks: dict[str, Any],
    leaderboard: Leaderboard,
    champion: Champion,
    label_suggestions: pd.DataFrame,
    near_duplicates: pd.DataFrame,
    screen: Screen,
    other_results: tuple[StrategyResult, ...],
    run_facts: dict[str, Any],
    parameters: ReportParameters,
    *results: StrategyResult,
) -> str:
    """The page as HTML, with the answer first and the evidence after it.

    Args:
        images: images for the pictures.
        manifest: manifest of the images.
        splits: splits of the images.
        advice: advice given before training.
        leaks: report on near-duplicates.
        leaderboard: comparison of the strategies.
        champion: the strategy to use.
        label_suggestions: labels that are probably wrong.
        near_duplicates: pairs of near-duplicates.
        screen: comparison of the features among which the run chose.
        other_results: results on other features than those that the run chose first.
        run_facts: how the run was started; empty if it was not a complete one.
        parameters: block `report`.
        results: results of all strategies.

    """

    def picture(image_id: str, *lines: str) -> Thumbnail:
        return thumbnail_of(thumbnail(images, image_id, parameters.max_pixels), *lines)

    best, crowned = leaderboard.row_of(champion), (champion.strategy, champion.slot)
    found = (each for each in (*results, *other_results) if (each.strategy, each.slot) == crowned)
    of_champion = next(found, None) if best else None
    evidence, count = advice.evidence, parameters.pictures
    content = {
        "advice": advice,
        "leaks": leaks,
        "leaderboard": leaderboard.rows,
        "champion": champion,
        "screen": screen,
        "best": best,
        "shared": leaderboard.shared_images,
        "metric": Metric(leaderboard.metric),
        "unit": unit_of(leaderboard.metric),
        "differences": differences(leaderboard),
        "leaderboard_figure": svg_of(plot_leaderboard(leaderboard)),
        "forecast_figure": svg_of(plot_forecast(evidence.learning_curve, evidence.forecast)),
        "duplicates": list(_pairs(picture, near_duplicates, count)),
        "doubtful": list(_doubtful(picture, label_suggestions, count)),
        "doubtful_count": len(label_suggestions),
        "can_doubt": bool(of_champion and _can_doubt(of_champion, splits)),
        "facts": run_facts,
    }
    data = _data(images, manifest, splits)
    first = _first_screen(leaderboard, champion, advice, data, len(label_suggestions))
    of_best = _of_champion(picture, of_champion, splits, count) if of_champion else {"slices": Slices()}
    return render_page("report.html", {**content, **data, **first, **of_best})


def _data(images: ImageStore, manifest: pd.DataFrame, splits: pd.DataFrame) -> dict[str, Any]:
    """The images in numbers, and the files that could not be used."""
    rejected = manifest.loc[manifest["status"] != OK, ["path", "reason"]]
    tested = splits.loc[splits["split"] == TEST, "label"]
    return {
        "source": Path(images.source).name,
        "images": int((manifest["status"] == OK).sum()),
        "rejected": len(rejected),
        "rejected_files": [(shortened(str(row.path)), row.reason) for row in rejected.head(_NAMED).itertuples()],
        "classes": int(splits["label"].nunique()),
        "learnt": int((splits["split"] != TEST).sum()),
        "tested": len(tested),
        "most_frequent": float(tested.value_counts(normalize=True).max()),
    }


def _first_screen(
    leaderboard: Leaderboard, champion: Champion, advice: Advice, data: dict[str, Any], doubtful: int
) -> dict[str, Any]:
    """The answers to the first questions of a reader; none without a champion."""
    row = leaderboard.row_of(champion)
    if row is None:
        return {}
    return {
        "found": learnt(row, data["tested"], data["classes"], data["most_frequent"]),
        "sure": how_sure(row, data["tested"]),
        "cost": cost(row),
        "steps": list(next_steps(champion, advice, leaderboard, data["rejected"], doubtful)),
    }


def _of_champion(picture: Any, result: StrategyResult, splits: pd.DataFrame, count: int) -> dict[str, Any]:
    """What the page says of the champion's answers for the test split."""
    return {
        **_figures_of(result.predictions),
        "class_scores": result.class_scores.sort_values("recall").to_dict("records"),
        "hardest": _HARDEST,
        "slices": result.slices,
        "two_classes": _two_classes(result, splits),
        "mistakes": list(_mistakes(picture, result.predictions, count)),
    }


def _can_doubt(result: StrategyResult, splits: pd.DataFrame) -> bool:
    return can_doubt(likeliest_accuracy(result.out_of_fold), splits["label"].nunique())


def _figures_of(predictions: pd.DataFrame) -> dict[str, Any]:
    names = predictions.attrs["class_names"]
    truth = class_numbers(predictions["label"], names)
    counts = confusion(class_numbers(predictions["predicted"], names), truth, len(names))
    right = (predictions["label"] == predictions["predicted"]).to_numpy()
    confidence = predictions["confidence"].to_numpy()
    return {
        "confusion_figure": svg_of(plot_confusion(counts, names, "")),
        "reliability_figure": svg_of(plot_reliability(confidence, right)),
    }


def _two_classes(result: StrategyResult, splits: pd.DataFrame) -> dict[str, Any] | None:
    """Curves and scores of the positive class; None for more than two classes."""
    names, positive = result.predictions.attrs["class_names"], str(result.training.get("positive"))
    if positive not in names or result.scores.get("auc") is None:
        return None
    number, group_of = names.index(positive), splits.set_index("image_id")["group"]
    truth = (result.predictions["label"] == positive).to_numpy()
    called = (result.predictions["predicted"] == positive).to_numpy()
    groups = result.predictions["image_id"].map(group_of).to_numpy(dtype=str)
    bands = curves(stacked_probabilities(result.predictions)[:, number], truth, groups, _DRAWS, seed=0)
    point = (
        float(called[~truth].mean()),
        float(called[truth].mean()),
        float(truth[called].mean() if called.any() else 1),
    )
    return {
        "positive": positive,
        "answering": result.answering,
        "scores": result.scores,
        "figure": svg_of(plot_two_classes(*bands, point, positive)),
    }


def _mistakes(picture: Any, predictions: pd.DataFrame, count: int) -> Iterable[Thumbnail]:
    for row in most_confident_mistakes(predictions, count).itertuples():
        called = f"called {row.predicted} at {row.confidence:.0%}"
        yield picture(row.image_id, str(row.label), called, shortened(str(row.path)))


def _pairs(picture: Any, pairs: pd.DataFrame, count: int) -> Iterable[Thumbnail]:
    for row in pairs.sort_values(["cosine", "image_id"]).head(count // 2).itertuples():
        yield picture(row.image_id, shortened(str(row.image_id)))
        yield picture(row.other, shortened(str(row.other)), f"cosine {row.cosine:.2f}, {row.bits} bits apart")


def _doubtful(picture: Any, suggestions: pd.DataFrame, count: int) -> Iterable[Thumbnail]:
    for row in suggestions.head(count).itertuples():
        rather = f"rather {row.label!s}" if row.label else "same bytes as another"
        yield picture(str(row.image_id), f"{row.given}?", rather, shortened(str(row.path)))
