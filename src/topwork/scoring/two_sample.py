"""Tests whether two samples of images come from one distribution, by permutation (docs/monitoring.md)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from topwork.core.arrays import Bools, Floats, Integers
from topwork.scoring.metrics import proportion_interval

_IMAGES_A_DIRECTION = 4  # fewest images for each principal axis: its spread is not known from fewer
_GRID = np.geomspace(0.05, 10, 40)  # shifts in standard deviations that are tried, each 15 % above the last
_SWAPS = 399  # permutations for the critical value in a simulation


def swaps(groups: NDArray[np.str_], is_new: Bools, permutations: int, seed: int) -> Floats:
    """Memberships ``[n, 1 + permutations]`` in the new sample, 1 or 0: the true ones, then random ones.

    The images of a group move together, and the number of groups in the new sample stays the same: under the
    hypothesis that both samples come from one distribution of groups, all columns are equally probable.
    """
    _, group = np.unique(np.char.add(np.where(is_new, "new ", "old "), groups), return_inverse=True)
    count, new = int(group.max()) + 1, len(np.unique(group[is_new]))
    generator = np.random.default_rng(seed)
    drawn = np.argsort(generator.random((permutations, count)), axis=1) < new
    return np.column_stack([is_new, drawn[:, group].T]).astype(np.float32)


def permutation_p(statistics: Floats) -> float:
    """P-value of the first of the statistics ``[1 + permutations]``, where large values speak for a difference."""
    return float((statistics >= statistics[0]).mean())


def whitened(vectors: Floats, dimensions: int) -> Floats:
    """Coordinates ``[n, k]`` along the principal axes of all vectors ``[n, d]`` together, each with a spread of 1.

    The axes do not depend on which sample a vector belongs to, so a permutation test on the coordinates stays exact.
    """
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    n, d = centred.shape
    k = max(1, min(dimensions, n // _IMAGES_A_DIRECTION, d))
    products = centred @ centred.T if n <= d else centred.T @ centred  # the smaller one; both have the same axes
    values, axes = eigh(products, subset_by_index=[min(n, d) - k, min(n, d) - 1])
    kept = values > 1e-9 * values[-1]
    along = axes[:, kept] if n <= d else centred @ axes[:, kept] / np.sqrt(values[kept])
    return np.asarray(along[:, ::-1] * math.sqrt(n))


def energy_distances(points: Floats, members: Floats) -> Floats:
    """Energy distance (Székely & Rizzo 2004) for each column of the memberships ``[n, b]``, ``[b]``.

    It is twice the mean distance between the samples minus the mean distances within both, and 0 if and only if they
    have the same distribution; it is a maximum mean discrepancy (Gretton et al. 2012; Sejdinovic et al. 2013).
    """
    distances = cdist(points, points).astype(np.float32)
    sizes = members.sum(axis=0)
    weights = members / sizes - (1 - members) / (len(points) - sizes)
    return np.asarray(-(weights * (distances @ weights)).sum(axis=0), np.float64)


def detectable_shift(points: Floats, new: int, significance: float, power: float, draws: int, seed: int) -> float:
    """The smallest shift, in standard deviations, that ``new`` images would show with this power, by simulation.

    The reference ``points`` ``[n, k]`` (spread 1) are parted at random, one part is shifted along a random direction,
    and the energy distance is compared with its critical value. As many images as that leave fewer for the other part;
    the shift is scaled to the true numbers, as the error of a mean is.
    """
    generator, count = np.random.default_rng(seed), len(points)
    part = min(new, count // 2)
    squared = np.asarray(cdist(points, points, "sqeuclidean"), np.float32)
    null = energy_distances(points, _random_members(count, part, _SWAPS, generator))
    critical = float(np.quantile(null, 1 - significance))
    seen = [_first_seen(points, squared, part, critical, generator) for _ in range(draws)]
    effective = (part * (count - part) / count) / (new * count / (new + count))
    return float(np.quantile(seen, power) * math.sqrt(effective))


def shifted_shares(kinds: Integers, members: Floats, classes: int) -> tuple[Floats, Floats]:
    """The difference in the share of each class, new minus reference, ``[c]``, and its corrected p-value ``[c]``.

    A p-value compares a class's standardised difference with the largest one over all classes in each permutation, so
    that the probability of any false alarm is bounded (Westfall & Young 1993).

    Args:
        kinds: class of each image, ``[n]``.
        members: memberships (`swaps`).
        classes: number of classes.

    """
    of_class = (np.arange(classes)[:, None] == kinds).astype(np.float32)
    sizes, total = members.sum(axis=0), of_class.sum(axis=1, keepdims=True)
    rest, counts = len(kinds) - sizes, of_class @ members
    difference = counts / sizes - (total - counts) / rest
    share = total / len(kinds)
    error = np.sqrt(np.maximum(share * (1 - share), 1e-12) * (1 / sizes + 1 / rest))
    sizes_of = np.abs(difference / error)
    largest = sizes_of.max(axis=0)
    p = (largest >= sizes_of[:, :1] - 1e-6).mean(axis=1)
    return np.asarray(difference[:, 0], float), np.asarray(p, float)


def share_difference(
    new: Bools, reference: Bools, new_groups: NDArray[np.str_], reference_groups: NDArray[np.str_]
) -> tuple[float, float]:
    """95 % interval of a share among new images minus the share in the reference (Newcombe 1998, method 10)."""
    (low, high), (low_then, high_then) = (
        proportion_interval(new, new_groups),
        proportion_interval(reference, reference_groups),
    )
    now, then = float(new.mean()), float(reference.mean())
    return (
        now - then - math.hypot(now - low, high_then - then),
        now - then + math.hypot(high - now, then - low_then),
    )


def _random_members(count: int, part: int, columns: int, generator: np.random.Generator) -> Floats:
    return np.asarray(np.argsort(generator.random((count, columns)), axis=0) < part, np.float32)


def _first_seen(points: Floats, squared: Floats, part: int, critical: float, generator: np.random.Generator) -> float:
    """The smallest shift of the grid at which the energy distance of one random part exceeds the critical value."""
    order = generator.permutation(len(points))
    mine, others = order[:part], order[part:]
    direction = generator.normal(size=points.shape[1])
    along = points @ (direction / np.linalg.norm(direction))
    within = np.sqrt(squared[np.ix_(mine, mine)]).mean() + np.sqrt(squared[np.ix_(others, others)]).mean()
    apart, across = along[mine, None] - along[None, others], squared[np.ix_(mine, others)]

    def is_seen(shift: float) -> bool:
        moved = np.sqrt(np.maximum(across + 2 * shift * apart + shift**2, 0))
        return bool(2 * moved.mean() - within >= critical)

    low, high = 0, len(_GRID) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_seen(float(_GRID[middle])) else (middle + 1, high)
    return float(_GRID[low])
