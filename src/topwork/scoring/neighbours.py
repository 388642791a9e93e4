"""Accuracy of nearest neighbours on feature vectors, without training."""

from __future__ import annotations

import numpy as np

from topwork.core.arrays import Floats, Integers

_BLOCK = 1024  # images that are compared with all images at a time


def knn_accuracy(vectors: Floats, truth: Integers, neighbours: int = 5) -> float:
    """Accuracy of a vote of the ``neighbours`` nearest other images, by cosine of ``vectors`` ``[n, d]``."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    classes, right = int(truth.max()) + 1, 0
    count = min(neighbours, len(unit) - 1)
    for start in range(0, len(unit), _BLOCK):
        near = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(near))
        near[rows, start + rows] = -np.inf
        nearest = np.argpartition(-near, count - 1, axis=1)[:, :count]
        votes = np.zeros((len(near), classes))
        np.add.at(votes, (rows[:, None], truth[nearest]), 1 + 1e-6 * near[rows[:, None], nearest])  # ties: the nearer
        right += int((votes.argmax(axis=1) == truth[start : start + _BLOCK]).sum())
    return right / len(unit)
