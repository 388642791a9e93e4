"""Sums over the vectors of each class, which can be added, and the covariance that follows from them.

With the sums of each fold, the covariance without some folds takes an addition in place of a pass over the images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from topwork.core.arrays import Floats, Integers

Block = tuple[Floats, Integers]
"""Vectors ``[b, d]`` in float64 and their class numbers ``[b]``, in ascending order."""

_LEAST_SHRINKAGE = 1e-8  # keeps a covariance of full rank whose shrinkage is 0 by chance, such as that of two samples
_NO_SPREAD = 1e-13  # share of the squared lengths below which a variance is a rounding error of float64


@dataclass(frozen=True)
class ClassSums:
    """Numbers of vectors by class ``counts`` ``[c]``, their sums ``[c, d]``, and their ``products`` ``[d, d]``.

    ``products`` is the sum of the outer products of all vectors with themselves.
    """

    counts: Integers
    sums: Floats
    products: Floats

    @classmethod
    def of(cls, blocks: Iterable[Block], classes: int, width: int) -> Self:
        """The sums of vectors of this width with class numbers below ``classes``."""
        counts, sums, products = np.zeros(classes, int), np.zeros((classes, width)), np.zeros((width, width))
        for vectors, truth in blocks:
            starts = _starts(truth)
            counts += np.bincount(truth, minlength=classes)
            sums[truth[starts]] += np.add.reduceat(vectors, starts, axis=0)
            products += vectors.T @ vectors
        return cls(counts, sums, products)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.counts + other.counts, self.sums + other.sums, self.products + other.products)

    @cached_property
    def means(self) -> Floats:
        """The mean of each class ``[c, d]``; zeros for a class without vectors."""
        return np.asarray(self.sums / np.maximum(self.counts, 1)[:, None])

    def scatter(self) -> Floats:
        """The sum ``[d, d]`` of the outer products of the vectors' differences from the means of their classes."""
        return np.asarray(self.products - (self.means.T * self.counts) @ self.means)

    def covariance(self, fourth_powers: float) -> Floats:
        """The covariance ``[d, d]`` within the classes, shrunk towards a multiple of the identity (Ledoit & Wolf 2004).

        The numbers are those of `sklearn.covariance.ledoit_wolf` for the differences from the means. Without spread
        within the classes, it is the identity: all directions then count alike.

        Args:
            fourth_powers: sum of the fourth powers of the lengths of these differences (`fourth_powers`).

        """
        count, width = self.counts.sum(), len(self.products)
        covariance = self.scatter() / count
        variance = np.trace(covariance) / width
        if variance <= _NO_SPREAD * np.trace(self.products) / (count * width):
            return np.eye(width)
        squares = np.vdot(covariance, covariance)
        noise = max(0.0, (fourth_powers / count - squares) / (width * count))
        distance = squares / width - variance**2
        shrinkage = max(noise / distance, _LEAST_SHRINKAGE) if noise < distance else 1.0
        covariance *= 1 - shrinkage
        covariance.flat[:: width + 1] += shrinkage * variance
        return np.asarray(covariance)


def fourth_powers(blocks: Iterable[Block], means: Floats) -> Floats:
    """Sums ``[m]`` of the fourth powers of the vectors' distances to the means of their classes.

    Args:
        blocks: the vectors.
        means: several sets of class means ``[m, c, d]``, each of which gives a sum.

    """
    squared_means = (means**2).sum(axis=2)
    found = np.zeros(len(means))
    for vectors, truth in blocks:
        lengths = (vectors**2).sum(axis=1)[:, None]
        starts = _starts(truth)
        for start, end in zip(starts, [*starts[1:], len(truth)], strict=True):
            own = truth[start]
            products = vectors[start:end] @ means[:, own].T
            found += ((lengths[start:end] - 2 * products + squared_means[:, own]) ** 2).sum(axis=0)
    return found


def rows_by_class(rows: Integers, truth: Integers) -> Integers:
    """These rows, ordered by their class numbers ``truth[rows]``."""
    return np.asarray(rows[np.argsort(truth[rows], kind="stable")])


def _starts(truth: Integers) -> Integers:
    """Where each class of an ascending sequence starts."""
    return np.flatnonzero(np.diff(truth, prepend=-1))
