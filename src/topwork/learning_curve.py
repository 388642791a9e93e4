"""How the score of a linear probe grows with the number of images, and where it would be with more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

from topwork.schemas import Floats

_DRAWS = 300
_INTERVAL = (0.025, 0.975)
_FASTEST = 2.0  # exponent of the power law; published ones lie below 1 (Hestness et al. 2017)


@dataclass(frozen=True)
class Point:
    """Right answers of ``tested`` when so many images were learnt from."""

    images: int
    right: int
    tested: int


@dataclass(frozen=True)
class Forecast:
    """Accuracy to expect with so many images, with a 95 % interval."""

    images: int
    accuracy: float
    low: float
    high: float


def forecast(points: Sequence[Point], sizes: Sequence[int], seed: int) -> list[Forecast]:
    """Accuracy at other sizes, by a power law with an asymptote fitted to the error (Hestness et al. 2017).

    The interval is that of fits to points drawn anew, each as far off as its number of tested images and the misfit of
    the law allow; it does not know of a law that changes.

    Args:
        points: at least three sizes.
        sizes: wanted.
        seed: of the draws.

    """
    images = np.array([point.images for point in points], float)
    tested = np.array([point.tested for point in points], float)
    error = 1 - np.array([point.right for point in points]) / tested
    fitted = _fit(images, error)
    misfit = float(np.sqrt(np.mean((_law(images, *fitted) - error) ** 2)))
    spread = np.sqrt(error * (1 - error) / tested + misfit**2)
    generator = np.random.default_rng(seed)
    wanted = np.array(sizes, float)
    drawn = np.array(
        [_law(wanted, *_fit(images, np.clip(generator.normal(error, spread), 0, 1))) for _ in range(_DRAWS)]
    )
    best = _law(wanted, *fitted)
    highest, lowest = (np.quantile(drawn, share, axis=0) for share in _INTERVAL)
    return [
        Forecast(int(size), 1 - float(e), 1 - float(max(e, high)), 1 - float(min(e, low)))
        for size, e, low, high in zip(sizes, best, highest, lowest, strict=True)
    ]


def _law(images: Floats, least: float, scale: float, exponent: float) -> Floats:
    return np.asarray(least + scale * (images / 100) ** -exponent)


def _fit(images: Floats, error: Floats) -> Floats:
    start = (max(0.0, 0.5 * error.min()), max(1e-3, error[0]), 0.3)
    bounds = ([0, 0, 0], [max(error.min(), 1e-6), 50, _FASTEST])
    start = tuple(np.clip(start, bounds[0], bounds[1]))
    try:
        found, _ = curve_fit(_law, images, error, p0=start, bounds=bounds, maxfev=2000)
    except RuntimeError:  # no convergence: say that more images change nothing
        found = np.array([error[-1], 0.0, 0.0])
    return np.asarray(found)
