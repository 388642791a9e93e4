"""One temperature for a classifier's scores (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from topwork.metrics import losses, softmax
from topwork.schemas import Floats, Integers

_LOG_RANGE = (np.log(1e-3), np.log(1e3))


def fit_temperature(scores: Floats, truth: Integers) -> float:
    """The temperature that gives softmax(scores / T) the least log-loss on held-out scores ``[n, c]``."""

    def loss(log_temperature: float) -> float:
        return float(losses(softmax(scores, np.exp(log_temperature)), truth).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))
