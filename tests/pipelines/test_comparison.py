from __future__ import annotations

from typing import Any

import pandas as pd

from topwork.core.columns import RUN_COLUMNS
from topwork.core.digests import split_digest
from topwork.core.parameters import ComparisonParameters
from topwork.core.results import Row, Screen, Status, StrategyResult
from topwork.core.runs import LoggedRuns
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
NO_RUNS = LoggedRuns(pd.DataFrame(columns=pd.Index(RUN_COLUMNS)), lambda _: None)
PARAMETERS = ComparisonParameters(
    metric="accuracy", costs=None, errors=1.0, promote="when_better", significance=0.05, fewest_images=30, seed=0
)
ALONE = Screen(candidates=())
DIGEST = split_digest(SPLITS)


def result(strategy: str, table: pd.DataFrame, split: str = DIGEST, oof: float = 0.5, **other: Any) -> StrategyResult:
    scores = {"accuracy": 0.5, "oof_accuracy": oof}
    return StrategyResult(
        strategy, Status.OK, backbone="net", split_digest=split, scores=scores, out_of_fold=table, **other
    )


def board(*results: StrategyResult) -> tuple[Row, ...]:
    return build_leaderboard(SPLITS, NO_RUNS, (), ALONE, PARAMETERS, *results).rows


def predictions(predicted: dict[str, str]) -> pd.DataFrame:
    table = SPLITS.set_index("image_id").loc[list(predicted)].reset_index()
    return table.assign(predicted=list(predicted.values()))


def test_strategies_are_ranked_on_the_images_that_all_were_scored_on() -> None:
    # right on five of six images, but on one of two of fold 0, where the other is right on both
    every_fold = predictions({"a": "x", "b": "x", "c": "x", "d": "x", "e": "y", "f": "y"})
    one_fold = predictions({"a": "x", "d": "y"})
    rows = board(result("svm", every_fold, oof=5 / 6), result("finetune", one_fold, oof=1.0))
    assert [(row.strategy, row.shared_accuracy, row.shared_images) for row in rows] == [
        ("finetune", 1.0, 2),
        ("svm", 0.5, 2),
    ]


def test_what_did_not_run_or_saw_another_split_takes_no_image_from_the_others() -> None:
    rows = board(
        result("svm", predictions({"a": "x", "b": "y"})),
        StrategyResult("scratch", Status.NOT_RUN),
        result("finetune", predictions({"a": "x"}), split="other"),
    )
    assert rows[0].shared_images == 2
    assert [(row.strategy, row.status, row.shared_accuracy) for row in rows] == [
        ("svm", "ok", 0.5),
        ("finetune", "other split", 1.0),
        ("scratch", "not run", None),
    ]


def test_the_seconds_are_those_of_all_that_trains() -> None:
    seconds = {"fit_probe": 2.0, "train": 5.0, "score": 100.0}
    (row,) = board(result("finetune", predictions({"a": "x"}), seconds=seconds))
    assert row.seconds == 7.0


def test_an_earlier_run_stands_beside_them_or_says_why_it_cannot() -> None:
    runs = pd.DataFrame(
        [
            {"run_id": "aaaaaaaaaa", "strategy": "svm", "split_digest": DIGEST},
            {"run_id": "bbbbbbbbbb", "strategy": "svm", "split_digest": "other"},
            {"run_id": "cccccccccc", "strategy": "svm", "split_digest": DIGEST},
        ]
    ).assign(metrics=[{"accuracy": 0.5, "train_seconds": 3.0}] * 3, parameters=[{"backbone": "net"}] * 3)
    everything = predictions(dict.fromkeys("abcdef", "x"))
    named = LoggedRuns(runs, lambda name: None if name.startswith("c") else everything)
    perfect = predictions(dict(zip("abcdef", "xxxyyy", strict=True)))
    found = build_leaderboard(SPLITS, named, (), ALONE, PARAMETERS, result("logistic", perfect))
    rows = {row.strategy: row for row in found.rows}
    assert rows["svm aaaaaaaa"].behind == -0.5
    assert rows["svm aaaaaaaa"].seconds == 3.0
    assert rows["svm bbbbbbbb"].status == "other split"
    assert rows["svm bbbbbbbb"].accuracy is None
    assert (rows["svm bbbbbbbb"].behind, rows["svm bbbbbbbb"].shared_images) == (-0.5, 6)
    assert rows["svm cccccccc"].reason == "its out-of-fold predictions were not kept"


def test_rows_name_their_features_and_those_without_a_score_are_told_once() -> None:
    table = predictions({"a": "x", "b": "y", "d": "y"})

    def on(strategy: str, size: int, slot: str) -> StrategyResult:
        return result(strategy, table, image_size=size, layers="last", slot=slot)

    skipped = StrategyResult("svm", Status.SKIPPED, "no time", backbone="net", image_size=128, layers="last", slot="b")
    others = (on("logistic", 128, "b"), skipped, StrategyResult("lda", Status.NOT_RUN, slot="b"))
    mine = (
        on("logistic", 224, ""),
        on("svm", 224, ""),
        *(StrategyResult(name, Status.NOT_RUN) for name in ("lda", "lda")),
    )
    rows = build_leaderboard(SPLITS, NO_RUNS, others, ALONE, PARAMETERS, *mine).rows
    assert sorted((row.name, str(row.status)) for row in rows) == [
        ("lda", "not run"),
        ("logistic · 128 px", "ok"),
        ("logistic · 224 px", "ok"),
        ("svm · 128 px", "skipped"),
        ("svm · 224 px", "ok"),
    ]
