"""Fits a head without parameters to tune, and scores it by nested cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import Head
from topwork.core.progress import report_progress
from topwork.scoring.metrics import softmax
from topwork.training.calibration import fit_temperature
from topwork.training.heads import Examples, FittedHead
from topwork.workers import each_on_a_core

_TASK = "fitting the head"

Left = tuple[int, ...]  # the folds left out of a fit


def cross_fitted(fit_without: Callable[[Left], Head], examples: Examples) -> FittedHead:
    """The head fitted on all images, with its temperature and out-of-fold probabilities.

    The probabilities of fold f come from a head that left out f. Its temperature comes from heads that left out f and
    one more fold, and were scored on that one.

    Args:
        fit_without: from the folds that are left out (none, one or two) to a head. `from_samples` makes it of a
            function that fits samples.
        examples: images to learn from.

    """
    truth, vectors, rows = examples.truth, examples.vectors, rows_by_fold(examples.folds)
    heads = _fitted_without(fit_without, left_out(examples.folds))
    scores = np.empty((len(truth), examples.classes))
    probabilities = np.empty_like(scores)
    for fold, held_out in rows.items():
        inner = inner_scores(heads, vectors, truth, rows, fold)
        scores[held_out] = heads[(fold,)].scores(vectors, held_out)
        probabilities[held_out] = softmax(scores[held_out], fit_temperature(*inner))
    return FittedHead(heads[()], fit_temperature(scores, truth), probabilities)


def from_samples(fit: Callable[[Floats, Integers, int], Head], examples: Examples) -> Callable[[Left], Head]:
    """The argument ``fit_without`` of `cross_fitted` for a head that is fitted on samples, which are copied each time.

    Args:
        fit: from samples ``[n, d]``, class numbers ``[n]`` and the number of classes to a head.
        examples: images to learn from.

    """

    def fit_without(left: Left) -> Head:
        used = ~np.isin(examples.folds, left)
        samples = examples.samples[:, used].reshape(-1, examples.samples.shape[2])
        return fit(samples, np.tile(examples.truth[used], len(examples.samples)), examples.classes)

    return fit_without


def left_out(folds: Integers) -> list[Left]:
    """What is left out of the fits of a cross-validation: no fold, each fold, and each pair of folds."""
    numbers = [int(fold) for fold in np.unique(folds)]
    return [(), *((fold,) for fold in numbers), *combinations(numbers, 2)]


def rows_by_fold(folds: Integers) -> dict[int, Integers]:
    """The row numbers of the images of each fold, in ascending order."""
    return {int(fold): np.flatnonzero(folds == fold) for fold in np.unique(folds)}


def _fitted_without(fit_without: Callable[[Left], Head], folds: Sequence[Left]) -> dict[Left, Head]:
    heads: dict[Left, Head] = {}
    report_progress(_TASK, 0, len(folds), "fits")
    for left, head in zip(folds, each_on_a_core(fit_without, [(left,) for left in folds]), strict=True):
        heads[left] = head
        report_progress(_TASK, len(heads), len(folds), "fits")
    return heads


def inner_scores(
    heads: Mapping[Left, Head], vectors: Floats, truth: Integers, rows: Mapping[int, Integers], fold: int
) -> tuple[Floats, Integers]:
    """Scores and truth of all folds but ``fold``, each scored by the head that left out it and ``fold``.

    Args:
        heads: the heads by the folds that they left out; those without two folds are not used.
        vectors: features ``[n, d]``.
        truth: class numbers ``[n]``.
        rows: the images of each fold to score.
        fold: the fold that the result is for.

    """
    scores, of = [], []
    for left, head in heads.items():
        if len(left) == 2 and fold in left:
            scored = rows[left[0] if left[1] == fold else left[1]]
            scores.append(head.scores(vectors, scored))
            of.append(truth[scored])
    return np.concatenate(scores), np.concatenate(of)
