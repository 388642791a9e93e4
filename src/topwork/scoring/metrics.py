"""Scores of predicted probabilities, each with a 95 % interval.

Accuracy and top-5 are proportions and get Wilson intervals for the effective number of images (`effective_images`). The
other scores are bootstrapped over groups within classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import t as student
from sklearn.metrics import confusion_matrix

from topwork.core.arrays import Bools, Floats, Integers

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
_SMALLEST_PROBABILITY = 1e-15
_CHUNK_CELLS = 4_000_000  # weights in memory at a time while resampling, 32 MB


def softmax(scores: Floats, temperature: float) -> Floats:
    """Class probabilities ``[n, c]``: the softmax of ``scores / temperature``."""
    return np.asarray(special.softmax(scores / temperature, axis=1))


def losses(probabilities: Floats, truth: Integers) -> Floats:
    """Negative log-probability ``[n]`` (nats) of the true class."""
    of_truth = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY)))


def proportion_interval(right: Bools, groups: NDArray[np.str_]) -> tuple[float, float]:
    """95 % interval of the share of ``right`` ``[n]``, where images of the same group are similar.

    It is Wilson's interval for the effective number of images. The design effect is the variance between groups divided
    by the variance of independent images (Kish 1965). The quantile is Student's t for the number of groups, as Dean &
    Pagano (2015) recommend. If every group has one image, it is the plain Wilson interval.
    """
    share = float(right.mean()) if len(right) else 0.0
    worth, quantile = effective_images(right.astype(float), groups)
    return wilson_interval(share * worth, worth, quantile)


def effective_images(values: Floats, groups: NDArray[np.str_]) -> tuple[float, float]:
    """Number of independent images that give the mean of ``values`` ``[n]`` as precisely, and the quantile to use.

    If all values are equal, the similarity within groups cannot be estimated, and each group counts as one image.
    """
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number).astype(float)
    images, count = len(values), len(sizes)
    if count == images:
        return float(images), Z95
    mean = float(values.mean())
    independent = float(values.var()) / images
    if independent == 0 or count < 2:
        worth = images**2 / float((sizes**2).sum())
    else:
        deviations = np.bincount(number, values) - mean * sizes
        between = float((deviations**2).sum()) * count / (count - 1) / images**2
        worth = images / max(1.0, between / independent)
    return worth, float(student.ppf(0.975, max(1, count - 1)))


def wilson_interval(successes: float, trials: float, quantile: float = Z95) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), inside [0, 1] and never empty."""
    if trials == 0:
        return 0.0, 1.0
    share, slack = successes / trials, quantile**2 / trials
    centre = (share + slack / 2) / (1 + slack)
    half = quantile * math.sqrt(share * (1 - share) / trials + slack / (4 * trials)) / (1 + slack)
    return max(0.0, centre - half), min(1.0, centre + half)


def score(
    probabilities: Floats,
    truth: Integers,
    groups: NDArray[np.str_],
    resamples: int,
    bins: int,
    seed: int,
    predicted: Integers | None = None,
) -> dict[str, float | None]:
    """Accuracy, balanced accuracy, macro F1, top-5, log-loss and ECE, each with ``_low`` and ``_high``.

    Args:
        probabilities: ``[n, c]``.
        truth: true class of each image, ``[n]``.
        groups: images of one group are drawn together, ``[n]``.
        resamples: bootstrap draws.
        bins: equal-width confidence bins of the expected calibration error (Guo et al. 2017 use 15).
        seed: of the draws.
        predicted: class that each image is called, ``[n]``, where it is not the most likely one.

    With five classes or fewer top-5 has no meaning and is None. Classes without a true image are left out of averages.

    """
    n = len(truth)
    called = probabilities.argmax(axis=1) if predicted is None else predicted
    correct = called == truth
    result = _with_interval("accuracy", float(correct.mean()), proportion_interval(correct, groups))
    result |= _top5(probabilities, truth, groups)
    statistics = _weighted_statistics(probabilities, truth, called, bins)
    draws = [statistics(weights) for weights in resampled_weights(truth, groups, resamples, seed)]
    for name, value in statistics(np.ones((1, n))).items():
        sampled = np.concatenate([draw[name] for draw in draws])
        low, high = np.quantile(sampled, [0.025, 0.975])
        result |= _with_interval(name, float(value[0]), (float(low), float(high)))
    return result


