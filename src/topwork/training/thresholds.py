"""Gives a classifier of two classes the threshold that the user's wish asks for."""

from __future__ import annotations

import logging
from dataclasses import replace

import pandas as pd

from topwork.core.classifier import Classifier
from topwork.core.parameters import EvaluationParameters
from topwork.scoring.predictions import with_decision
from topwork.scoring.two_classes import decide, positive_class

_log = logging.getLogger(__name__)


def with_threshold(
    classifier: Classifier, out_of_fold: pd.DataFrame, splits: pd.DataFrame, evaluation: EvaluationParameters
) -> tuple[Classifier, pd.DataFrame]:
    """The classifier and its out-of-fold predictions, with the answers of the wish; without a wish, as they are."""
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
