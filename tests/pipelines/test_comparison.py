from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest

from tests.conftest import PROJECT
from topwork.core.columns import RUN_COLUMNS
from topwork.core.digests import split_digest
from topwork.core.parameters import ComparisonParameters, EvaluationParameters
from topwork.core.results import Row, Screen, Status, StrategyResult
from topwork.core.runs import LoggedRuns, RegisteredChampion
from topwork.pipelines.comparison.nodes import build_leaderboard, crown_champion
from topwork.run.configuration import load_configuration
from topwork.scoring.predictions import with_decision
from topwork.training.thresholds import asked_decision

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


IMAGES = pd.DataFrame({"image_id": [f"i{number:02d}" for number in range(80)], "label": ["ill", "well"] * 40})
HALVES = IMAGES.assign(group=IMAGES["image_id"], split="train", fold=[0, 0, 1, 1] * 20)


def sure_of(wrong: int) -> pd.DataFrame:
    """Predictions out of fold, of which the first ones are wrong."""
    chance = np.where(IMAGES["label"] == "ill", 0.8, 0.2) + np.linspace(0, 0.1, len(IMAGES))
    chance[:wrong] = 1 - chance[:wrong]
    table = IMAGES.assign(
        predicted=np.where(chance > 0.5, "ill", "well"), probabilities=[np.array([each, 1 - each]) for each in chance]
    )
    table.attrs = {"class_names": ["ill", "well"]}
    return table


@pytest.mark.parametrize(("wrong", "moves"), [(10, True), (0, False)])
def test_the_champion_is_judged_as_if_it_had_been_asked_the_wish_of_the_run(wrong: int, moves: bool) -> None:
    blocks = load_configuration(PROJECT / "conf", None, {"evaluation": {"recall_at_least": 0.8}})["parameters"]
    evaluation = EvaluationParameters.model_validate(blocks["evaluation"])
    decision, _ = asked_decision(sure_of(10), HALVES, evaluation, PARAMETERS)
    assert decision
    newcomer = result(
        "logistic",
        with_decision(sure_of(10), decision),
        split_digest(HALVES),
        training={"rule": decision.rule},
        logged_model={"model_id": "m-2", "run_id": "r"},
    )
    manifest = IMAGES.assign(sha256=IMAGES["image_id"])
    board = build_leaderboard(HALVES, NO_RUNS, (), ALONE, PARAMETERS, newcomer)
    old = RegisteredChampion(
        version="1",
        model_id="m-1",
        strategy="logistic",
        split_digest=split_digest(HALVES),
        out_of_fold=sure_of(wrong),
        learnt=frozenset(manifest["sha256"]),
        classes="",
        classifier=lambda: pytest.fail("not asked for"),
    )
    champion, promotion = crown_champion(
        board, old, MagicMock(), manifest, HALVES, (), evaluation, PARAMETERS, newcomer
    )
    assert promotion.moves == champion.promoted == moves
    assert "it answers as asked: ill, recall >= 0.8 with a certainty of 90%" in promotion.reason
    assert promotion.rule == decision.rule
