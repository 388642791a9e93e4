"""Calibration of a classifier's scores with one temperature (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from topwork.core.arrays import Floats, Integers

_LOG_RANGE = (np.log(1e-3), np.log(1e3))


def fit_temperature(scores: Floats, truth: Integers, told: Floats | None = None) -> float:
    """The temperature T that gives ``softmax(scores / T)`` the least log-loss on held-out scores ``[n, c]``.

    The target of an image is 1 - 1 / (n + 2) for its class; the other classes share 1 / (n + 2) (Laplace's rule, as in
    Platt 1999). With a target of 1, a classifier without mistakes on these images would become certain of every answer,
    and the loss of its first mistake would have no bound.
    """
    n, classes = scores.shape
    wrong = 1 / (n + 2) if classes > 1 else 0.0
    targets = np.full(scores.shape, wrong / max(1, classes - 1))
    targets[np.arange(n), truth] = 1 - wrong
    targets = targets if told is None else told

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(scores / np.exp(log_temperature), axis=1)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))
