"""Compares two classifiers on the same images: difference in accuracy, interval and p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, permutation_test
from scipy.stats import norm as normal

from topwork.core.arrays import Bools, Floats
from topwork.scoring.metrics import Z95, effective_images

_FLIPS = 10_000  # random sign flips, if images come in groups


@dataclass(frozen=True)
class Difference:
    """Difference in accuracy between a classifier and another on ``images`` images, with its 95 % (or wider) interval.

    ``error`` is the standard error of the difference. ``p`` is the p-value of the two-sided test of no difference, and
    ``p_better`` the p-value of the one-sided test that the first is no better. ``gained`` counts the images that only
    the first classifies correctly, ``lost`` the images that only the other classifies correctly.
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


def compare(first: Bools, other: Bools, groups: NDArray[np.str_], seed: int, tests: int = 1) -> Difference:
    """Difference in accuracy between two classifiers, compared image by image.

    The interval is the one of Bonett & Price (2012) for paired proportions, for the effective number of images
    (`effective_images`): with 40 images and none lost, a bootstrap interval would exclude zero. The test is the exact
    test of McNemar (1947) if every image is its own group. Otherwise it flips the signs of whole groups, so that
    several images of one object do not make the test too certain.

    Args:
        first: whether the first classifier was right, ``[n]``.
        other: whether the other classifier was right, ``[n]``.
        groups: group of each image, ``[n]``.
        seed: of the random signs.
        tests: number of intervals that are shown together; all of them hold together with 95 % (Bonferroni).

    """
    difference = first.astype(float) - other.astype(float)
    sums, sizes = _by_group(difference, groups)
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    p, p_better = mcnemar(gained, lost) if len(sums) == len(first) else _sign_flips(sums, seed)
    mean = float(difference.mean())
    spread = ((sums - mean * sizes) ** 2).sum() * len(sums) / max(1, len(sums) - 1)
    error = float(np.sqrt(spread) / len(first))
    low, high = difference_interval(difference, groups, 1 - 0.05 / tests)
    return Difference(len(first), mean, low, high, error, p, p_better, gained, lost)


def compare_predictions(
    first: pd.DataFrame, other: pd.DataFrame, group_of: pd.Series[str], seed: int, tests: int = 1
) -> Difference | None:
    """Difference in accuracy between two tables of out-of-fold predictions; None if they share no image.

    They are compared on the images that both contain with the same label. The splits may differ: no out-of-fold
    prediction comes from a model that has seen the image.

    Args:
        first: columns ``image_id``, ``label``, ``predicted``.
        other: the same columns.
        group_of: group of each image id; an image without a group is its own group.
        seed: of the random signs.
        tests: number of comparisons that are shown together.

    """
    both = shared_predictions([first, other])
    if both.empty:
        return None
    named = group_of.to_dict()
    groups = np.array([named.get(image_id, image_id) for image_id in both["image_id"]], dtype=str)
    right, right_other = ((both[f"predicted_{place}"] == both["label"]).to_numpy() for place in range(2))
    return compare(right, right_other, groups, seed, tests)


def shared_predictions(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Out-of-fold predictions of all tables for the images that all of them contain with the same label.

    Columns ``image_id``, ``label`` and ``predicted_0``, ``predicted_1``, … by table; sorted by ``image_id``.
    """
    parts = (
        table[["image_id", "label", "predicted"]].rename(columns={"predicted": f"predicted_{place}"})
        for place, table in enumerate(tables)
    )
    shared = reduce(lambda left, right: left.merge(right, on=["image_id", "label"]), parts)
    return shared.sort_values("image_id", ignore_index=True)


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


def difference_interval(difference: Floats, groups: NDArray[np.str_], level: float) -> tuple[float, float]:
    """Interval for differences ``[n]`` of -1, 0 and 1; one more image counts as gained, and one more as lost."""
    worth, quantile = effective_images(difference, groups)
    quantile *= float(normal.ppf((1 + level) / 2)) / Z95
    gained, lost = ((worth * float((difference == sign).mean()) + 1) / (worth + 2) for sign in (1, -1))
    half = quantile * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2) / (worth + 2))
    return max(-1.0, gained - lost - half), min(1.0, gained - lost + half)


def _by_group(values: Floats, groups: NDArray[np.str_]) -> tuple[Floats, Floats]:
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, values).astype(float), np.bincount(number).astype(float)


def _sign_flips(sums: Floats, seed: int) -> tuple[float, float]:
    """P-values, two-sided and one-sided, of the sum over groups under random signs."""
    changed = sums[sums != 0]
    if len(changed) == 0:
        return 1.0, 1.0
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
