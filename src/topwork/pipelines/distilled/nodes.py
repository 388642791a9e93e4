"""Trains a small network on the answers of the best other strategy.

Networks are imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.classifier import Classifier
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.greys import settled
from topwork.core.parameters import (
    AugmentationParameters,
    ComparisonParameters,
    DistilledParameters,
    EvaluationParameters,
    LinearParameters,
)
from topwork.core.results import StrategyResult
from topwork.core.stores import CheckpointStore, EngineStore, FeatureStore, ImageStore, Stores
from topwork.decisions.distillation import best_teacher, told_by_teacher
from topwork.images.views import plan_views
from topwork.reporting.plots import plot_training
from topwork.scoring.metric import Metric
from topwork.scoring.predictions import prediction_table
from topwork.training.thresholds import with_answers

_log = logging.getLogger(__name__)


def train_distilled(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    checkpoints: CheckpointStore,
    grey_range: dict[str, Any],
    other_results: tuple[StrategyResult, ...],
    parameters: DistilledParameters,
    linear_parameters: LinearParameters,
    augmentation: AugmentationParameters,
    comparison: ComparisonParameters,
    evaluation: EvaluationParameters,
    *results: StrategyResult,
) -> tuple[Classifier, pd.DataFrame, list[dict[str, Any]]]:
    """The classifier, an empty table of out-of-fold predictions, and measurements of each epoch.

    The network learns from the out-of-fold probabilities of the teacher, mixed with the labels. Of an image that the
    teacher was not scored on, it learns from the label alone. Its own out-of-fold predictions would be too good: the
    models that told it of other images have learnt from the images of the fold (docs/decisions/0030).

    Raises:
        InputError: no other strategy has scores, or a threshold is asked for, which is chosen out of fold.

    """
    if evaluation.has_wish:
        raise InputError(
            "distilled has no out-of-fold predictions by which a threshold could be chosen: leave it out, or leave out "
            "evaluation.recall_at_least and precision_at_least."
        )
    from topwork.training.grafting import TrainingImages
    from topwork.training.strategies import distil

    metric = Metric.of(comparison, sorted(splits["label"].unique()))
    teacher = best_teacher((*results, *other_results), splits, metric)
    examples, stores = TrainingImages.of(splits, manifest), Stores(images, known_features, engines, checkpoints)
    labels, told, known = told_by_teacher(examples.table, teacher.out_of_fold, examples.class_names)
    share, taught = parameters.teacher_share, int(known.sum())
    _log.info(
        "%s teaches %s: its out-of-fold probabilities for %d of %d images%s",
        *(teacher.name, parameters.backbone, taught, len(told)),
        "" if taught == len(told) else "; of the others the labels alone are learnt (more folds score more of them)",
    )
    classifier, trained = distil(
        replace(examples, targets=share * told + (1 - share) * labels, told=told),
        stores,
        settled(parameters, grey_range),
        linear_parameters,
        plan_views(augmentation),
        split_digest(splits),
        str(splits.attrs.get("content")),
        comparison,
    )
    facts = {**classifier.training, "teacher": teacher.name, "taught_images": taught}
    nothing = prediction_table(examples.table.head(0), manifest, told[:0], examples.class_names)
    answering, out_of_fold = with_answers(replace(classifier, training=facts), nothing, splits, evaluation, comparison)
    return answering, out_of_fold, trained.by_epoch


def draw_training(epochs: list[dict[str, Any]]) -> Figure:
    """A plot of loss and score by epoch."""
    return plot_training(epochs, "distilled")
