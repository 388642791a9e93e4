from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from topwork.core.arrays import Floats
from topwork.periodic.descriptor import describe
from topwork.symmetry.groups import GROUPS
from topwork.symmetry.render import Difficulty, Rendering, render_image

CLEAN = Rendering(128, (0.25, 0.3), seed=5)
SEEN = Rendering(128, (0.2, 0.4), seed=5, difficulty=Difficulty(0.05, 0.7, 0.04, 0.3))
HALF, QUARTER, THIRD, SIXTH = range(4)
TURNS = {  # by the International Tables
    HALF: {"p2", "pmm", "pmg", "pgg", "cmm", "p4", "p4m", "p4g", "p6", "p6m"},
    QUARTER: {"p4", "p4m", "p4g"},
    THIRD: {"p3", "p3m1", "p31m", "p6", "p6m"},
    SIXTH: {"p6", "p6m"},
}


def images(group: str, numbers: range, rendering: Rendering) -> NDArray[np.uint8]:
    return np.stack([render_image(group, number, rendering) for number in numbers])


@pytest.mark.parametrize("group", GROUPS)
def test_the_turns_of_a_group_are_found_in_its_patterns_and_no_others(group: str) -> None:
    found = np.median(describe(images(group, range(5), CLEAN)), axis=0)
    for turn, groups in TURNS.items():
        assert (found[turn] > 0.85) == (group in groups), (turn, found[turn])


def test_the_groups_are_told_apart_by_a_linear_head_where_guessing_gives_one_in_seventeen() -> None:
    def sample(numbers: range) -> tuple[Floats, NDArray[np.intp]]:
        vectors = [describe(images(group, numbers, SEEN)) for group in GROUPS]
        return np.concatenate(vectors), np.repeat(np.arange(len(GROUPS)), len(numbers))

    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(*sample(range(8)))
    assert head.score(*sample(range(8, 12))) > 0.75


def test_a_vector_is_independent_of_the_other_images_and_of_the_colours() -> None:
    pixels = images("p31m", range(3), CLEAN)
    together = describe(pixels)
    np.testing.assert_allclose(describe(pixels[1:2]), together[1:2], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(describe(255 - pixels[:, :, :, [2, 0, 1]]), together, atol=0.02)


@pytest.mark.parametrize("value", [0, 255, "noise"])
def test_an_image_without_a_pattern_has_a_finite_vector(value: int | str) -> None:
    if isinstance(value, int):
        pixels = np.full((1, 128, 128, 3), value, np.uint8)
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    assert np.isfinite(describe(pixels)).all()
