"""Linear models of standardised features: multinomial logistic regression, a linear SVM, and a closed-form ridge.

The first two are minimised by L-BFGS in coordinates in which the loss is nearly round: the principal axes of the
features, each divided by the square root of its curvature. A fit then takes a third to a half of the steps, and its
start is the model for the next smaller C. On 3,408 x 1,280 features of ten classes, all fits of the nested
cross-validation of the SVM take 3 s where liblinear's dual solver took 34 s, with the same C and losses
(docs/decisions/0021-linear-models.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from topwork.core.arrays import Floats, Integers
from topwork.core.blocks import blocks
from topwork.training.class_balance import ClassWeight, class_weights

_PRECISION = 1e-5
"""Decrease of the mean loss in one step below which the fit has converged (`ftol`)."""
_MEMORY = 10  # steps from which L-BFGS estimates the curvature (SciPy's default)
_RIDGE = 10.0  # the penalty of the closed-form ridge is the number of samples divided by this

_Objective = Callable[[Floats], tuple[float, Floats]]  # scores [n, k] → mean loss, gradient by the scores


@dataclass(frozen=True)
class Coefficients:
    """Class scores ``samples @ weight + bias`` of a fitted model, with ``weight`` ``[d, k]`` and ``bias`` ``[k]``.

    Column ``i`` belongs to the class number ``classes[i]``. For two classes there is one column: it is positive for the
    second class.
    """

    classes: Integers
    weight: Floats
    bias: Floats
    converged: bool


class LinearModel(ABC):
    """An unfitted model; a larger ``C`` regularises less."""

    def __init__(self, C: float) -> None:
        self.C = C

    @abstractmethod
    def fit(
        self, samples: Sequence[Floats], truth: Integers, repeats: int, variances: Floats, start: Coefficients | None
    ) -> Coefficients:
        """The model fitted to samples (float32) and their class numbers.

        Args:
            samples: features around zero, whose axes should be uncorrelated, in pieces ``[m, d]``: a fit on some folds
                then needs no copy of them.
            truth: class numbers of all pieces, one after the other.
            repeats: samples of each image, which weigh as much as one together.
            variances: variance of each feature ``[d]``.
            start: coefficients to start from, for the same classes.

        """


class _Regularised(LinearModel):
    """The model that minimises C times the sum of losses plus half the squared norm of the weights."""

    _curvature: ClassVar[float]  # of the loss by a score, typical for fitted models
    _penalises_bias: ClassVar[bool]

    def __init__(self, C: float, class_weight: ClassWeight, max_iterations: int) -> None:
        super().__init__(C)
        self._class_weight = class_weight
        self._max_iterations = max_iterations

    @abstractmethod
    def _objective(self, truth: Integers, classes: int, own: Floats) -> _Objective:
        """The mean loss as a function of the scores.

        ``truth`` ``[n]`` are numbers below ``classes``; ``own`` ``[n]`` is the weight of each sample in its class.
        """

    def fit(
        self, samples: Sequence[Floats], truth: Integers, repeats: int, variances: Floats, start: Coefficients | None
    ) -> Coefficients:
        """The model at the minimum."""
        classes, numbers = np.unique(truth, return_inverse=True)
        n, d = len(truth), samples[0].shape[1]
        k = 1 if len(classes) == 2 else len(classes)
        strength = repeats / (self.C * n)  # of the regularisation, beside a mean loss
        bias_strength = strength if self._penalises_bias else 0.0
        scale = (1 / np.sqrt(strength + self._curvature * variances)).astype(np.float32)[:, None]
        own = class_weights(np.bincount(numbers) // repeats, self._class_weight)[numbers]
        objective = self._objective(numbers, len(classes), own)

        def loss(flat: Floats) -> tuple[float, Floats]:
            weight, bias = _unflat(flat, scale, k)
            value, by_score = objective(_product(samples, weight) + bias)
            gradient = np.empty((d + 1, k))
            gradient[:d] = scale * (_transposed_product(samples, by_score) + np.float32(strength) * weight)
            gradient[d] = by_score.sum(axis=0) + bias_strength * bias
            penalty = strength * np.vdot(weight, weight) + bias_strength * np.vdot(bias, bias)
            return value + 0.5 * float(penalty), gradient.ravel()

        first = np.zeros((d + 1, k))
        if start is not None and np.array_equal(start.classes, classes):
            first = np.concatenate([start.weight / scale, start.bias[None]])
        options = {"maxiter": self._max_iterations, "ftol": _PRECISION, "gtol": 0.0, "maxcor": _MEMORY}
        found: Any = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
        weight, bias = _unflat(found.x, scale, k)
        return Coefficients(classes, weight, bias, converged=found.nit < self._max_iterations)


def _product(pieces: Sequence[Floats], weight: Floats) -> Floats:
    """The rows of all pieces times ``weight`` ``[d, k]``."""
    return np.concatenate([piece @ weight for piece in pieces])


def _transposed_product(pieces: Sequence[Floats], factors: Floats) -> Floats:
    """The sum over all rows of the pieces times their factors ``[n, k]``: ``[d, k]``."""
    ends = np.cumsum([len(piece) for piece in pieces])
    return reduce(add, (piece.T @ of for piece, of in zip(pieces, np.split(factors, ends[:-1]), strict=True)))


def _unflat(flat: Floats, scale: Floats, k: int) -> tuple[Floats, Floats]:
    """Weight ``[d, k]`` and bias ``[k]`` in float32, from the vector that L-BFGS works on."""
    both = flat.reshape(-1, k).astype(np.float32)
    return scale * both[:-1], both[-1]


class MultinomialLogistic(_Regularised):
    """Multinomial logistic regression; the bias is not regularised."""

    _curvature, _penalises_bias = 0.05, False

    def _objective(self, truth: Integers, classes: int, own: Floats) -> _Objective:
        n, rows = len(truth), np.arange(len(truth))
        weights = (own / n).astype(np.float32)
        if classes == 2:
            signs = np.where(truth == 1, 1, -1).astype(np.float32)[:, None]

            def binary(scores: Floats) -> tuple[float, Floats]:
                margins = signs * scores
                losses = np.logaddexp(0, -margins)
                by_score = -signs * np.exp(-margins - losses)  # the share of the other class
                return float(weights @ losses[:, 0]), by_score * weights[:, None]

            return binary

        def multinomial(scores: Floats) -> tuple[float, Floats]:
            scores -= scores.max(axis=1, keepdims=True)
            own = scores[rows, truth]
            np.exp(scores, out=scores)
            sums = scores.sum(axis=1, keepdims=True)
            losses = np.log(sums[:, 0]) - own
            scores /= sums
            scores[rows, truth] -= 1
            scores *= weights[:, None]
            return float(weights @ losses), scores

        return multinomial


class LinearSVM(_Regularised):
    """One-against-rest linear SVM with squared hinge loss; as in liblinear, the bias is regularised too."""

    _curvature, _penalises_bias = 0.3, True

    def _objective(self, truth: Integers, classes: int, own: Floats) -> _Objective:
        n = len(truth)
        if classes == 2:
            signs = np.where(truth == 1, 1, -1).astype(np.float32)[:, None]
            weights = (own / n).astype(np.float32)[:, None]
        else:
            signs = np.full((n, classes), -1, np.float32)
            weights = np.full((n, classes), 1 / n, np.float32)
            signs[np.arange(n), truth] = 1
            weights[np.arange(n), truth] = own / n  # as in liblinear, the rest of a class keeps its weight

        def hinge(scores: Floats) -> tuple[float, Floats]:
            missing = np.maximum(1 - signs * scores, 0)
            weighted = weights * missing
            return float(np.vdot(weighted, missing)), -2 * signs * weighted

        return hinge


class ClosedRidge(LinearModel):
    """Least squares on the class indicators in closed form: a fast probe without iterations for many classes.

    With ``n`` standardised samples the penalty is ``n / 10``, whatever C is. Directions in which the features' variance
    is much below a tenth are shrunk strongly.
    """

    def fit(
        self, samples: Sequence[Floats], truth: Integers, repeats: int, variances: Floats, start: Coefficients | None
    ) -> Coefficients:
        """The model at the minimum."""
        classes, numbers = np.unique(truth, return_inverse=True)
        count, sizes = len(truth), np.bincount(numbers)
        sums = _class_sums(samples, numbers, len(classes))
        mean = sums.sum(axis=0) / count
        gram = reduce(add, (piece.T @ piece for piece in samples)) - np.float32(count) * np.outer(mean, mean)
        gram += np.float32(count / _RIDGE) * np.eye(len(mean), dtype=gram.dtype)
        weight = np.linalg.solve(gram, (sums - sizes[:, None] * mean).T)
        bias = sizes / count - mean @ weight
        if len(classes) == 2:
            weight, bias = np.diff(weight, axis=1), np.diff(bias)
        return Coefficients(classes, weight, bias, converged=True)


def _class_sums(pieces: Sequence[Floats], numbers: Integers, classes: int) -> Floats:
    """The sum of the rows of each class ``[c, d]`` in float32, without an indicator matrix ``[n, c]``."""
    sums, start = np.zeros((classes, pieces[0].shape[1])), 0
    for piece in pieces:
        for block in blocks(len(piece)):
            of_block = numbers[start:][block]
            order = np.argsort(of_block, kind="stable")
            present, starts = np.unique(of_block[order], return_index=True)
            sums[present] += np.add.reduceat(piece[block][order], starts, axis=0, dtype=np.float64)
        start += len(piece)
    return sums.astype(np.float32)
