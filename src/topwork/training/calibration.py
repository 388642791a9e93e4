"""One temperature for a classifier's scores (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from topwork.core.arrays import Floats, Integers

_LOG_RANGE = (np.log(1e-3), np.log(1e3))


def fit_temperature(scores: Floats, truth: Integers) -> float:
    """The temperature that gives softmax(scores / T) the least log-loss on held-out scores ``[n, c]``.

    Of n images one in n + 2 counts as wrong, spread over the other classes (Laplace's rule, as in Platt 1999): a
    classifier without a mistake so far would else be certain of everything, and pay for its first one without bound.
    """
    n, classes = scores.shape
    wrong = 1 / (n + 2) if classes > 1 else 0.0
    targets = np.full(scores.shape, wrong / max(1, classes - 1))
    targets[np.arange(n), truth] = 1 - wrong

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(scores / np.exp(log_temperature), axis=1)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))
