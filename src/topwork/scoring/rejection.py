"""How far an image lies from all that a classifier has learnt from: "none of these classes" as an answer."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import ledoit_wolf

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Rejection

_DIRECTIONS = 128  # of largest spread; what lies outside them is one more number, its length


def fit_rejection(vectors: Floats, truth: Integers, folds: Integers, share: float) -> Rejection:
    """Distances from class means, and the one above which so large a share of images held out lies.

    Args:
        vectors: features ``[n, d]``.
        truth: class numbers ``[n]``.
        folds: fold numbers ``[n]``; each fold is held out once.
        share: of images of these classes that may be rejected.

    """
    held_out = np.empty(len(truth))
    for fold in np.unique(folds):
        rest = folds != fold
        held_out[~rest] = measure(vectors[rest], truth[rest]).distances(vectors[~rest])
    return measure(vectors, truth).rejecting_above(threshold(held_out, share))


def measure(vectors: Floats, truth: Integers) -> Rejection:
    """Mahalanobis distance to the nearest class mean, one covariance for all (Lee et al. 2018), not yet bounded.

    It is taken in the directions of largest spread, beside the length of what lies outside them: a picture of nothing
    known shows there (Wang et al. 2022). The covariance is shrunk, since images may be few (Ledoit & Wolf 2004).
    """
    vectors = np.asarray(vectors, np.float64)
    centre = vectors.mean(axis=0)
    count = min(_DIRECTIONS, len(vectors) - 1, vectors.shape[1])
    directions = np.linalg.svd(vectors - centre, full_matrices=False)[2][:count]
    bare = Rejection(centre, directions, np.eye(count + 1), np.zeros((1, count + 1)), np.inf)
    places = bare.coordinates(vectors)
    numbers, class_of = np.unique(truth, return_inverse=True)
    means = np.stack([places[class_of == number].mean(axis=0) for number in range(len(numbers))])
    covariance, _ = ledoit_wolf(places - means[class_of], assume_centered=True)
    values, axes = np.linalg.eigh(covariance)
    whitening = (axes / np.sqrt(np.maximum(values, 1e-12))).T
    return Rejection(centre, directions, whitening, means @ whitening.T, np.inf)


def threshold(distances: Floats, share: float) -> float:
    """The distance that so large a share of images held out exceeds."""
    return float(np.quantile(distances, 1 - share))
