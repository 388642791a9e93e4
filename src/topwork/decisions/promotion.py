"""Decides whether a new model replaces the registered champion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from topwork.core.digests import classes_digest
from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.core.runs import RegisteredChampion
from topwork.scoring.metric import Metric, told_number, unit_of
from topwork.scoring.paired import Difference
from topwork.scoring.shared_images import compare_predictions

_MOST_JUDGED = 2000  # images on which an older champion is tested
_OTHER_CLASSES = (
    "the registered champion of this name knows other classes, so that it is a model for another task; "
    "give this one a name of its own (model=NAME), or comparison.promote=always to take its place"
)


@dataclass(frozen=True)
class Verdict:
    """Whether the alias moves, the reason, and the measured difference, if there is one."""

    moves: bool
    reason: str
    difference: Difference | None = None


def judge(
    newcomer: pd.DataFrame,
    model_id: str,
    digest: str,
    registered: RegisteredChampion | None,
    answers: Callable[[pd.DataFrame], pd.DataFrame],
    group_of: pd.Series[str],
    parameters: ComparisonParameters,
) -> Verdict:
    """The verdict on a new model: the alias moves if there is no champion yet, or if a paired test finds it better.

    On the same split, both are compared on the images that both scored out of fold. On another split, they are compared
    on the images that the champion did not learn from, because it may remember the others. If there are too few of
    these (labels were corrected, or a few images were added), they are compared on the images that both scored out of
    fold, under the present labels.

    Args:
        newcomer: out-of-fold predictions of the new model, with the ``sha256`` of the images.
        model_id: id of its logged model.
        digest: digest of the split.
        registered: the present champion.
        answers: function that gives the champion's ``predicted`` and ``probabilities`` for each row.
        group_of: group of each image id.
        parameters: block `comparison`.

    """
    if registered is None or parameters.promote != "when_better" or registered.model_id == model_id:
        return _without_looking(model_id, registered, parameters)
    if registered.classes not in {"", classes_digest(newcomer.attrs.get("class_names", ()))}:
        return Verdict(False, _OTHER_CLASSES)
    if registered.learnt is None:
        return Verdict(False, "nothing is kept of what the champion learnt from; comparison.promote=always moves it")
    unseen = newcomer[~newcomer["sha256"].isin(list(registered.learnt))].head(_MOST_JUDGED)
    if registered.split_digest == digest or len(unseen) < parameters.fewest_images:
        known = newcomer[newcomer["sha256"].isin(list(registered.learnt))]
        theirs, told = registered.out_of_fold, "images that both were scored on out of fold"
    else:
        known, told = unseen, "images that the champion never learnt from"
        try:
            told_now = answers(unseen)
        except InputError as error:
            return Verdict(False, f"the champion cannot be asked ({error})")
        kept = unseen.drop(columns=told_now.columns, errors="ignore")
        theirs = kept.join(told_now.set_axis(unseen.index))
        theirs.attrs = dict(newcomer.attrs)
    metric = Metric.of(parameters, newcomer.attrs.get("class_names", ()))
    found = compare_predictions(known, theirs, group_of, parameters.seed, metric=metric)
    images = found.images if found else 0
    if found is None or images < parameters.fewest_images:
        wanted = f"{parameters.fewest_images} are wanted; comparison.promote=always moves it all the same"
        return Verdict(False, f"too few to judge by: {images} {told}, {wanted}")
    moves = found.p_better < parameters.significance
    mean, low, high = (_signed(value, metric.name) for value in (found.difference, found.low, found.high))
    points = f"{mean} {unit_of(metric.name)} [{low}, {high}]{_of(metric)}"
    verdict = "better" if moves else "not shown to be better"
    return Verdict(moves, f"{verdict} on {images} {told}: {points}, one-sided p = {found.p_better:.2g}", found)


def _signed(value: float, metric: str) -> str:
    return ("" if value < 0 else "+") + told_number(value, metric)


def _of(metric: Metric) -> str:
    return "" if metric.name == "accuracy" else f" of {metric.title}"


def _without_looking(model_id: str, registered: RegisteredChampion | None, parameters: ComparisonParameters) -> Verdict:
    if registered is not None and registered.model_id == model_id:
        return Verdict(False, "it is the champion already")
    if parameters.promote == "never":
        return Verdict(False, "comparison.promote=never")
    return Verdict(True, "the first champion" if registered is None else "comparison.promote=always")
