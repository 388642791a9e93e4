from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Rejection
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


def measured_directly(vectors: Floats, truth: Integers) -> Rejection:
    """The same measure of all vectors at once, with scikit-learn's covariance."""
    width = vectors.shape[1]
    count, centre = min(128, width), vectors.mean(axis=0)
    centred = vectors - centre
    directions = eigh(centred.T @ centred, subset_by_index=[width - count, width - 1])[1].T[::-1]
    places = Rejection(centre, directions, np.eye(0), np.eye(0), np.inf).coordinates(vectors)
    means = np.stack([places[truth == number].mean(axis=0) for number in np.unique(truth)])
    covariance, _ = ledoit_wolf(places - means[truth], assume_centered=True)
    values, axes = np.linalg.eigh(covariance)
    whitening = (axes / np.sqrt(values)).T
    return Rejection(centre, directions, whitening, means @ whitening.T, np.inf)


@pytest.mark.parametrize("width", [40, 160])  # without and with a part outside the directions
def test_sums_over_folds_give_the_distances_and_the_threshold_of_direct_fits(width: int) -> None:
    vectors, truth = clouds(3000, 0, width)
    folds = np.arange(3000) // 4 % 3
    held_out = np.empty(3000)
    for fold in range(3):
        learnt = folds != fold
        held_out[~learnt] = measured_directly(vectors[learnt], truth[learnt]).distances(vectors[~learnt])
    found, direct = fit_rejection(vectors, truth, folds, 0.05), measured_directly(vectors, truth)
    np.testing.assert_allclose(found.distances(vectors), direct.distances(vectors), rtol=1e-6)
    assert found.threshold == pytest.approx(np.quantile(held_out, 0.95), rel=1e-6)


def test_memory_beside_the_features_does_not_grow_with_them() -> None:
    vectors, truth = clouds(60_000, 0)
    small = vectors.astype(np.float32)
    tracemalloc.start()
    try:
        fit_rejection(small, truth, np.arange(60_000) // 4 % 3, 0.05)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * small.nbytes
