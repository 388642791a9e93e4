"""Two classifiers on the same images: how much better one is, and whether that is more than luck."""

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

_FLIPS = 10_000  # sign flips where images come in groups


@dataclass(frozen=True)
class Difference:
    """Accuracy of one classifier less that of another on ``images`` images, with its 95 % interval (or a wider one).

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


def compare(first: Bools, other: Bools, groups: NDArray[np.str_], seed: int, tests: int = 1) -> Difference:
    """Compare what was right, image by image.

    The interval is that of Bonett & Price (2012) for paired proportions, of as many images as the groups are worth
    (`effective_images`): a bootstrap of 40 images of which none was lost would exclude zero. The test is the exact one
    of McNemar (1947) where every image is a group of its own, else one of sign flips of whole groups, which images of
    one object cannot mislead.

    Args:
        first: whether the one was right, ``[n]``.
        other: whether the other was, ``[n]``.
        groups: of the images, ``[n]``.
        seed: of the signs drawn.
        tests: how many intervals stand side by side; all of them hold with 95 % (Bonferroni).

    """
    difference = first.astype(float) - other.astype(float)
    sums, sizes = _by_group(difference, groups)
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    p, p_better = mcnemar(gained, lost) if len(sums) == len(first) else _sign_flips(sums, seed)
    mean = float(difference.mean())
    spread = ((sums - mean * sizes) ** 2).sum() * len(sums) / max(1, len(sums) - 1)
    error = float(np.sqrt(spread) / len(first))
    low, high = _interval(difference, groups, 1 - 0.05 / tests)
    return Difference(len(first), mean, low, high, error, p, p_better, gained, lost)


def compare_predictions(
    first: pd.DataFrame, other: pd.DataFrame, group_of: pd.Series[str], seed: int, tests: int = 1
) -> Difference | None:
    """Compare two tables of out-of-fold predictions, by the one rule of what can be compared.

    They are compared on the images that both score under the same label; whatever the splits were, no prediction in
    such a table is of a model that has seen the image. None where they share no image.

    Args:
        first: columns ``image_id``, ``label``, ``predicted``.
        other: the same.
        group_of: group of each image id; an image that has none is a group of its own.
        seed: of the signs drawn.
        tests: how many comparisons stand side by side.

    """
    both = shared_predictions([first, other])
    if both.empty:
        return None
    named = group_of.to_dict()
    groups = np.array([named.get(image_id, image_id) for image_id in both["image_id"]], dtype=str)
    right, right_other = ((both[f"predicted_{place}"] == both["label"]).to_numpy() for place in range(2))
    return compare(right, right_other, groups, seed, tests)


def shared_predictions(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What all tables of out-of-fold predictions say of the images that all score under the same label.

    Columns ``image_id``, ``label`` and ``predicted_0``, ``predicted_1``, … by table; sorted by ``image_id``.
    """
    parts = (
        table[["image_id", "label", "predicted"]].rename(columns={"predicted": f"predicted_{place}"})
        for place, table in enumerate(tables)
    )
    shared = reduce(lambda left, right: left.merge(right, on=["image_id", "label"]), parts)
    return shared.sort_values("image_id", ignore_index=True)


def mcnemar(gained: int, lost: int) -> tuple[float, float]:
    """Exact p-values of McNemar's test: two-sided, and one-sided that ``gained`` is no more than chance."""
    if gained + lost == 0:
        return 1.0, 1.0
    tests = (binomtest(gained, gained + lost, 0.5, side) for side in ("two-sided", "greater"))
    two_sided, better = (float(test.pvalue) for test in tests)
    return two_sided, better


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


def _interval(difference: Floats, groups: NDArray[np.str_], level: float) -> tuple[float, float]:
    """Of differences ``[n]`` of -1, 0 and 1; one image more is taken as gained, and one as lost."""
    worth, quantile = effective_images(difference, groups)
    quantile *= float(normal.ppf((1 + level) / 2)) / Z95
    gained, lost = ((worth * float((difference == sign).mean()) + 1) / (worth + 2) for sign in (1, -1))
    half = quantile * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2) / (worth + 2))
    return max(-1.0, gained - lost - half), min(1.0, gained - lost + half)


def _sign_flips(sums: Floats, seed: int) -> tuple[float, float]:
    """P-values, two-sided and one-sided, of the sum over groups under random signs."""
    changed = sums[sums != 0]
    if len(changed) == 0:
        return 1.0, 1.0
    tests = (
        permutation_test(
            (changed,),
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
