from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from topwork.core.arrays import Floats, Integers
from topwork.scoring.neighbours import h_score, knn_accuracy, log_me


def problem(distance: float, count: int = 120, width: int = 10) -> tuple[Floats, Integers]:
    generator = np.random.default_rng(0)
    truth = np.arange(count) % 3
    centres = generator.normal(size=(3, width)) * distance
    return centres[truth] + generator.normal(size=(count, width)), truth


@pytest.mark.parametrize("score", [knn_accuracy, log_me, h_score])
def test_classes_further_apart_score_higher(score: object) -> None:
    values = [score(*problem(distance)) for distance in (0.0, 0.5, 1.0, 3.0)]  # type: ignore[operator]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_logme_is_the_largest_evidence_there_is() -> None:
    vectors, truth = problem(1.0, count=40, width=4)

    def evidence(labels: Floats) -> float:
        def lost(logs: Floats) -> float:
            alpha, beta = np.exp(logs)
            covariance = np.eye(40) / beta + vectors @ vectors.T / alpha
            return -float(multivariate_normal.logpdf(labels, np.zeros(40), covariance))

        return -float(minimize(lost, [0.0, 0.0], method="Nelder-Mead").fun) / 40

    expected = np.mean([evidence((truth == number).astype(float)) for number in range(3)])
    assert log_me(vectors, truth) == pytest.approx(expected, rel=1e-3)


def test_more_features_than_images_are_no_trouble() -> None:
    vectors, truth = problem(2.0, count=30, width=100)
    assert np.isfinite(log_me(vectors, truth))
    assert h_score(vectors, truth) > h_score(problem(0.0, count=30, width=100)[0], truth)


def test_an_image_is_not_its_own_neighbour() -> None:
    vectors = np.repeat(np.eye(3), 2, axis=0) + 1e-3 * np.random.default_rng(0).normal(size=(6, 3))
    assert knn_accuracy(vectors, np.array([0, 0, 1, 1, 2, 2]), neighbours=1) == 1
    assert knn_accuracy(vectors, np.array([0, 1, 0, 1, 0, 1]), neighbours=1) == 0
