"""How the score of a linear probe grows with the number of images, and where it would be with more of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.results import Forecast, Point

_DRAWS = 300
_INTERVAL = (0.025, 0.975)
_UNIT = 100  # images, at which the scale is what is above the asymptote
_LARGEST, _SMALLEST = 50.0, 1e-6  # of the scale; of the asymptote's upper bound
_TINY = np.finfo(float).tiny
_EXPONENTS = np.arange(1, 101) / 50  # published ones lie below 1 (Hestness et al. 2017)


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
    """Errors ``[d, n]`` at n numbers of images by the laws ``[d, 3]``: least, scale, exponent."""
    least, scale, exponent = fitted.T[:, :, None]
    return np.asarray(least + scale * (images / _UNIT) ** -exponent)


def _fits(images: Floats, errors: Floats) -> Floats:
    """The law of least squares for each row of ``errors`` ``[d, p]``: ``[d, 3]``.

    For a given exponent the law is linear in the other two, whose bounds make a box: its best point is that of the
    plane, or lies on an edge. The exponents are tried one by one, all rows at once (Golub and Pereyra 1973).
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
    """Where the best asymptote ``[d]`` may lie for a given exponent: inside its bounds, or at one of them."""
    centred = basis - basis.mean()
    slope = errors @ centred / max(float(centred @ centred), _TINY)  # sets so small that all sizes are one
    inside = errors.mean(axis=1) - np.clip(slope, 0, _LARGEST) * basis.mean()
    return np.clip(inside, 0, highest), np.zeros(len(errors)), highest
