"""Fits a head without parameters to tune, and scores it by nested cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import Head
from topwork.core.progress import report_progress
from topwork.scoring.metrics import softmax
from topwork.training.calibration import fit_temperature
from topwork.training.heads import Examples, FittedHead

_TASK = "fitting the head"


def cross_fitted(fit: Callable[[Floats, Integers, int], Head], examples: Examples) -> FittedHead:
    """The head fitted on all images, with its temperature and out-of-fold probabilities.

    The probabilities of fold f come from a head that left out f. Its temperature comes from heads that left out f and
    one more fold, and were scored on that one.

    Args:
        fit: from samples ``[n, d]``, class numbers ``[n]`` and the number of classes to a head.
        examples: images to learn from.

    """
    truth, folds, vectors = examples.truth, examples.folds, examples.vectors
    numbers = [int(fold) for fold in np.unique(folds)]
    pairs = list(combinations(numbers, 2))
    left_out = [(), *((fold,) for fold in numbers), *pairs]

    def fitted(left: tuple[int, ...]) -> Head:
        used = ~np.isin(folds, left)
        samples = examples.samples[:, used].reshape(-1, examples.samples.shape[2])
        return fit(samples, np.tile(truth[used], len(examples.samples)), examples.classes)

    heads: dict[tuple[int, ...], Head] = {}
    report_progress(_TASK, 0, len(left_out), "fits")
    with threadpool_limits(1):  # one BLAS thread per fit: all cores are in use
        pool = Parallel(n_jobs=cpu_count(), backend="threading", return_as="generator")
        for left, head in zip(left_out, pool(delayed(fitted)(left) for left in left_out), strict=True):
            heads[left] = head
            report_progress(_TASK, len(heads), len(left_out), "fits")

    scores = np.empty((len(truth), examples.classes))
    probabilities = np.empty_like(scores)
    for fold in numbers:
        held_out = folds == fold
        scores[held_out] = heads[(fold,)].scores(vectors[held_out])
        inner, of = [], []
        for pair in pairs:
            if fold in pair:
                scored = folds == (pair[0] if pair[1] == fold else pair[1])
                inner.append(heads[pair].scores(vectors[scored]))
                of.append(truth[scored])
        probabilities[held_out] = softmax(scores[held_out], fit_temperature(np.concatenate(inner), np.concatenate(of)))
    return FittedHead(heads[()], fit_temperature(scores, truth), probabilities)
