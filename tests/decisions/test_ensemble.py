from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topwork.core.arrays import Floats, Integers
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.results import Member, Status, StrategyResult
from topwork.decisions.ensemble import average_predictions, candidates, combine_out_of_fold, pick_weights

COUNT = 200
NAMES = ["cat", "dog"]
TRUTH = np.arange(COUNT) % 2
SPLITS = pd.DataFrame(
    {
        "image_id": [f"i{number:03d}" for number in range(COUNT)],
        "label": np.array(NAMES)[TRUTH],
        "group": [f"g{number // 2:03d}" for number in range(COUNT)],
        "split": "train",
        "fold": np.arange(COUNT) % 3,
    }
)
DIGEST = split_digest(SPLITS)


def sure_of(right: Floats) -> Floats:
    """Probabilities ``[n, 2]`` with ``right`` ``[n]`` for the true class."""
    return np.where(np.eye(2, dtype=bool)[TRUTH], right[:, None], 1 - right[:, None])


def result(strategy: str, right: Floats, rows: Integers | None = None, **other: str) -> StrategyResult:
    rows = np.arange(COUNT) if rows is None else rows
    table = SPLITS.iloc[rows].assign(
        predicted="cat", confidence=0.5, path="p", probabilities=list(sure_of(right)[rows])
    )
    table.attrs = {"class_names": NAMES}
    return StrategyResult(strategy, Status.OK, split_digest=DIGEST, out_of_fold=table, **other)


def noise(seed: int, level: float = 0.6) -> Floats:
    return np.random.default_rng(seed).uniform(level - 0.4, level + 0.4, COUNT).clip(0.01, 0.99)


def test_the_weights_are_those_of_the_picks_that_lower_the_log_loss() -> None:
    weights = pick_weights(np.array([[0.9, 0.1], [0.1, 0.9], [0.05, 0.05]]), 10)
    np.testing.assert_allclose(weights, [0.5, 0.5, 0])
    np.testing.assert_allclose(pick_weights(np.array([[0.9, 0.9], [0.2, 0.3]]), 10), [1, 0])


def test_the_mean_of_strategies_with_other_mistakes_is_better_than_each_out_of_fold() -> None:
    members, images, probabilities = combine_out_of_fold(
        [result("logistic", noise(1)), result("svm", noise(2)), result("scratch", noise(3, 0.45))], SPLITS, 25
    )
    assert sum(member.weight for member in members) == pytest.approx(1)
    assert [member.weight for member in members] == sorted((member.weight for member in members), reverse=True)
    assert {"logistic", "svm"} <= {member.strategy for member in members}
    truth = images["label"].map(NAMES.index).to_numpy()
    mean = -np.log(probabilities[np.arange(COUNT), truth]).mean()
    assert mean < min(-np.log(noise(seed)).mean() for seed in (1, 2))


def test_the_weights_for_an_image_do_not_depend_on_its_label_or_on_its_groups() -> None:
    one, other = noise(1), noise(2)
    _, images, before = combine_out_of_fold([result("logistic", one), result("svm", other)], SPLITS, 25)
    changed = SPLITS["group"] == SPLITS["group"].iloc[0]
    one = np.where(changed, 0.01, one)  # the first is very wrong on this group now, so that its weight falls elsewhere
    _, _, after = combine_out_of_fold([result("logistic", one), result("svm", other)], SPLITS, 25)
    mine = images["image_id"].isin(SPLITS.loc[changed, "image_id"]).to_numpy()
    weight = (before[mine] - sure_of(other)[mine])[:, 0] / (sure_of(noise(1)) - sure_of(other))[mine][:, 0]
    weight_after = (after[mine] - sure_of(other)[mine])[:, 0] / (sure_of(one) - sure_of(other))[mine][:, 0]
    np.testing.assert_allclose(weight_after, weight)


def test_only_images_that_all_were_scored_on_choose_the_weights() -> None:
    few = np.arange(0, COUNT, 4)
    _, images, probabilities = combine_out_of_fold(
        [result("logistic", noise(1)), result("finetune", noise(2), few)], SPLITS, 5
    )
    assert images["image_id"].tolist() == SPLITS["image_id"].iloc[few].tolist()
    assert probabilities.shape == (len(few), 2)


def test_members_are_of_this_split_and_of_this_run_if_it_has_two() -> None:
    here = [result("logistic", noise(1)), result("svm", noise(2))]
    earlier = result("scratch", noise(3), earlier="not asked for in this run")
    other_split = StrategyResult("finetune", Status.OK, split_digest="other", out_of_fold=here[0].out_of_fold)
    assert candidates([*here, earlier, other_split, result("ensemble", noise(4))], DIGEST) == here
    assert candidates([here[0], earlier], DIGEST) == [here[0], earlier]
    with pytest.raises(InputError, match="only logistic has scores on these splits: `strategies=all\\+ensemble`"):
        candidates([here[0], other_split], DIGEST)
    with pytest.raises(InputError, match="no strategy has scores"):
        candidates([], DIGEST)


def test_predictions_are_averaged_image_by_image() -> None:
    first = result("logistic", noise(1)).out_of_fold
    second = result("svm", noise(2)).out_of_fold.iloc[::-1]
    asked = SPLITS["image_id"].iloc[[5, 3, 150]].tolist()
    found = average_predictions(
        [Member(strategy="logistic", weight=0.75), Member(strategy="svm", weight=0.25)], [first, second], asked
    )
    expected = 0.75 * sure_of(noise(1)) + 0.25 * sure_of(noise(2))
    np.testing.assert_allclose(found, expected[[5, 3, 150]])
    with pytest.raises(InputError, match="svm has no prediction for i005: run it again"):
        average_predictions(
            [Member(strategy="logistic", weight=0.75), Member(strategy="svm", weight=0.25)],
            [first, second.iloc[:100]],
            asked,
        )
