"""Linear discriminant analysis on features of length 1, with the covariance of Ledoit and Wolf (2004).

It estimates no weights one by one, so that it needs few images: with 5 images a class it is ahead of a tuned logistic
regression on all data sets that were tried, with 100 a class on digits alone (docs/decisions/0022-heads.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import solve

from topwork.core.arrays import Floats, Integers
from topwork.core.blocks import blocks
from topwork.core.heads import LinearHead
from topwork.core.parameters import HeadParameters
from topwork.scoring.class_sums import Block, ClassSums, fourth_powers, rows_by_class
from topwork.training.cross_fitting import Left, cross_fitted, left_out, rows_by_fold
from topwork.training.heads import ABSENT_CLASS, Examples, FittedHead
from topwork.workers import each_on_a_core

_SHORTEST = 1e-12  # squared length that a vector of zeros counts as


class NormalisedHead(LinearHead):
    """A linear head on features that are divided by their length."""

    kind: ClassVar[str] = "normalised"

    @staticmethod
    def apply(features: Any, tensors: Any) -> Any:
        """Class scores ``[n, c]`` of features ``[n, d]``."""
        lengths = ((features * features).sum(1) + _SHORTEST) ** 0.5
        return (features / lengths[:, None]) @ tensors["weight"].T + tensors["bias"]


def fit(examples: Examples, parameters: HeadParameters) -> FittedHead:
    """The fitted head; it has nothing to tune."""
    return cross_fitted(fitted_from_sums(examples), examples)


def fitted_from_sums(examples: Examples) -> Callable[[Left], NormalisedHead]:
    """The head without some folds, from sums over each fold; the images are read twice for all heads together.

    The first pass sums up vectors and their products. The second one, which needs the class means of each head, sums up
    the fourth powers of the distances to them.
    """
    folds = rows_by_fold(examples.folds)
    parts = [_Part(examples, rows_by_class(rows, examples.truth)) for rows in folds.values()]
    sums = dict(zip(folds, each_on_a_core(_Part.sums, [(part,) for part in parts]), strict=True))
    left = left_out(examples.folds)
    means = np.stack([_without(sums, each).means for each in left])
    of_folds = dict(zip(folds, each_on_a_core(_Part.powers, [(part, means) for part in parts]), strict=True))
    powers = {each: sum(of_folds[fold][i] for fold in folds if fold not in each) for i, each in enumerate(left)}

    def fit_without(left: Left) -> NormalisedHead:
        return _discriminant(_without(sums, left), powers[left])

    return fit_without


@dataclass(frozen=True)
class _Part:
    """Some images, whose rows are ordered by class."""

    examples: Examples
    rows: Integers

    def sums(self) -> ClassSums:
        return ClassSums.of(self._directions(), self.examples.classes, self.examples.samples.shape[2])

    def powers(self, means: Floats) -> Floats:
        return fourth_powers(self._directions(), means)

    def _directions(self) -> Iterator[Block]:
        for view, block in product(self.examples.samples, blocks(len(self.rows))):
            rows = self.rows[block]
            vectors = view[rows].astype(np.float64)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST**0.5)
            yield vectors, self.examples.truth[rows]


def _without(sums: Mapping[int, ClassSums], left: Left) -> ClassSums:
    return reduce(add, (of_fold for fold, of_fold in sums.items() if fold not in left))


def _discriminant(sums: ClassSums, powers: float) -> NormalisedHead:
    """The head of the images in the sums; all classes share one covariance, and count by their numbers of images."""
    present, means = np.flatnonzero(sums.counts), sums.means[sums.counts > 0]
    solved = solve(sums.covariance(powers), means.T, assume_a="pos").T
    priors = np.log(sums.counts[present] / sums.counts.sum())
    offsets = priors - 0.5 * (means * solved).sum(axis=1)
    weight, bias = np.zeros(sums.sums.shape), np.full(len(sums.counts), ABSENT_CLASS)
    # what all classes share changes no probability; in float32, scores of 50,000 have two digits behind the point
    weight[present], bias[present] = solved - solved.mean(axis=0), offsets - offsets.mean()
    return NormalisedHead(weight.astype(np.float32), bias.astype(np.float32))
