from __future__ import annotations

import numpy as np
import pytest

from topwork.core.arrays import Floats, Integers
from topwork.scoring.rejection import fit_rejection, measure


def clouds(count: int, seed: int, width: int = 40) -> tuple[Floats, Integers]:
    truth = np.arange(count) % 4
    centres = np.random.default_rng(7).normal(size=(4, width)) * 3
    return centres[truth] + np.random.default_rng(seed).normal(size=(count, width)), truth


def test_as_many_images_of_the_classes_are_rejected_as_may_be() -> None:
    vectors, truth = clouds(400, 0)
    found = fit_rejection(vectors, truth, np.arange(400) // 4 % 5, 0.05)
    new, _ = clouds(2000, 1)
    assert (found.distances(new) > found.threshold).mean() == pytest.approx(0.05, abs=0.03)


def test_what_lies_elsewhere_is_rejected() -> None:
    vectors, truth = clouds(400, 0)
    found = fit_rejection(vectors, truth, np.arange(400) // 4 % 5, 0.05)
    strangers = np.random.default_rng(5).normal(size=(200, 40)) * 5
    assert (found.distances(strangers) > found.threshold).mean() > 0.95


def test_distances_are_mahalanobis_where_all_directions_are_kept() -> None:
    vectors, truth = clouds(2000, 0, width=5)
    found = measure(vectors, truth)
    means = np.stack([vectors[truth == number].mean(axis=0) for number in range(4)])
    inverse = np.linalg.inv(np.cov((vectors - means[truth]).T, bias=True))
    new, _ = clouds(50, 1, width=5)
    gaps = new[:, None] - means
    expected = np.sqrt(np.einsum("ncd,de,nce->nc", gaps, inverse, gaps).min(axis=1))
    np.testing.assert_allclose(found.distances(new), expected, rtol=0.02)


def test_fewer_images_than_features_are_no_trouble() -> None:
    vectors, truth = clouds(24, 0, width=200)
    found = fit_rejection(vectors, truth, np.arange(24) // 4 % 3, 0.05)
    assert np.isfinite(found.distances(vectors)).all()
    assert found.directions.shape == (23, 200)
