"""Gives a classifier the rule of answering that the user asks for: a threshold, or the least expected cost."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from topwork.core.classifier import Classifier, Decision, Ensemble, LeastCost
from topwork.core.parameters import ComparisonParameters, EvaluationParameters
from topwork.scoring.costs import cost_matrix
from topwork.scoring.predictions import with_decision
from topwork.scoring.two_classes import decide, positive_class

_Classified = TypeVar("_Classified", Classifier, Ensemble)
_log = logging.getLogger(__name__)


def with_answers(
    classifier: _Classified,
    out_of_fold: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: EvaluationParameters,
    comparison: ComparisonParameters,
) -> tuple[_Classified, pd.DataFrame]:
    """The classifier and its out-of-fold predictions, with the answers of the costs or the wish, if there are any."""
    decision, is_certain = asked_decision(out_of_fold, splits, evaluation, comparison)
    if decision is None:
        return classifier, out_of_fold
    if isinstance(decision, Decision):
        _tell(classifier.strategy, decision, is_certain, int((out_of_fold["label"] == decision.positive).sum()))
    return replace(classifier, decision=decision), with_decision(out_of_fold, decision)


def asked_decision(
    out_of_fold: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: EvaluationParameters,
    comparison: ComparisonParameters,
) -> tuple[Decision | LeastCost | None, bool]:
    """The decision that the user asks for, for a model with these predictions, and whether it is certain.

    None: nothing is asked for, so that the most likely class is answered.
    """
    if comparison.costs is not None:
        return LeastCost(cost_matrix(comparison.costs, out_of_fold.attrs["class_names"])), True
    if not evaluation.has_wish:
        return None, True
    positive = positive_class(splits["label"], evaluation.positive)
    wish = (evaluation.recall_at_least, evaluation.precision_at_least, evaluation.certainty)
    return decide(out_of_fold, splits.set_index("image_id")["group"], positive, *wish)


def _tell(strategy: str, decision: Decision, is_certain: bool, images: int) -> None:
    """Log the threshold, and warn if the wish is not met; ``images`` are those of the positive class."""
    told = (strategy, decision.positive, decision.threshold, decision.wish)
    _log.info("%s answers %s from a probability of %.3g on, for %s", *told)
    if not is_certain:
        _log.warning(
            "%s: no threshold meets the wish with this certainty on %d images of %s; the nearest is taken. More images "
            "of it help, or a smaller evaluation.certainty.",
            *(strategy, images, decision.positive),
        )
