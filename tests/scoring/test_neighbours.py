from __future__ import annotations

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.scoring.neighbours import knn_accuracy


def problem(distance: float, count: int = 120, width: int = 10) -> tuple[Floats, Integers]:
    generator = np.random.default_rng(0)
    truth = np.arange(count) % 3
    centres = generator.normal(size=(3, width)) * distance
    return centres[truth] + generator.normal(size=(count, width)), truth


def test_classes_further_apart_score_higher() -> None:
    values = [knn_accuracy(*problem(distance)) for distance in (0.0, 0.5, 1.0, 3.0)]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_an_image_is_not_its_own_neighbour() -> None:
    vectors = np.repeat(np.eye(3), 2, axis=0) + 1e-3 * np.random.default_rng(0).normal(size=(6, 3))
    assert knn_accuracy(vectors, np.array([0, 0, 1, 1, 2, 2]), neighbours=1) == 1
    assert knn_accuracy(vectors, np.array([0, 1, 0, 1, 0, 1]), neighbours=1) == 0
