from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from topwork.scoring.paired import compare, difference_interval, holm, mcnemar
from topwork.scoring.shared_images import compare_predictions


def answers(generator: np.random.Generator, share: float, groups: int, size: int, alike: float) -> np.ndarray:
    """Whether each image is right, ``[groups * size]``; images of a group share their answer with this correlation."""
    own, common = generator.random((groups, size)) < share, generator.random((groups, 1)) < share
    return np.where(generator.random((groups, size)) < np.sqrt(alike), common, own).ravel()


def singles(count: int) -> np.ndarray:
    return np.array([f"g{number}" for number in range(count)])


def test_the_difference_counts_what_only_one_has_right() -> None:
    first, other = np.array([1, 1, 1, 0, 1, 0], bool), np.array([1, 0, 0, 1, 1, 0], bool)
    found = compare(first, other, singles(6), 0)
    assert (found.images, found.gained, found.lost) == (6, 2, 1)
    assert found.difference == pytest.approx(1 / 6)
    assert found.low < found.difference < found.high
    assert compare(other, first, singles(6), 0).difference == -found.difference


def test_equal_answers_differ_by_nothing_that_so_few_images_could_show() -> None:
    few, many = (compare(same, same, singles(len(same)), 0) for same in (np.ones(20, bool), np.ones(2000, bool)))
    assert (few.difference, few.error, few.p) == (0, 0, 1)
    assert -few.low == few.high > many.high > 0
    assert many.high < 0.003


def test_the_interval_and_the_test_do_not_contradict_each_other() -> None:
    """A bootstrap of 39 images, four of them gained and none lost, would exclude zero beside p = 0.125."""
    for gained, lost, images in ((4, 0, 39), (5, 1, 39), (6, 0, 60), (12, 2, 100), (30, 10, 400)):
        first = np.arange(images) >= lost
        other = (np.arange(images) < lost) | (np.arange(images) >= lost + gained)
        found = compare(first, other, singles(images), 0)
        assert (found.gained, found.lost) == (gained, lost)
        assert (found.low > 0) == (found.p < 0.05), (gained, lost, images)


@pytest.mark.parametrize(
    ("gained", "lost", "p", "p_better"),
    [(0, 0, 1, 1), (5, 0, 2 / 32, 1 / 32), (0, 5, 2 / 32, 1), (3, 3, 1, 42 / 64)],
)
def test_mcnemars_test_is_that_of_a_fair_coin(gained: int, lost: int, p: float, p_better: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx((p, p_better))


def test_groups_count_once() -> None:
    """Forty images of four objects are no more evidence than four images."""
    first, other = np.ones(40, bool), np.zeros(40, bool)
    objects = np.repeat([f"g{number}" for number in range(4)], 10)
    assert compare(first, other, singles(40), 0).p < 1e-9
    assert compare(first, other, objects, 0).p == pytest.approx(2 / 16, abs=0.02)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), []
    for seed in range(1000):
        first, other = generator.random(200) < 0.8, generator.random(200) < 0.75
        found = compare(first, other, singles(200), seed)
        covered.append(found.low <= 0.05 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_it_does_so_where_images_come_in_groups(alike: float) -> None:
    generator, covered = np.random.default_rng(1), []
    objects = np.repeat([f"g{number}" for number in range(60)], 5)
    for _ in range(1000):
        first, other = (answers(generator, share, 60, 5, alike) for share in (0.8, 0.7))
        low, high = difference_interval(first.astype(float) - other, objects, 0.95)
        covered.append(low <= 0.1 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_intervals_that_stand_side_by_side_are_wider() -> None:
    generator = np.random.default_rng(0)
    first, other = generator.random(200) < 0.8, generator.random(200) < 0.75
    alone, among_four = (compare(first, other, singles(200), 0, tests) for tests in (1, 4))
    assert among_four.low < alone.low < alone.high < among_four.high


def test_predictions_are_compared_where_both_score_an_image_under_the_same_label() -> None:
    first = pd.DataFrame({"image_id": list("abcd"), "label": list("xxyy"), "predicted": list("xxyx")})
    other = pd.DataFrame({"image_id": list("edcb"), "label": list("xyyz"), "predicted": list("xyxz")})
    found = compare_predictions(first, other, pd.Series({"c": "one", "d": "one"}), 0)
    assert found is not None
    assert (found.images, found.gained, found.lost) == (2, 1, 1)  # c and d; b has another label now
    assert compare_predictions(first, other.head(1), pd.Series(dtype=str), 0) is None


def test_holm_raises_p_values_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("changes", [[], [2], [-1], [1, 1], [3, -1], [1, 2, -1, 2], [-2, -2, 1]])
def test_the_test_of_groups_counts_all_signs_where_groups_are_few(changes: list[int]) -> None:
    sizes = [max(2, abs(change)) for change in changes] + [2]
    groups = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    first, other = np.zeros(len(groups), bool), np.zeros(len(groups), bool)
    for number, change in enumerate(changes):
        rows = np.flatnonzero(groups == str(number))[: abs(change)]
        (first if change > 0 else other)[rows] = True
    found = compare(first, other, groups, seed=0)
    sums = [np.dot(signs, changes) for signs in product((-1, 1), repeat=len(changes))]
    above = np.mean([total >= sum(changes) for total in sums])
    below = np.mean([total <= sum(changes) for total in sums])
    assert found.p_better == pytest.approx(above)
    assert found.p == pytest.approx(min(1.0, 2 * min(above, below)))