def per_class_scores(
    predicted: Integers, truth: Integers, groups: NDArray[np.str_], class_names: tuple[str, ...]
) -> list[dict[str, object]]:
    """For each class: images, precision, recall with its interval, F1."""
    rows: list[dict[str, object]] = []
    for index, name in enumerate(class_names):
        of_class, called = truth == index, predicted == index
        hits, images, calls = int((of_class & called).sum()), int(of_class.sum()), int(called.sum())
        low, high = proportion_interval(called[of_class], groups[of_class])
        rows.append(
            {
                "label": name,
                "images": images,
                "precision": hits / calls if calls else 0.0,
                "recall": hits / images if images else 0.0,
                "recall_low": low,
                "recall_high": high,
                "f1": 2 * hits / (images + calls) if images + calls else 0.0,
            }
        )
    return rows


def confusion(predicted: Integers, truth: Integers, classes: int) -> Integers:
    """Counts ``[c, c]``: row the true class, column the predicted one."""
    return np.asarray(confusion_matrix(truth, predicted, labels=range(classes)))


def _with_interval(name: str, value: float, interval: tuple[float, float]) -> dict[str, float | None]:
    return {name: value, f"{name}_low": float(interval[0]), f"{name}_high": float(interval[1])}


def _top5(probabilities: Floats, truth: Integers, groups: NDArray[np.str_]) -> dict[str, float | None]:
    if probabilities.shape[1] <= 5:
        return {"top5": None, "top5_low": None, "top5_high": None}
    best = np.argpartition(-probabilities, 4, axis=1)[:, :5]
    hits = (best == truth[:, None]).any(axis=1)
    return _with_interval("top5", float(hits.mean()), proportion_interval(hits, groups))


def _weighted_statistics(
    probabilities: Floats, truth: Integers, predicted: Integers, bins: int
) -> Callable[[Floats], dict[str, Floats]]:
    """A function from image weights ``[b, n]`` to each statistic ``[b]``; all that is constant is computed once."""
    classes = probabilities.shape[1]
    confidence = probabilities[np.arange(len(truth)), predicted]
    cell = truth * classes + predicted
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    loss, gap = losses(probabilities, truth), confidence - (predicted == truth)

    def statistics(weights: Floats) -> dict[str, Floats]:
        counts = _sums(weights, cell, classes**2).reshape(-1, classes, classes)
        support, called, hits = counts.sum(2), counts.sum(1), np.einsum("bii->bi", counts)
        seen, total = support > 0, weights.sum(1)
        return {
            "balanced_accuracy": _mean_where(hits / np.maximum(support, 1), seen),
            "macro_f1": _mean_where(2 * hits / np.maximum(support + called, 1), seen),
            "log_loss": weights @ loss / total,
            "ece": np.abs(_sums(weights * gap, bin_of, bins)).sum(1) / total,
        }

    return statistics


def _sums(values: Floats, cell: Integers, cells: int) -> Floats:
    """Row-wise sums ``[b, cells]`` of ``values`` ``[b, n]`` by cell."""
    rows = np.arange(len(values))[:, None] * cells
    sums = np.bincount((rows + cell).ravel(), values.ravel(), minlength=len(values) * cells)
    return np.asarray(sums.reshape(len(values), cells), np.float64)


def _mean_where(values: Floats, mask: NDArray[np.bool_]) -> Floats:
    return np.asarray((values * mask).sum(1) / np.maximum(mask.sum(1), 1))


def resampled_weights(truth: Integers, groups: NDArray[np.str_], resamples: int, seed: int) -> Iterator[Floats]:
    """Chunks ``[b, n]`` of how often each image is drawn: whole groups, within the class of their first image."""
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    stratum = truth[first]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // len(truth))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        weights = np.zeros((size, len(first)))
        for class_ in np.unique(stratum):
            members = np.flatnonzero(stratum == class_)
            weights[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size)
        yield weights[:, group_of]
