"""Chooses whose answers a small network learns from, and what it learns of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.results import StrategyResult, scored
from topwork.scoring.metric import Metric
from topwork.scoring.paired import Difference
from topwork.scoring.predictions import class_numbers, stacked_probabilities
from topwork.scoring.shared_images import answers_of, compare_predictions, shared_predictions


def best_teacher(
    results: Sequence[StrategyResult], splits: pd.DataFrame, metric: Metric, student: str = "distilled"
) -> StrategyResult:
    """The result with the best score out of fold, on the images that all were scored on; the first of equals.

    Results of earlier runs count only if this run has none.

    Raises:
        InputError: no other strategy has scores on these splits.

    """
    every = [each for each in scored(results, split_digest(splits)) if each.strategy != student]
    able = [each for each in every if len(each.out_of_fold)]
    able = [each for each in able if not each.earlier] or able
    if not able:
        raise InputError(
            f"A network is distilled from another strategy, and none has scores on these splits: name one, such as "
            f"`strategies=logistic+{student}`, or `strategies=all+ensemble+{student}`."
        )
    shared = shared_predictions([each.out_of_fold for each in able])
    if shared.empty:
        return able[0]
    return max(able, key=lambda each: metric.value(answers_of(shared, able.index(each))))


def soft_targets(
    images: pd.DataFrame, taught: pd.DataFrame, class_names: Sequence[str], share: float
) -> tuple[Floats, int]:
    """What a network is to answer for each image ``[n, c]``, and for how many of them a teacher has a say.

    Args:
        images: columns ``image_id`` and ``label``.
        taught: the teacher's predictions (``image_id``, ``probabilities``).
        class_names: the classes, in the order of the probabilities.
        share: share of the teacher in the target; the label has the rest.

    """
    targets = np.eye(len(class_names))[class_numbers(images["label"], class_names)]
    places = pd.Index(taught["image_id"]).get_indexer(pd.Index(images["image_id"]))
    known = places >= 0
    targets[known] = share * stacked_probabilities(taught)[places[known]] + (1 - share) * targets[known]
    return targets, int(known.sum())


def price(
    student: pd.DataFrame, teacher: pd.DataFrame, splits: pd.DataFrame, seed: int, metric: Metric
) -> Difference | None:
    """The student's score minus the teacher's, paired, out of fold; None if they share no image."""
    return compare_predictions(student, teacher, splits.set_index("image_id")["group"], seed, metric=metric)
