"""The score by which models are chosen, and what each image contributes to it, for comparisons in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.core.words import perhaps
from topwork.scoring.costs import CostMatrix, cost_matrix, paid
from topwork.scoring.metrics import losses
from topwork.scoring.paired import Difference, compare

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auc", "cost")
_RECALL = "recall:"
_COST = "cost"
_WITH_PROBABILITIES = ("log_loss", "auc")
_UNBOUNDED = {"log_loss": "nats", _COST: "an image"}
_TITLES = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "log_loss": "log-loss", "auc": "AUC"}


@dataclass(frozen=True)
class Answers:
    """What a model says of ``n`` images of the classes ``truth`` ``[n]``.

    ``predicted`` ``[n]`` are class numbers (-1: another class), and ``probabilities`` ``[n, c]`` may be empty.
    """

    truth: Integers
    predicted: Integers
    probabilities: Floats

    @classmethod
    def likeliest(cls, truth: Integers, probabilities: Floats) -> Self:
        """The class of the highest probability as prediction."""
        return cls(truth, probabilities.argmax(axis=1), probabilities)


@dataclass(frozen=True)
class Metric:
    """A score whose higher values are better; of log-loss, it is the negative.

    Each image contributes a number, and the score is their mean. Accuracy, balanced accuracy, recall and log-loss are
    such means. Macro F1 and the area under the ROC curve are not: their contributions are the value plus the influence
    of the image (for the area, the placements of DeLong et al. 1988), whose mean is the value again, and whose paired
    differences have the variance of the difference of the values in large samples.

    ``name`` is one of `METRICS`, or ``recall:CLASS`` with the class number ``positive``. ``costs`` ``[c][c]`` are those
    of the answers, for ``cost``; an answer that is none of the classes costs the most.
    """

    name: str = "accuracy"
    positive: int | None = None
    costs: CostMatrix | None = None

    @classmethod
    def of(cls, parameters: ComparisonParameters, class_names: Sequence[str]) -> Self:
        """The metric that the user asks for, of these classes.

        Raises:
            InputError: there is no such metric or class; the message names the nearest.

        """
        name, costs = parameters.metric, parameters.costs
        matrix = None if costs is None else cost_matrix(costs, class_names)
        if name.startswith(_RECALL):
            wanted = name.removeprefix(_RECALL)
            if wanted not in class_names:
                raise InputError(f"comparison.metric={name}: {_nearest(wanted, class_names, 'the classes')}")
            return cls(name, list(class_names).index(wanted))
        if name not in METRICS:
            raise InputError(f"comparison.metric={name}: {_nearest(name, METRICS, 'the metrics')} Or recall:CLASS.")
        return cls(name, costs=matrix if name == _COST else None)

    @property
    def title(self) -> str:
        """The name in words."""
        return _TITLES.get(self.name, self.name.replace(_RECALL, "recall of "))

    def shown(self, score: float | None) -> float:
        """A score as people know it: log-loss and costs are positive."""
        return float("nan") if score is None else -score if self.name in _UNBOUNDED else score

    @property
    def needs_probabilities(self) -> bool:
        """Whether predicted classes are not enough."""
        return self.name in _WITH_PROBABILITIES

    def contributions(self, answers: Answers) -> Floats:
        """What each image contributes, ``[n]``; the mean is the score."""
        if self.costs is not None:
            return -paid(answers.truth, answers.predicted, self.costs)
        if self.positive is not None:
            mine = answers.truth == self.positive
            return np.asarray((answers.predicted == answers.truth) * mine * (len(mine) / max(1, mine.sum())))
        return _CONTRIBUTIONS[self.name](answers)

    def value(self, answers: Answers) -> float:
        """The score of these answers."""
        return float(self.contributions(answers).mean())

    def compare(
        self, first: Answers, other: Answers, groups: NDArray[np.str_], seed: int, tests: int = 1
    ) -> Difference:
        """The score of the first model minus that of the other, on the same images.

        Args:
            first: answers of the first model.
            other: answers of the other model, to the same images.
            groups: group of each image ``[n]``.
            seed: of the random signs.
            tests: number of intervals that are shown together.

        """
        mine, theirs, counted = self.contributions(first), self.contributions(other), slice(None)
        scale: float | None = None
        if self.positive is not None:  # the images of other classes say nothing about this score
            counted = first.truth == self.positive
            of_class = counted.mean() or 1.0
            mine, theirs, scale = mine[counted] * of_class, theirs[counted] * of_class, 1.0
        elif self.name == "accuracy":
            scale = 1.0
        elif self.name not in {*_WITH_PROBABILITIES, _COST}:
            scale = float(np.sqrt((_balance(first.truth) ** 2).mean()))
        return compare(mine, theirs, groups[counted], seed, tests, scale)


def told_difference(difference: float, metric: str) -> str:
    """A difference between two values of the metric with this name, in words: points, or nats of log-loss."""
    return f"{told_number(difference, metric)} {unit_of(metric)}"


def told_number(difference: float, metric: str) -> str:
    """The number of a difference in `unit_of` the metric."""
    return f"{difference:z.3f}" if metric in _UNBOUNDED else f"{100 * difference:z.1f}"


def unit_of(metric: str) -> str:
    """The unit in which differences of the metric are told."""
    return _UNBOUNDED.get(metric, "points")


def _nearest(wanted: str, known: Sequence[str], what: str) -> str:
    return f"{perhaps(wanted, known)}{what} are {', '.join(known)}."


def _accuracy(answers: Answers) -> Floats:
    return np.asarray(answers.predicted == answers.truth, float)


def _balance(truth: Integers) -> Floats:
    """Weight of each image, ``[n]``, such that all classes count the same; the mean is 1."""
    classes, number, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return np.asarray(len(truth) / (len(classes) * counts))[number]


def _balanced_accuracy(answers: Answers) -> Floats:
    return _accuracy(answers) * _balance(answers.truth)


def _macro_f1(answers: Answers) -> Floats:
    """F1 of a class is a ratio of sums over the images; its influence is the linearised ratio."""
    truth, predicted, n = answers.truth, answers.predicted, len(answers.truth)
    classes = np.unique(truth)
    of_truth, of_predicted = np.searchsorted(classes, truth), np.searchsorted(classes, predicted)
    of_predicted = np.minimum(of_predicted, len(classes) - 1)
    is_known, right = classes[of_predicted] == predicted, predicted == truth
    support = np.bincount(of_truth, minlength=len(classes))
    both = support + np.bincount(of_predicted, is_known, len(classes))
    f1 = 2 * np.bincount(of_truth, right, len(classes)) / both
    influence = 2 * right / both[of_truth] - (f1 / both)[of_truth] - is_known * (f1 / both)[of_predicted]
    return np.asarray(f1.mean() + n / len(classes) * influence)


def _negative_loss(answers: Answers) -> Floats:
    return -losses(answers.probabilities, answers.truth)


def _auc(answers: Answers) -> Floats:
    """Mean over the classes of the area under the curve of each against the rest."""
    found = [
        _area(answers.probabilities[:, number], answers.truth == number)
        for number in np.unique(answers.truth)
        if (answers.truth != number).any()
    ]
    return np.asarray(np.mean(found, axis=0)) if found else np.full(len(answers.truth), 0.5)


def _area(scores: Floats, is_class: NDArray[np.bool_]) -> Floats:
    """The area, plus how far the placement of each image among those of the other kind is from it."""
    n, inside, outside = len(scores), int(is_class.sum()), int((~is_class).sum())
    ranks, placed = rankdata(scores), np.empty(len(scores))
    placed[is_class] = (ranks[is_class] - rankdata(scores[is_class])) / outside
    placed[~is_class] = 1 - (ranks[~is_class] - rankdata(scores[~is_class])) / inside
    area = placed[is_class].mean()
    return np.asarray(area + (placed - area) * np.where(is_class, n / inside, n / outside))


_CONTRIBUTIONS: dict[str, Callable[[Answers], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "log_loss": _negative_loss,
    "auc": _auc,
}
