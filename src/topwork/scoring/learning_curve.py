"""The learning curve of a linear probe: accuracy by number of images, and a forecast for more images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.results import Forecast, Point

_DRAWS = 300
_INTERVAL = (0.025, 0.975)
_UNIT = 100  # images; at this number the error is the asymptote plus the scale
_LARGEST, _SMALLEST = 50.0, 1e-6  # largest scale; smallest upper bound of the asymptote
_TINY = np.finfo(float).tiny
_EXPONENTS = np.arange(1, 101) / 50  # published exponents are below 1 (Hestness et al. 2017)


def forecast(points: Sequence[Point], sizes: Sequence[int], seed: int) -> list[Forecast]:
    """Accuracy at other sizes, from a power law with an asymptote fitted to the error (Hestness et al. 2017).

    The 95 % interval comes from fits to randomly drawn points. Their spread follows from the number of tested images
    and the misfit of the law. The interval does not allow for a change of the law.

    Args:
        points: measured accuracies, at least three sizes.
        sizes: numbers of images for which accuracy is forecast.
        seed: of the random draws.

    """
    images = np.array([point.images for point in points], float)
    tested = np.array([point.tested for point in points], float)
    error = 1 - np.array([point.right for point in points]) / tested
    fitted = _fits(images, error[None])
    misfit = float(np.sqrt(np.mean((_law(images, fitted)[0] - error) ** 2)))
    spread = np.sqrt(error * (1 - error) / tested + misfit**2)
    draws = np.random.default_rng(seed).normal(error, spread, (_DRAWS, len(points))).clip(0, 1)
    wanted = np.array(sizes, float)
    drawn = _law(wanted, _fits(images, draws))
    best = _law(wanted, fitted)[0]
    highest, lowest = (np.quantile(drawn, share, axis=0) for share in _INTERVAL)
    return [
        Forecast(images=int(size), accuracy=1 - float(e), low=1 - float(max(e, high)), high=1 - float(min(e, low)))
        for size, e, low, high in zip(sizes, best, highest, lowest, strict=True)
    ]


def _law(images: Floats, fitted: Floats) -> Floats:
    """Errors ``[d, n]`` at n numbers of images by the laws ``[d, 3]``: asymptote, scale, exponent."""
    least, scale, exponent = fitted.T[:, :, None]
    return np.asarray(least + scale * (images / _UNIT) ** -exponent)


def _fits(images: Floats, errors: Floats) -> Floats:
    """The least-squares laws ``[d, 3]`` of the rows of ``errors`` ``[d, p]``.

    For a given exponent the law is linear in the asymptote and the scale, and their bounds form a box. The best point
    is the unbounded solution, or it lies on an edge of the box. The exponents are tried one by one, all rows at once
    (Golub and Pereyra 1973).
    """
    highest = np.maximum(errors.min(axis=1), _SMALLEST)
    best, misfits = np.zeros((len(errors), 3)), np.full(len(errors), np.inf)
    for exponent in _EXPONENTS:
        basis = (images / _UNIT) ** -exponent
        for least in _least_errors(basis, errors, highest):
            scale = np.clip((errors - least[:, None]) @ basis / (basis @ basis), 0, _LARGEST)
            misfit = ((least[:, None] + scale[:, None] * basis - errors) ** 2).sum(axis=1)
            better = misfit < misfits
            misfits[better] = misfit[better]
            best[better] = np.column_stack([least, scale, np.full(len(least), exponent)])[better]
    return best


def _least_errors(basis: Floats, errors: Floats, highest: Floats) -> tuple[Floats, ...]:
    """Candidates ``[d]`` for the best asymptote of a given exponent: inside its bounds, or at one of them."""
    centred = basis - basis.mean()
    slope = errors @ centred / max(float(centred @ centred), _TINY)  # all sizes are equal in very small data sets
    inside = errors.mean(axis=1) - np.clip(slope, 0, _LARGEST) * basis.mean()
    return np.clip(inside, 0, highest), np.zeros(len(errors)), highest
