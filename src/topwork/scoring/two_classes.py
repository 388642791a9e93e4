"""What counts where there are two classes: areas under the curves, their bands, and the threshold for a wish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm as normal

from topwork.core.arrays import Bools, Floats
from topwork.core.classifier import Decision
from topwork.scoring.metrics import Z95, effective_images, proportion_interval, resampled_weights, wilson_interval

GRID = np.linspace(0, 1, 101)
"""Values of the horizontal axis (false positive rate, recall) at which curves are given."""
_CANDIDATES = 200  # thresholds that are tried
_BAND = (0.025, 0.975)


@dataclass(frozen=True)
class Curve:
    """A curve over ``GRID`` with its 95 % band."""

    value: Floats
    low: Floats
    high: Floats


def positive_class(labels: pd.Series[str], wanted: str | None) -> str:
    """The class that recall and precision are of: the one that is wanted, or the rarer one (of equals the first)."""
    return wanted if wanted is not None else str(labels.value_counts().sort_index().idxmin())


def area_scores(
    chance: Floats, truth: Bools, groups: NDArray[np.str_], resamples: int, seed: int
) -> dict[str, float | None]:
    """Area under the ROC curve and average precision, each with ``_low`` and ``_high`` (bootstrap over groups).

    Args:
        chance: probability of the positive class, ``[n]``.
        truth: whether an image is of this class, ``[n]``.
        groups: images of one group are drawn together, ``[n]``.
        resamples: bootstrap draws.
        seed: of the draws.

    """
    if truth.all() or not truth.any():
        return {f"{name}{end}": None for name in ("auc", "average_precision") for end in ("", "_low", "_high")}
    (whole,) = (_areas(*counts) for counts in _counts(chance, truth, iter([np.ones((1, len(truth)))])))
    weights = resampled_weights(truth.astype(int), groups, resamples, seed)
    drawn = np.concatenate([_areas(*counts) for counts in _counts(chance, truth, weights)])
    result: dict[str, float | None] = {}
    for place, name in enumerate(("auc", "average_precision")):
        low, high = np.nanquantile(drawn[:, place], _BAND)
        result |= {name: float(whole[0, place]), f"{name}_low": float(low), f"{name}_high": float(high)}
    return result


def curves(chance: Floats, truth: Bools, groups: NDArray[np.str_], resamples: int, seed: int) -> tuple[Curve, Curve]:
    """The ROC curve and the precision-recall curve, with arguments as for `area_scores`."""
    (whole,) = (_on_grid(*counts) for counts in _counts(chance, truth, iter([np.ones((1, len(truth)))])))
    weights = resampled_weights(truth.astype(int), groups, resamples, seed)
    drawn = np.concatenate([_on_grid(*counts) for counts in _counts(chance, truth, weights)], axis=0)
    low, high = np.nanquantile(drawn, _BAND, axis=0)
    roc, precision = (Curve(whole[0, place], low[place], high[place]) for place in (0, 1))
    return roc, precision


def operating_scores(called: Bools, truth: Bools, groups: NDArray[np.str_]) -> dict[str, float | None]:
    """Recall and precision of the positive class as it is ``called``, each with ``_low`` and ``_high``."""
    result: dict[str, float | None] = {}
    for name, hits, among in (("recall", called, truth), ("precision", truth, called)):
        names = (name, f"{name}_low", f"{name}_high")
        if among.any():
            found = float(hits[among].mean()), *proportion_interval(hits[among], groups[among])
            result |= dict(zip(names, found, strict=True))
        else:
            result |= dict.fromkeys(names)
    return result


def choose_threshold(
    chance: Floats,
    truth: Bools,
    groups: NDArray[np.str_],
    recall: float | None,
    precision: float | None,
    certainty: float,
) -> tuple[float, bool]:
    """The threshold for a wish, out of fold, and whether the images are enough to be as certain as asked.

    It is the highest one with at least this recall, or the lowest one with at least this precision, as the lower bound
    of a one-sided interval has it: a threshold that just meets the wish on these images misses it on every second set
    of new ones. Where no threshold is certain, the lower bound comes as near to the wish as it can.

    Args:
        chance: probability of the positive class, ``[n]``.
        truth: whether an image is of this class, ``[n]``.
        groups: images of one group count as similar, ``[n]``.
        recall: least recall, or None if it is the precision that is asked for.
        precision: least precision, or None.
        certainty: level of the one-sided interval; 0.5 has no margin.

    """
    of_class = np.sort(chance[truth])
    places = np.unique(np.linspace(0, len(of_class) - 1, _CANDIDATES).round().astype(int))
    values = np.unique(of_class[places])
    wish = float(precision if recall is None else recall)  # type: ignore[arg-type]

    def bound(value: float) -> float:
        called = chance >= value
        hits, among = (called, truth) if recall is not None else (truth, called)
        return _lower_bound(hits[among], groups[among], certainty)

    bounds = np.array([bound(value) for value in values])
    enough = np.flatnonzero(bounds >= wish)
    first_choice = enough[::-1] if recall is not None else enough
    place = next(iter(first_choice), int(bounds.argmax()))
    return _between(chance, float(values[place])), bool(len(enough))


def _lower_bound(hits: Bools, groups: NDArray[np.str_], certainty: float) -> float:
    worth, quantile = effective_images(hits.astype(float), groups)
    quantile *= float(normal.ppf(certainty)) / Z95
    share = float(hits.mean())
    return share if quantile <= 0 else wilson_interval(share * worth, worth, quantile)[0]


def _between(chance: Floats, value: float) -> float:
    """A threshold between this value and the next lower one: a server's probabilities differ in the last digits."""
    below = chance[chance < value]
    return (value + float(below.max())) / 2 if len(below) else value / 2


