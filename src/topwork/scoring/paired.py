"""Compares two classifiers on the same images: difference in accuracy or another score, interval and p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, permutation_test
from scipy.stats import norm as normal

from topwork.core.arrays import Bools, Floats
from topwork.scoring.metrics import Z95, effective_images

_FLIPS = 10_000  # random sign flips, if images come in groups or differ by more than right and wrong
_NORMAL = 2_000  # groups from which on the sum under random signs is as good as normal


@dataclass(frozen=True)
class Difference:
    """Difference in a score between a classifier and another on ``images`` images, with its 95 % (or wider) interval.

    ``error`` is the standard error of the difference. ``p`` is the p-value of the two-sided test of no difference, and
    ``p_better`` the p-value of the one-sided test that the first is no better. ``gained`` counts the images to which
    the first has the better answer, ``lost`` those to which the other has.
    """

    images: int
    difference: float
    low: float
    high: float
    error: float
    p: float
    p_better: float
    gained: int
    lost: int


def compare(
    first: Bools | Floats,
    other: Bools | Floats,
    groups: NDArray[np.str_],
    seed: int,
    tests: int = 1,
    scale: float | None = 1.0,
) -> Difference:
    """Difference in a score that is a mean over images between two classifiers, compared image by image.

    The interval is the one of Bonett & Price (2012) for paired proportions, for the effective number of images
    (`effective_images`): with 40 images and none lost, a bootstrap interval would exclude zero. The test is the exact
    test of McNemar (1947) if every image is its own group and all images that differ differ by the same. Otherwise it
    flips the signs of whole groups, so that several images of one object do not make the test too certain.

    Args:
        first: whether the first classifier was right, or what each image contributes to its score, ``[n]``.
        other: the same of the other classifier, ``[n]``.
        groups: group of each image, ``[n]``.
        seed: of the random signs.
        tests: number of intervals that are shown together; all of them hold together with 95 % (Bonferroni).
        scale: how much an image can change the score, in contributions (root mean square); None: as they differ here.

    """
    difference = first.astype(float) - other.astype(float)
    sums, sizes = _by_group(difference, groups)
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    changed = np.abs(difference[difference != 0])
    as_counts = len(sums) == len(first) and (len(changed) == 0 or np.ptp(changed) == 0)
    p, p_better = mcnemar(gained, lost) if as_counts else _sign_flips(sums, seed)
    mean = float(difference.mean())
    spread = ((sums - mean * sizes) ** 2).sum() * len(sums) / max(1, len(sums) - 1)
    error = float(np.sqrt(spread) / len(first))
    low, high = difference_interval(difference, groups, 1 - 0.05 / tests, scale)
    return Difference(len(first), mean, low, high, error, p, p_better, gained, lost)


def mcnemar(gained: int, lost: int) -> tuple[float, float]:
    """Exact p-values of McNemar's test, two-sided and one-sided (``gained`` is larger), under equal probability."""
    if gained + lost == 0:
        return 1.0, 1.0
    tests = (binomtest(gained, gained + lost, 0.5, side) for side in ("two-sided", "greater"))
    two_sided, better = (float(test.pvalue) for test in tests)
    return two_sided, better


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected for multiple testing (Holm 1979).

    If tests with a corrected value below a level are rejected, the probability of any false rejection is below it.
    """
    order, most, raised = np.argsort(p_values, kind="stable"), 0.0, [0.0] * len(p_values)
    for place, number in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - place) * p_values[number]))
        raised[number] = most
    return raised


def difference_interval(
    difference: Floats, groups: NDArray[np.str_], level: float, scale: float | None = 1.0
) -> tuple[float, float]:
    """Interval for the mean of differences ``[n]``; one more image counts as gained by ``scale``, and one more as lost.

    With differences of -1, 0 and 1 it is the interval of Bonett & Price (2012). Without a scale, the two images differ
    as those that are there, and the interval has no bounds; otherwise it ends at -1 and 1.
    """
    worth, quantile = effective_images(difference, groups)
    quantile *= float(normal.ppf((1 + level) / 2)) / Z95
    squares = float((difference**2).mean())
    mean = worth * float(difference.mean()) / (worth + 2)
    square = (worth * squares + 2 * (squares if scale is None else scale**2)) / (worth + 2)
    half = quantile * math.sqrt(max(0.0, square - mean**2) / (worth + 2))
    if scale is None:
        return mean - half, mean + half
    return max(-1.0, mean - half), min(1.0, mean + half)


def _by_group(values: Floats, groups: NDArray[np.str_]) -> tuple[Floats, Floats]:
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, values).astype(float), np.bincount(number).astype(float)


def _sign_flips(sums: Floats, seed: int) -> tuple[float, float]:
    """P-values, two-sided and one-sided, of the sum over groups under random signs."""
    changed = sums[sums != 0]
    if len(changed) == 0:
        return 1.0, 1.0
    if len(changed) >= _NORMAL:
        better = float(normal.sf(changed.sum() / np.sqrt((changed**2).sum())))
        return 2 * min(better, 1 - better), better
    padded = np.append(changed, 0.0)  # SciPy wants two observations; the sign of a zero changes nothing
    tests = (
        permutation_test(
            (padded,),
            np.sum,
            permutation_type="samples",
            n_resamples=_FLIPS,
            alternative=side,
            rng=np.random.default_rng(seed),
        )
        for side in ("two-sided", "greater")
    )
    two_sided, better = (float(test.pvalue) for test in tests)
    return two_sided, better
