"""Decides whether a new model replaces the registered champion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from topwork.core.digests import classes_digest
from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.core.results import ALREADY
from topwork.core.runs import RegisteredChampion
from topwork.scoring.metric import Metric, told_number, unit_of
from topwork.scoring.paired import Difference
from topwork.scoring.shared_images import compare_predictions

_MOST_JUDGED = 2000  # images on which an older champion is tested
_BOTH = "images that both were scored on out of fold"
_OTHER_CLASSES = (
    "the registered champion of this name knows other classes, so that it is a model for another task; "
    "give this one a name of its own (model=NAME), or comparison.promote=always to take its place"
)


@dataclass(frozen=True)
class Rule:
    """The rule by which the new model answers, as this run asked; without ``words`` it is the most likely class.

    ``applied`` gives the out-of-fold predictions of another model with the answers that the same rule makes of its
    probabilities (a threshold is chosen anew).
    """

    words: str = ""
    applied: Callable[[pd.DataFrame], pd.DataFrame] = lambda predictions: predictions


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
    rule: Rule | None = None,
) -> Verdict:
    """The verdict on a new model: the alias moves if there is no champion yet, or if a paired test finds it better.

    On the same split, both are compared on the images that both scored out of fold. On another split, they are compared
    on the images that the champion did not learn from, because it may remember the others. If there are too few of
    these (labels were corrected, or a few images were added), they are compared on the images that both scored out of
    fold, under the present labels.

    If the run asked for another rule of answering than the champion has, or for another metric, and both learnt from
    the same images, the alias moves unless the test finds the new model worse. A model without a rule never takes the
    place of one that has one, since the run did not ask for that.

    Args:
        newcomer: out-of-fold predictions of the new model, with the ``sha256`` of the images.
        model_id: id of its logged model.
        digest: digest of the split.
        registered: the present champion.
        answers: function that gives the champion's ``predicted`` and ``probabilities`` for each row.
        group_of: group of each image id.
        parameters: block `comparison`.
        rule: the rule by which the new model answers; None: the most likely class.

    """
    rule = rule or Rule()
    if registered is None or parameters.promote != "when_better" or registered.model_id == model_id:
        return _without_looking(model_id, registered, parameters)
    if refusal := _refusal(newcomer, model_id, registered, rule):
        return Verdict(False, refusal)
    metric = Metric.of(parameters, newcomer.attrs.get("class_names", ()))
    compared = partial(compare_predictions, group_of=group_of, seed=parameters.seed, metric=metric)
    asked = _asked(registered, rule, parameters)
    same = registered.split_digest == digest and newcomer["sha256"].isin(list(registered.learnt or ())).all()
    if asked and same:
        return _judge_as_asked(newcomer, _asked_too(registered, rule), asked, compared, metric, parameters, model_id)
    try:
        known, theirs, told = _judged_on(newcomer, digest, registered, answers, parameters)
    except InputError as error:
        return Verdict(False, f"the champion cannot be asked ({error})")
    found = compared(known, theirs)
    images = found.images if found else 0
    if found is None or images < parameters.fewest_images:
        wanted = f"{parameters.fewest_images} are wanted; comparison.promote=always moves it all the same"
        return Verdict(False, f"too few to judge by: {images} {told}, {wanted}")
    moves = found.p_better < parameters.significance
    verdict = "better" if moves else "not shown to be better"
    points = f"{_points(found, metric)}{_of(metric)}, one-sided p = {found.p_better:.2g}"
    served = f"; {asked}{_or_serve(model_id)}" if asked and not moves else ""
    return Verdict(moves, f"{verdict} on {images} {told}: {points}{served}", found)


def _refusal(newcomer: pd.DataFrame, model_id: str, registered: RegisteredChampion, rule: Rule) -> str:
    """Why the alias stays whatever a comparison would say; empty if nothing is against it."""
    if registered.classes not in {"", classes_digest(newcomer.attrs.get("class_names", ()))}:
        return _OTHER_CLASSES
    if registered.rule and not rule.words:
        served = _or_serve(model_id)
        return f"the champion answers by a rule ({registered.rule}), and this run asked for none{served}"
    if registered.learnt is None:
        return "nothing is kept of what the champion learnt from; comparison.promote=always moves it"
    return ""


def _judged_on(
    newcomer: pd.DataFrame,
    digest: str,
    registered: RegisteredChampion,
    answers: Callable[[pd.DataFrame], pd.DataFrame],
    parameters: ComparisonParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Predictions of the new model and of the champion on images that neither has learnt, and which these are."""
    learnt = newcomer["sha256"].isin(list(registered.learnt or ()))
    unseen = newcomer[~learnt].head(_MOST_JUDGED)
    if registered.split_digest == digest or len(unseen) < parameters.fewest_images:
        return newcomer[learnt], registered.out_of_fold, _BOTH
    told_now = answers(unseen)
    kept = unseen.drop(columns=told_now.columns, errors="ignore")
    theirs = kept.join(told_now.set_axis(unseen.index))
    theirs.attrs = dict(newcomer.attrs)
    return unseen, theirs, "images that the champion never learnt from"


