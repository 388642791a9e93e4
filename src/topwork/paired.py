"""Two classifiers on the same images: how much better one is, and whether that is more than luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from scipy.stats import t as student

from topwork.schemas import Bools, Floats

_FLIPS = 10_000  # sign flips where images come in groups


@dataclass(frozen=True)
class Difference:
    """Accuracy of one classifier less that of another on ``images`` images, with its 95 % interval.

    ``error`` is its standard error, ``p`` that of the two-sided test of no difference, ``p_better`` the one-sided one
    of the first being no better; ``gained`` and ``lost`` count what only the first, and only the other, has right.
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


def compare(first: Bools, other: Bools, groups: NDArray[np.str_], resamples: int, seed: int) -> Difference:
    """Compare what was right, image by image.

    The interval is that of a bootstrap over groups; the test is the exact one of McNemar (1947) where every image is a
    group of its own, else one of sign flips of whole groups, which images of one object cannot mislead.

    Args:
        first: whether the one was right, ``[n]``.
        other: whether the other was, ``[n]``.
        groups: of the images, ``[n]``.
        resamples: bootstrap draws.
        seed: of everything drawn.

    """
    difference = first.astype(float) - other.astype(float)
    sums, sizes = _by_group(difference, groups)
    generator = np.random.default_rng(seed)
    low, high = np.quantile(_bootstrap(sums, sizes, resamples, generator), [0.025, 0.975])
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    p, p_better = mcnemar(gained, lost) if len(sums) == len(first) else _sign_flips(sums, generator)
    mean = float(difference.mean())
    spread = ((sums - mean * sizes) ** 2).sum() * len(sums) / max(1, len(sums) - 1)
    error = float(np.sqrt(spread) / len(first))
    return Difference(len(first), mean, float(low), float(high), error, p, p_better, gained, lost)


def mcnemar(gained: int, lost: int) -> tuple[float, float]:
    """Exact p-values, two-sided and of ``gained`` being the luckier half of a fair coin."""
    changed = gained + lost
    if changed == 0:
        return 1.0, 1.0
    at_least = float(binom.sf(gained - 1, changed, 0.5))
    at_most = float(binom.cdf(gained, changed, 0.5))
    return min(1.0, 2 * min(at_least, at_most)), at_least


def corrected_resampled_t(differences: Sequence[float], tested_to_taught: float) -> float:
    """Two-sided p-value of differences fold by fold (Nadeau & Bengio 2003): folds share most of their training images.

    Args:
        differences: at least two.
        tested_to_taught: images of a fold as a share of those that its model learnt from.

    """
    folds, mean = len(differences), float(np.mean(differences))
    variance = float(np.var(differences, ddof=1)) * (1 / folds + tested_to_taught)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * student.sf(abs(mean) / math.sqrt(variance), folds - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a table of tests, raised so that the chance of any false one stays below each (Holm 1979)."""
    order, most, raised = np.argsort(p_values, kind="stable"), 0.0, [0.0] * len(p_values)
    for place, number in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - place) * p_values[number]))
        raised[number] = most
    return raised


def _by_group(values: Floats, groups: NDArray[np.str_]) -> tuple[Floats, Floats]:
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, values).astype(float), np.bincount(number).astype(float)


def _bootstrap(sums: Floats, sizes: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """Mean differences ``[resamples]`` of groups drawn anew. Groups that are alike are drawn as one kind."""
    kinds, counts = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    drawn = generator.multinomial(len(sums), counts / len(sums), size=resamples)
    return np.asarray((drawn @ kinds[0]) / (drawn @ kinds[1]))


def _sign_flips(sums: Floats, generator: np.random.Generator) -> tuple[float, float]:
    changed = sums[sums != 0]
    if not len(changed):
        return 1.0, 1.0
    flipped = generator.choice([-1.0, 1.0], size=(_FLIPS, len(changed))) @ changed
    two_sided = (1 + (np.abs(flipped) >= abs(changed.sum())).sum()) / (1 + _FLIPS)
    better = (1 + (flipped >= changed.sum()).sum()) / (1 + _FLIPS)
    return float(two_sided), float(better)
