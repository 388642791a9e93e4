"""Chooses whose answers a small network learns from, and what it learns of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from topwork.core.arrays import Bools, Floats
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.results import StrategyResult, scored
from topwork.scoring.metric import Metric, told_number, unit_of
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


def told_by_teacher(
    images: pd.DataFrame, taught: pd.DataFrame, class_names: Sequence[str]
) -> tuple[Floats, Floats, Bools]:
    """The labels as probabilities ``[n, c]``, what the teacher says ``[n, c]``, and of which images it says it ``[n]``.

    Of an image that the teacher was not scored on, what it says is the label.

    Args:
        images: columns ``image_id`` and ``label``.
        taught: the teacher's out-of-fold predictions (``image_id``, ``probabilities``).
        class_names: the classes, in the order of the probabilities.

    """
    labels = np.eye(len(class_names))[class_numbers(images["label"], class_names)]
    places = pd.Index(taught["image_id"]).get_indexer(pd.Index(images["image_id"]))
    known, told = places >= 0, labels.copy()
    told[known] = stacked_probabilities(taught)[places[known]]
    return labels, told, known


def price(student: StrategyResult, results: Sequence[StrategyResult], splits: pd.DataFrame, seed: int) -> str:
    """The student's test accuracy against its teacher's, paired, in words; empty if the teacher has no scores here.

    The test split decides nothing, so that it may be looked at once more.
    """
    named = student.training.get("teacher")
    teacher = next((each for each in scored(results, split_digest(splits)) if each.name == named), None)
    if teacher is None:
        return ""
    group_of = splits.set_index("image_id")["group"]
    found = compare_predictions(student.predictions, teacher.predictions, group_of, seed)
    if found is None:
        return ""
    mean, low, high = (told_number(value, "accuracy") for value in (found.difference, found.low, found.high))
    return (
        f"against its teacher, {teacher.name}: {mean} {unit_of('accuracy')} [{low}, {high}] on {found.images} test "
        "images; not compared out of fold, since its teacher has learnt from those images"
    )