def _asked(registered: RegisteredChampion, rule: Rule, parameters: ComparisonParameters) -> str:
    """What this run asks for and the champion does not have, in words: a rule, or else a metric; empty if nothing."""
    if rule.words != (registered.rule or ""):
        return f"it answers as asked: {rule.words}"
    other = parameters.metric not in {Metric().name, registered.metric}
    return f"it is chosen as asked, by {parameters.metric}" if other else ""


def _asked_too(registered: RegisteredChampion, rule: Rule) -> pd.DataFrame:
    """The champion's out-of-fold predictions with the answers of this rule; empty if its probabilities are not kept."""
    table = registered.out_of_fold
    if rule.words == (registered.rule or ""):
        return table
    return rule.applied(table) if "probabilities" in table else table.head(0)


def _judge_as_asked(
    newcomer: pd.DataFrame,
    theirs: pd.DataFrame,
    asked: str,
    compared: Callable[[pd.DataFrame, pd.DataFrame], Difference | None],
    metric: Metric,
    parameters: ComparisonParameters,
    model_id: str,
) -> Verdict:
    """The verdict on a model that does what the run asked for, beside the champion ``theirs`` if it did the same."""
    found, reverse = compared(newcomer, theirs), compared(theirs, newcomer)
    if found is None or reverse is None or found.images < parameters.fewest_images:
        images = found.images if found else 0
        return Verdict(True, f"{asked}; {images} {_BOTH} are too few to tell whether the champion would do it better")
    is_worse = reverse.p_better < parameters.significance
    verdict = "worse than" if is_worse else "not shown to be worse than"
    numbers = f"{_points(found, metric)} of {metric.title}, one-sided p = {reverse.p_better:.2g}"
    told = f"{asked}; {verdict} the champion, asked the same, on {found.images} {_BOTH}: {numbers}"
    return Verdict(not is_worse, told + (_or_serve(model_id) if is_worse else ""), found)


def _points(found: Difference, metric: Metric) -> str:
    mean, low, high = (_signed(value, metric.name) for value in (found.difference, found.low, found.high))
    return f"{mean} {unit_of(metric.name)} [{low}, {high}]"


def _or_serve(model_id: str) -> str:
    """How the user has the new model all the same."""
    return f"; `make serve MODEL=models:/{model_id}` serves the new model, comparison.promote=always moves the alias"


def _signed(value: float, metric: str) -> str:
    return ("" if value < 0 else "+") + told_number(value, metric)


def _of(metric: Metric) -> str:
    return "" if metric.name == "accuracy" else f" of {metric.title}"


def _without_looking(model_id: str, registered: RegisteredChampion | None, parameters: ComparisonParameters) -> Verdict:
    if registered is not None and registered.model_id == model_id:
        return Verdict(False, ALREADY)
    if parameters.promote == "never":
        return Verdict(False, "comparison.promote=never")
    return Verdict(True, "the first champion" if registered is None else "comparison.promote=always")
