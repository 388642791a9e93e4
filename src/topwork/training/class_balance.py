"""How much each class counts in training, if some classes have far fewer images than others."""

from __future__ import annotations

from typing import Literal

import numpy as np

from topwork.core.arrays import Floats, Integers

ClassWeight = Literal["none", "balanced", "effective"]
_BETA = 0.999  # Cui et al. 2019; an image is worth less the more a class has, and nothing more beyond about 1,000


def class_weights(counts: Integers, how: ClassWeight) -> Floats:
    """Weight ``[c]`` of the images of each class; the mean weight of the images is 1.

    ``balanced`` gives all classes the same sum of weights. ``effective`` counts the effective number of images,
    ``(1 - beta ** n) / (1 - beta)`` (Cui et al. 2019, beta 0.999): classes of a few hundred images
    get about equal sums, and images of classes with many thousands nearly equal weights. The weight of a class without
    images is 0.
    """
    if how == "none":
        return np.ones(len(counts))
    worth = counts.astype(float) if how == "balanced" else (1 - _BETA ** counts.astype(float)) / (1 - _BETA)
    weights = np.divide(1.0, worth, out=np.zeros(len(counts)), where=counts > 0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum())


def balanced_order(truth: Integers, rows: Integers, generator: np.random.Generator) -> Integers:
    """As many rows as ``rows`` ``[n]``, in random order, from each class the same number.

    The images of a large class take turns from epoch to epoch, and those of a small class are repeated.

    Args:
        truth: class number of every row.
        rows: rows to draw from.
        generator: draws the rows and their order.

    """
    classes = np.unique(truth[rows])
    share = -(-len(rows) // len(classes))
    drawn = [_repeated(rows[truth[rows] == number], share, generator) for number in classes]
    return np.asarray(generator.permutation(np.concatenate(drawn))[: len(rows)])


def _repeated(members: Integers, count: int, generator: np.random.Generator) -> Integers:
    """``count`` members in random order; each of them appears equally often, give or take one."""
    rounds = -(-count // len(members))
    return np.concatenate([generator.permutation(members) for _ in range(rounds)])[:count]
