from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from topwork.core.arrays import Bools, Floats
from topwork.scoring.two_classes import GRID, area_scores, choose_threshold, curves, operating_scores, positive_class


def drawn(images: int, seed: int = 0) -> tuple[Floats, Bools, NDArray[np.str_]]:
    """Probabilities of the positive class (a quarter of the images), some of them equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(images) < 0.25
    chance = 1 / (1 + np.exp(-rng.normal(np.where(truth, 1.0, -1.5), 1.2)))
    return chance.round(3), truth, np.arange(images).astype(str)


def test_areas_are_those_of_scikit_learn_and_lie_in_their_intervals() -> None:
    chance, truth, groups = drawn(300)
    found = area_scores(chance, truth, groups, 200, 0)
    assert found["auc"] == pytest.approx(roc_auc_score(truth, chance))
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, chance))
    for name in ("auc", "average_precision"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_images_of_one_group_make_intervals_wider() -> None:
    chance, truth, groups = drawn(60)
    alone = area_scores(np.repeat(chance, 5), np.repeat(truth, 5), np.arange(300).astype(str), 200, 0)
    together = area_scores(np.repeat(chance, 5), np.repeat(truth, 5), np.repeat(groups, 5), 200, 0)
    widths = [found["auc_high"] - found["auc_low"] for found in (alone, together)]
    assert widths[1] > 1.5 * widths[0]


def test_a_class_without_images_has_no_areas() -> None:
    assert area_scores(np.array([0.2, 0.4]), np.array([False, False]), np.array(["a", "b"]), 100, 0)["auc"] is None


def test_curves_run_from_corner_to_corner_within_their_bands() -> None:
    chance, truth, groups = drawn(200)
    roc, precision = curves(chance, truth, groups, 100, 0)
    assert (roc.value[-1], len(roc.value)) == (1, len(GRID))
    assert np.all(np.diff(roc.value) >= 0)
    assert precision.value[-1] == pytest.approx(truth[chance >= chance[truth].min()].mean())
    for curve in (roc, precision):
        assert np.mean((curve.low <= curve.value) & (curve.value <= curve.high)) > 0.9


@pytest.mark.parametrize("wish", [{"recall": 0.9, "precision": None}, {"recall": None, "precision": 0.8}])
def test_a_wish_is_met_on_new_images_about_as_often_as_it_is_certain(wish: dict[str, float | None]) -> None:
    new, is_positive, groups = drawn(20_000, 99)
    name = "recall" if wish["recall"] else "precision"
    met = {0.9: 0, 0.5: 0}
    for certainty in met:
        for seed in range(40):
            threshold, is_certain = choose_threshold(*drawn(400, seed), **wish, certainty=certainty)
            assert is_certain
            met[certainty] += (operating_scores(new >= threshold, is_positive, groups)[name] or 0) >= wish[name]
    assert met[0.9] >= 31  # below this with a probability of 1 %
    assert met[0.5] < met[0.9]


def test_too_few_images_are_said_to_be_too_few() -> None:
    threshold, is_certain = choose_threshold(*drawn(40), 0.99, None, 0.9)
    chance, truth, _ = drawn(40)
    assert not is_certain
    assert (chance[truth] >= threshold).all()


def test_the_positive_class_is_the_rarer_one_unless_another_is_named() -> None:
    labels = pd.Series(["cat", "dog", "dog"])
    assert positive_class(labels, None) == "cat"
    assert positive_class(labels, "dog") == "dog"
    assert positive_class(pd.Series(["dog", "cat"]), None) == "cat"
