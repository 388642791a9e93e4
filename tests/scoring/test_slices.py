from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topwork.core.arrays import Bools, Integers
from topwork.scoring.slices import deviation, score_slices


def scored(right: Bools, **columns: Integers) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Slices, predictions, and groups of one image each."""
    ids = [f"{number:04d}" for number in range(len(right))]
    values = {name: pd.Categorical([f"{name}{code}" for code in codes]) for name, codes in columns.items()}
    table = pd.DataFrame({"image_id": ids, "label": "cat", "predicted": np.where(right, "cat", "dog")})
    return pd.DataFrame({"image_id": ids, **values}), table, pd.Series(ids, ids)


def test_a_slice_that_is_much_worse_is_named_with_its_numbers() -> None:
    rng = np.random.default_rng(5)
    site, camera = rng.integers(4, size=400), rng.integers(2, size=400)
    right = rng.random(400) < np.where(site == 2, 0.5, 0.9)
    values, table, group_of = scored(right, site=site, camera=camera)
    found = score_slices(values, table, table.head(0), group_of, 500, 0)
    by_name = {column.column: column for column in found.columns}
    assert (by_name["site"].worst, by_name["site"].differs, by_name["camera"].differs) == ("site2", True, False)
    (warning,) = found.warnings
    assert "depends on site" in warning
    assert f"{100 * right[site == 2].mean():.1f} %" in warning
    (worst,) = [each for each in found.scores if each.value == "site2"]
    assert worst.oof_images == (site == 2).sum()
    assert (worst.test_images, worst.accuracy) == (0, None)
    assert worst.oof_accuracy_low < right[site == 2].mean() < worst.oof_accuracy_high


def test_a_group_that_fails_as_a_whole_does_not_make_its_slice_look_worse() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 25)
    right, value = (rng.random(40) < 0.7)[group], (np.arange(40) % 2)[group]
    right[group == 0] = False
    alone = deviation(right, np.arange(1000).astype(str), value, 500, 0)
    together = deviation(right, group.astype(str), value, 500, 0)
    assert together.p is not None
    assert alone.p is not None
    assert together.p > 0.1
    assert together.p > alone.p


def test_what_differs_within_every_group_is_seen_however_much_the_groups_differ() -> None:
    rng = np.random.default_rng(2)
    group, value = np.repeat(np.arange(100), 4), np.tile([0, 0, 1, 1], 100)
    chance = rng.uniform(0.2, 0.9, 100)[group] - 0.2 * value
    found = deviation(rng.random(400) < chance, group.astype(str), value, 500, 0)
    assert found.p is not None
    assert found.p < 0.05


def test_slices_of_few_groups_are_shown_and_not_judged() -> None:
    values, table, group_of = scored(np.arange(100) < 95, site=(np.arange(100) >= 95).astype(int))
    found = score_slices(values, table, table, group_of, 200, 0)
    assert [each.oof_images for each in found.scores] == [95, 5]
    assert found.scores[1].accuracy == 0
    few = deviation(np.arange(18) < 9, np.arange(18).astype(str), np.arange(18) // 9, 200, 0)
    assert few.p is None
    assert np.isnan(few.z).all()


def test_equal_runs_have_equal_p_values() -> None:
    rng = np.random.default_rng(3)
    right, value, groups = rng.random(200) < 0.8, rng.integers(3, size=200), np.arange(200).astype(str)
    assert deviation(right, groups, value, 300, 7).p == deviation(right, groups, value, 300, 7).p


@pytest.mark.parametrize("size", [1, 4])
def test_without_a_difference_few_draws_warn(size: int) -> None:
    rng, low = np.random.default_rng(4), 0
    group = np.repeat(np.arange(120), size)
    for seed in range(100):
        right = rng.random(len(group)) < np.clip(rng.normal(0.7, 0.3, 120), 0, 1)[group]
        found = deviation(right, group.astype(str), rng.integers(5, size=120)[group], 99, seed)
        low += (found.p or 1.0) <= 0.05
    assert low <= 11  # above this with a probability of 0.4 % if the test is exact
