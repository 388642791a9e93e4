"""Gives a classifier the way of answering that the user asks for: a threshold, or the least expected cost."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from topwork.core.classifier import Classifier, Ensemble, LeastCost
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
    if comparison.costs is not None:
        cheapest = LeastCost(cost_matrix(comparison.costs, classifier.class_names))
        return replace(classifier, decision=cheapest), with_decision(out_of_fold, cheapest)
    if not evaluation.has_wish:
        return classifier, out_of_fold
    positive = positive_class(splits["label"], evaluation.positive)
    wish = (evaluation.recall_at_least, evaluation.precision_at_least, evaluation.certainty)
    group_of = splits.set_index("image_id")["group"]
    decision, is_certain = decide(out_of_fold, group_of, positive, *wish)
    _log.info(
        "%s answers %s from a probability of %.3g on, for %s",
        *(classifier.strategy, positive, decision.threshold, decision.wish),
    )
    if not is_certain:
        _log.warning(
            "%s: no threshold meets the wish with this certainty on %d images of %s; the nearest is taken. More images "
            "of it help, or a smaller evaluation.certainty.",
            *(classifier.strategy, int((out_of_fold["label"] == positive).sum()), positive),
        )
    return replace(classifier, decision=decision), with_decision(out_of_fold, decision)
