from __future__ import annotations

from typing import Any

import pandas as pd

from topwork.digests import split_digest
from topwork.parameters import ComparisonParameters
from topwork.pipelines.comparison.nodes import build_leaderboard

SPLITS = pd.DataFrame(
    {
        "image_id": list("abcdef"),
        "label": list("xxxyyy"),
        "group": list("abcdef"),
        "split": "train",
        "fold": [0, 1, 2, 0, 1, 2],
    }
)
PARAMETERS = ComparisonParameters(
    resamples=100, errors=1.0, promote="when_better", significance=0.05, fewest_images=30, seed=0
)
OK = {"status": "ok", "split_digest": split_digest(SPLITS), "backbone": "net", "accuracy": 0.5, "oof_accuracy": 0.5}


def report(strategy: str, **other: Any) -> dict[str, Any]:
    return {**OK, "strategy": strategy, **other}


def board(*reports: Any) -> list[dict[str, Any]]:
    """Of metrics, timings and predictions of each strategy; none of them was served or logged."""
    triples = [reports[start : start + 3] for start in range(0, len(reports), 3)]
    return build_leaderboard(SPLITS, PARAMETERS, *(part for triple in triples for part in (*triple, {}, {})))


def predictions(predicted: dict[str, str]) -> pd.DataFrame:
    table = SPLITS.set_index("image_id").loc[list(predicted)].reset_index()
    return table.assign(predicted=list(predicted.values()))


def test_strategies_are_ranked_on_the_images_that_all_were_scored_on() -> None:
    # right on five of six images, but on one of two of fold 0, where the other is right on both
    every_fold = predictions({"a": "x", "b": "x", "c": "x", "d": "x", "e": "y", "f": "y"})
    one_fold = predictions({"a": "x", "d": "y"})
    rows = board(report("svm", oof_accuracy=5 / 6), {}, every_fold, report("finetune", oof_accuracy=1.0), {}, one_fold)
    assert [(row["strategy"], row["shared_accuracy"], row["shared_images"]) for row in rows] == [
        ("finetune", 1.0, 2),
        ("svm", 0.5, 2),
    ]


def test_what_did_not_run_or_saw_another_split_takes_no_images_from_the_others() -> None:
    none = pd.DataFrame(columns=["image_id", "label", "predicted"])
    stale = predictions({"a": "x"})
    rows = board(
        *(report("svm"), {}, predictions({"a": "x", "b": "y"})),
        *({"strategy": "scratch", "status": "not run"}, {}, none),
        *(report("finetune", split_digest="other"), {}, stale),
    )
    assert rows[0]["shared_images"] == 2
    assert {row["strategy"]: row["status"] for row in rows} == {
        "svm": "ok",
        "scratch": "not run",
        "finetune": "not comparable",
    }
    assert [row["shared_accuracy"] for row in rows] == [0.5, None, None]


def test_the_seconds_are_those_of_all_that_trains() -> None:
    timings = {"fit_probe": 2.0, "train": 5.0, "score": 100.0}
    (row,) = board(report("finetune"), timings, predictions({"a": "x"}))
    assert row["seconds"] == 7.0
