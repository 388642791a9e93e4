"""Fits a head without parameters to tune, and scores it by nested cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def cross_fitted(fit: Callable[[Floats, Integers, int], Head], examples: Examples) -> FittedHead:
    """The head fitted on all images, with its temperature and out-of-fold probabilities.

    The probabilities of fold f come from a head that left out f. Its temperature comes from heads that left out f and
    one more fold, and were scored on that one.

    Args:
        fit: from samples ``[n, d]``, class numbers ``[n]`` and the number of classes to a head.
        examples: images to learn from.

    """
    truth, folds = examples.truth, examples.folds
    heads = _fitted_without(fit, examples)
    scores = np.empty((len(truth), examples.classes))
    probabilities = np.empty_like(scores)
    for fold in np.unique(folds):
        held_out = folds == fold
        inner = inner_scores(heads, examples.vectors, truth, folds, int(fold))
        scores[held_out] = heads[(int(fold),)].scores(examples.vectors[held_out])
        probabilities[held_out] = softmax(scores[held_out], fit_temperature(*inner))
    return FittedHead(heads[()], fit_temperature(scores, truth), probabilities)


def _fitted_without(fit: Callable[[Floats, Integers, int], Head], examples: Examples) -> dict[Left, Head]:
    """The heads that left out no fold, each fold, and each pair of folds."""
    numbers = [int(fold) for fold in np.unique(examples.folds)]
    left_out: list[Left] = [(), *((fold,) for fold in numbers), *combinations(numbers, 2)]

    def fitted(left: Left) -> Head:
        used = ~np.isin(examples.folds, left)
        samples = examples.samples[:, used].reshape(-1, examples.samples.shape[2])
        return fit(samples, np.tile(examples.truth[used], len(examples.samples)), examples.classes)

    heads: dict[Left, Head] = {}
    report_progress(_TASK, 0, len(left_out), "fits")
    for left, head in zip(left_out, each_on_a_core(fitted, [(left,) for left in left_out]), strict=True):
        heads[left] = head
        report_progress(_TASK, len(heads), len(left_out), "fits")
    return heads


def inner_scores(
    heads: Mapping[Left, Head], vectors: Floats, truth: Integers, folds: Integers, fold: int
) -> tuple[Floats, Integers]:
    """Scores and truth of all folds but ``fold``, each scored by the head that left out it and ``fold``."""
    scores, of = [], []
    for left, head in heads.items():
        if len(left) == 2 and fold in left:
            scored = folds == (left[0] if left[1] == fold else left[1])
            scores.append(head.scores(vectors[scored]))
            of.append(truth[scored])
    return np.concatenate(scores), np.concatenate(of)
