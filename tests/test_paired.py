from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from topwork.paired import compare, corrected_resampled_t, holm, mcnemar


def singles(count: int) -> np.ndarray:
    return np.array([f"g{number}" for number in range(count)])


def test_the_difference_counts_what_only_one_has_right() -> None:
    first, other = np.array([1, 1, 1, 0, 1, 0], bool), np.array([1, 0, 0, 1, 1, 0], bool)
    found = compare(first, other, singles(6), 1000, 0)
    assert (found.images, found.gained, found.lost) == (6, 2, 1)
    assert found.difference == pytest.approx(1 / 6)
    assert found.low < found.difference < found.high
    assert compare(other, first, singles(6), 1000, 0).difference == -found.difference


def test_equal_answers_differ_by_nothing_for_sure() -> None:
    same = np.array([True, False] * 10)
    found = compare(same, same, singles(20), 200, 0)
    assert (found.difference, found.low, found.high, found.error, found.p) == (0, 0, 0, 0, 1)


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
    assert compare(first, other, singles(40), 500, 0).p < 1e-9
    assert compare(first, other, objects, 500, 0).p == pytest.approx(2 / 16, abs=0.02)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), []
    for seed in range(300):
        first, other = generator.random(200) < 0.8, generator.random(200) < 0.75
        found = compare(first, other, singles(200), 400, seed)
        covered.append(found.low <= 0.05 <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_without_the_correction_the_test_over_folds_is_students() -> None:
    differences = [0.03, 0.01, 0.04, -0.01, 0.02]
    assert corrected_resampled_t(differences, 0.0) == pytest.approx(ttest_1samp(differences, 0).pvalue)
    assert corrected_resampled_t(differences, 0.25) > corrected_resampled_t(differences, 0.0)
    assert corrected_resampled_t([0.0, 0.0], 0.25) == 1
    assert corrected_resampled_t([0.1, 0.1], 0.25) == 0


def test_holm_raises_p_values_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