def _counts(chance: Floats, truth: Bools, weights: Iterator[Floats]) -> Iterator[tuple[Floats, Floats]]:
    """Weights ``[b, k + 1]`` of true and of false positives where the threshold falls, from none to all called."""
    order = np.argsort(-chance, kind="stable")
    last = np.append(np.flatnonzero(np.diff(chance[order])), len(chance) - 1)  # of equal probabilities
    for some in weights:
        moved = some[:, order]
        sums = (np.cumsum(moved * part[order], axis=1)[:, last] for part in (truth, ~truth))
        hits, alarms = (np.pad(each, ((0, 0), (1, 0))) for each in sums)
        yield hits, alarms


def _areas(hits: Floats, alarms: Floats) -> Floats:
    """Area under the ROC curve and average precision ``[b, 2]`` (a step function, without interpolation)."""
    recall, false_rate = hits / hits[:, -1:], alarms / alarms[:, -1:]
    area = (np.diff(false_rate, axis=1) * (recall[:, 1:] + recall[:, :-1]) / 2).sum(axis=1)
    precision = hits[:, 1:] / np.maximum(hits[:, 1:] + alarms[:, 1:], 1e-12)
    return np.stack([area, (np.diff(recall, axis=1) * precision).sum(axis=1)], axis=1)


def _on_grid(hits: Floats, alarms: Floats) -> Floats:
    """Recall by false positive rate, and precision by recall, ``[b, 2, len(GRID)]``."""
    recall, false_rate = hits / hits[:, -1:], alarms / alarms[:, -1:]
    precision = hits / np.maximum(hits + alarms, 1e-12)
    precision[:, 0] = precision[:, 1]
    rows = [
        (np.interp(GRID, false_rate[row], recall[row]), precision[row][np.searchsorted(recall[row], GRID - 1e-12)])
        for row in range(len(hits))
    ]
    return np.asarray(rows)


def decide(
    predictions: pd.DataFrame,
    group_of: pd.Series[str],
    positive: str,
    recall: float | None,
    precision: float | None,
    certainty: float,
) -> tuple[Decision, bool]:
    """The decision for a wish, from the predictions out of fold, and whether it is certain (`choose_threshold`)."""
    names = list(predictions.attrs["class_names"])
    chance = np.stack(predictions["probabilities"].to_list())[:, names.index(positive)]
    truth = (predictions["label"] == positive).to_numpy()
    groups = predictions["image_id"].map(group_of).to_numpy(dtype=str)
    threshold, is_certain = choose_threshold(chance, truth, groups, recall, precision, certainty)
    wish = f"recall >= {recall:g}" if recall is not None else f"precision >= {precision:g}"
    return Decision(positive, threshold, f"{wish} with a certainty of {certainty:.0%}"), is_certain
