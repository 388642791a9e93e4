"""How well features tell classes apart, before anything is trained: scores that cost seconds."""

from __future__ import annotations

import numpy as np

from topwork.core.arrays import Floats, Integers

_ROUNDS, _STILL = 50, 1e-5  # of LogME's fixed point
_BLOCK = 1024  # images compared with all at a time


def knn_accuracy(vectors: Floats, truth: Integers, neighbours: int = 5) -> float:
    """Share of images ``[n, d]`` whose nearest others (by cosine, the image itself left out) vote for their class."""
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


def log_me(vectors: Floats, truth: Integers) -> float:
    """Logarithm of the maximum evidence of a linear model of each class on the features, a sample (You et al. 2021).

    Larger is better; only scores of the same images compare.
    """
    vectors = np.asarray(vectors, np.float64)
    n, d = vectors.shape
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    squared = singular**2
    evidences = []
    for number in np.unique(truth):
        labels = (truth == number).astype(np.float64)
        projected = (left.T @ labels) ** 2
        rest = float(labels @ labels - projected.sum())
        evidences.append(_evidence(squared, projected, rest, n, d))
    return float(np.mean(evidences))


def h_score(vectors: Floats, truth: Integers) -> float:
    """Spread between class means as a share of all spread, summed over directions (Bao et al. 2019).

    The covariance is shrunk towards its mean variance (Ledoit & Wolf 2004), since images are fewer than features.
    """
    from sklearn.covariance import ledoit_wolf

    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0)
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    means = np.stack([centred[truth == number].mean(axis=0) for number in np.unique(truth)])
    shares = np.array([(truth == number).mean() for number in np.unique(truth)])
    between = (means * shares[:, None]).T @ means
    return float((1 - shrinkage) * np.trace(np.linalg.solve(covariance, between)))


def _evidence(squared: Floats, projected: Floats, rest: float, n: int, d: int) -> float:
    """Of ``n`` labels under a Gaussian weight prior and noise, both precisions at their fixed point, a sample."""
    alpha = beta = 1.0
    for _ in range(_ROUNDS):
        shrunk = alpha + beta * squared
        gamma = float((beta * squared / shrunk).sum())
        weights = float((beta**2 * squared * projected / shrunk**2).sum())
        error = float((alpha**2 * projected / shrunk**2).sum()) + rest
        before, alpha, beta = alpha / beta, gamma / max(weights, 1e-12), (n - gamma) / max(error, 1e-12)
        if abs(alpha / beta - before) <= _STILL * before:
            break
    shrunk = alpha + beta * squared
    weights = float((beta**2 * squared * projected / shrunk**2).sum())
    error = float((alpha**2 * projected / shrunk**2).sum()) + rest
    unseen = d - len(squared)
    logs = d * np.log(alpha) + n * np.log(beta) - np.log(shrunk).sum() - unseen * np.log(alpha) - n * np.log(2 * np.pi)
    return float((logs - beta * error - alpha * weights) / (2 * n))
