"""Chooses which strategies to average, and averages their predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from topwork.core.classifier import AnyClassifier, Ensemble
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.parameters import ComparisonParameters, EnsembleParameters, EvaluationParameters
from topwork.core.results import Member, Members, StrategyResult
from topwork.core.stores import TrainedStore
from topwork.decisions.ensemble import average_predictions, candidates, combine_out_of_fold
from topwork.scoring.predictions import prediction_table
from topwork.training.thresholds import with_answers

_log = logging.getLogger(__name__)


def train_ensemble(
    splits: pd.DataFrame,
    manifest: pd.DataFrame,
    trained: TrainedStore,
    other_results: tuple[StrategyResult, ...],
    parameters: EnsembleParameters,
    evaluation: EvaluationParameters,
    comparison: ComparisonParameters,
    *results: StrategyResult,
) -> tuple[AnyClassifier, pd.DataFrame, Members]:
    """The ensemble, its out-of-fold predictions, and its members.

    Args:
        splits: splits that the members must have been trained on.
        manifest: manifest of the images.
        trained: the classifiers of all strategies.
        other_results: results on other features than those that the run chose first.
        parameters: block `ensemble`.
        evaluation: the wish for a threshold, if there is one.
        comparison: the costs, if there are any.
        results: results of all other strategies.

    """
    able = candidates((*results, *other_results), split_digest(splits))
    members, images, probabilities = combine_out_of_fold(able, splits, parameters.picks)
    parts = [trained.classifier(member.strategy, member.slot) for member in members]
    told = [f"{_result_of(member, able).name} {member.weight:.2f}" for member in members]
    _log.info("the ensemble is the mean of %s", ", ".join(told))
    ensemble = Ensemble(
        tuple(parts),
        tuple(member.weight for member in members),
        training={"members": ", ".join(told), "candidates": len(able)},
    )
    out_of_fold = prediction_table(images, manifest, probabilities, ensemble.class_names)
    return *with_answers(ensemble, out_of_fold, splits, evaluation, comparison), Members(tuple(members))


def predict_by_members(
    classifier: AnyClassifier,
    members: Members,
    splits: pd.DataFrame,
    manifest: pd.DataFrame,
    trained: TrainedStore,
    other_results: tuple[StrategyResult, ...],
    *results: StrategyResult,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions on the test split from those of the members, and the first member's distances."""
    held_out = splits[splits["split"] == TEST]
    tables = [_result_of(member, (*results, *other_results)).predictions for member in members.root]
    probabilities = average_predictions(members.root, tables, held_out["image_id"].tolist())
    first = members.root[0]
    predictions = prediction_table(held_out, manifest, probabilities, classifier.class_names, classifier.decision)
    return predictions, trained.distances(first.strategy, first.slot)


def _result_of(member: Member, results: Sequence[StrategyResult]) -> StrategyResult:
    return next(each for each in results if (each.strategy, each.slot) == (member.strategy, member.slot))
