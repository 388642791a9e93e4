from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from topwork.core.arrays import Floats, Integers
from topwork.scoring.class_sums import ClassSums, fourth_powers, rows_by_class


def clouds(count: int, classes: int, width: int, seed: int = 0) -> tuple[Floats, Integers]:
    random = np.random.default_rng(seed)
    truth = np.sort(random.integers(0, classes, count))
    noise = random.normal(size=(count, width)) * np.arange(1, width + 1)
    return random.normal(size=(classes, width))[truth] + noise, truth


@pytest.mark.parametrize(("count", "width"), [(500, 20), (15, 40), (30, 1)])
def test_the_covariance_is_scikit_learns_for_the_differences_from_the_class_means(count: int, width: int) -> None:
    vectors, truth = clouds(count, 3, width)
    sums = ClassSums.of([(vectors, truth)], 3, width)
    expected, _ = ledoit_wolf(vectors - sums.means[truth], assume_centered=True)
    found = sums.covariance(fourth_powers([(vectors, truth)], sums.means[None])[0])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_sums_of_parts_add_up_to_the_sums_of_all() -> None:
    vectors, truth = clouds(300, 4, 10)
    halves = [(vectors[part], truth[part]) for part in (slice(0, 120), slice(120, None))]
    added = ClassSums.of(halves[:1], 4, 10) + ClassSums.of(halves[1:], 4, 10)
    whole = ClassSums.of([(vectors, truth)], 4, 10)
    for of_parts, of_all in zip(vars(added).values(), vars(whole).values(), strict=True):
        np.testing.assert_allclose(of_parts, of_all, rtol=1e-12, atol=1e-9)
    means = np.stack([whole.means, np.zeros((4, 10))])
    np.testing.assert_allclose(fourth_powers(halves, means), fourth_powers([(vectors, truth)], means), rtol=1e-12)


def test_an_offset_of_all_vectors_does_not_drown_their_spread() -> None:
    vectors, truth = clouds(400, 3, 8)
    expected, found = (
        sums.scatter() for sums in (ClassSums.of([(vectors + offset, truth)], 3, 8) for offset in (0, 1e3))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_class_without_vectors_has_a_mean_of_zeros_and_no_say() -> None:
    vectors, truth = clouds(100, 2, 5)
    alone, beside = ClassSums.of([(vectors, truth)], 2, 5), ClassSums.of([(vectors, truth + 1)], 4, 5)
    np.testing.assert_array_equal(beside.means[[0, 3]], 0)
    np.testing.assert_allclose(beside.scatter(), alone.scatter())


def test_without_spread_within_the_classes_all_directions_count_alike() -> None:
    vectors, truth = clouds(1, 3, 6)
    vectors, truth = np.repeat(vectors, 4, axis=0), np.repeat(truth, 4)
    np.testing.assert_array_equal(ClassSums.of([(vectors, truth)], 3, 6).covariance(0.0), np.eye(6))


def test_a_covariance_whose_shrinkage_is_nothing_can_be_inverted() -> None:
    vectors, truth = np.array([[1.0, 2, 3], [-1.0, -2, -3]]), np.zeros(2, int)
    sums = ClassSums.of([(vectors, truth)], 1, 3)
    covariance = sums.covariance(fourth_powers([(vectors, truth)], sums.means[None])[0])
    assert np.linalg.eigvalsh(covariance)[0] > 0


def test_rows_by_class_keep_the_order_within_a_class() -> None:
    truth = np.array([1, 0, 1, 0, 2])
    np.testing.assert_array_equal(rows_by_class(np.array([0, 1, 2, 3]), truth), [1, 3, 0, 2])
