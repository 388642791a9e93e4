from __future__ import annotations

import numpy as np

from topwork.scoring.two_sample import (
    detectable_shift,
    energy_distances,
    permutation_p,
    share_difference,
    shifted_shares,
    swaps,
    whitened,
)


def alone(count: int) -> np.ndarray:
    return np.arange(count).astype(str)


def test_groups_move_together_and_the_first_column_is_the_truth() -> None:
    groups = np.repeat(np.arange(20), 3).astype(str)
    is_new = np.arange(60) < 15
    members = swaps(groups, is_new, 50, 0)
    assert members.shape == (60, 51) and (members[:, 0] == is_new).all()
    by_group = members.reshape(20, 3, 51)
    assert (by_group == by_group[:, :1]).all()
    assert (members.sum(axis=0) == 15).all()
    assert len(np.unique(members, axis=1).T) > 40


def test_a_group_of_the_same_name_on_both_sides_is_two_groups() -> None:
    members = swaps(np.array(["a", "a", "b", "c"]), np.array([True, False, False, False]), 20, 0)
    assert (members.sum(axis=0) == 1).all()


def test_the_p_value_counts_the_observed_arrangement_too() -> None:
    assert permutation_p(np.array([3.0, 1.0, 2.0, 3.0])) == 0.5
    assert permutation_p(np.array([3.0, *np.zeros(99)])) == 0.01


def test_white_coordinates_have_a_spread_of_one_whichever_way_they_are_computed() -> None:
    generator = np.random.default_rng(0)
    for shape in ((40, 90), (90, 40)):
        points = whitened(generator.normal(size=shape) * np.geomspace(0.1, 10, shape[1]), 5)
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(points.T @ points / len(points), np.eye(5), atol=1e-6)


def test_features_without_any_spread_but_one_are_no_error() -> None:
    vectors = np.zeros((20, 8))
    vectors[:, 0] = np.arange(20)
    assert whitened(vectors, 4).shape == (20, 1)


def test_the_energy_distance_is_that_of_its_definition() -> None:
    points = np.random.default_rng(1).normal(size=(9, 3))
    members = (np.arange(9) < 4).astype(np.float32)[:, None]
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = 2 * apart[:4, 4:].mean() - apart[:4, :4].mean() - apart[4:, 4:].mean()
    np.testing.assert_allclose(energy_distances(points, members), [expected], rtol=1e-5)


def test_false_alarms_are_as_rare_as_promised_and_a_shift_is_seen() -> None:
    generator, alarms = np.random.default_rng(2), 0
    is_new = np.arange(60) < 20
    for draw in range(100):
        points = whitened(generator.standard_t(3, (60, 4)), 4)
        alarms += permutation_p(energy_distances(points, swaps(alone(60), is_new, 99, draw))) <= 0.05
    assert alarms <= 11  # a binomial of 5 % exceeds it in one of a hundred cases
    shifted = generator.normal(size=(60, 4)) + 2 * is_new[:, None]
    assert permutation_p(energy_distances(shifted, swaps(alone(60), is_new, 99, 0))) == 0.01


def test_more_images_show_smaller_shifts() -> None:
    points = np.random.default_rng(3).normal(size=(300, 4))
    few, many = (detectable_shift(points, new, 0.05, 0.8, 30, 0) for new in (20, 150))
    assert 0.1 < many < few < 2


def test_the_class_that_changed_is_named_and_the_others_are_not() -> None:
    kinds = np.array([0] * 30 + [1] * 10 + [2] * 10 + [0] * 50 + [1] * 100 + [2] * 50)
    is_new = np.arange(len(kinds)) < 50
    difference, p = shifted_shares(kinds, swaps(alone(len(kinds)), is_new, 199, 0), 4)
    np.testing.assert_allclose(difference, [0.35, -0.3, -0.05, 0], atol=1e-6)
    assert p[0] < 0.02 and p[1] < 0.02 and p[2] > 0.3 and p[3] > 0.9


def test_the_interval_of_a_difference_holds_it_and_is_wider_for_groups() -> None:
    new, reference = np.arange(40) < 20, np.arange(100) < 20
    low, high = share_difference(new, reference, alone(40), alone(100))
    assert 0.1 < low < 0.3 < high < 0.5
    wide = share_difference(new, reference, (np.arange(40) // 5).astype(str), alone(100))
    assert wide[0] < low and high < wide[1]
