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
from topwork.decisions.distillation import best_teacher, price, soft_targets
from topwork.images.views import plan_views
from topwork.reporting.plots import plot_training
from topwork.scoring.metric import Metric, told_number, unit_of
from topwork.scoring.paired import Difference
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
    """The classifier, its out-of-fold predictions, and measurements of each epoch.

    The network learns from the out-of-fold probabilities of the teacher, mixed with the labels. Of an image that the
    teacher was not scored on, it learns from the label alone.
    """
    from topwork.training.grafting import TrainingImages
    from topwork.training.strategies import distil

    metric = Metric.of(comparison, sorted(splits["label"].unique()))
    teacher = best_teacher((*results, *other_results), splits, metric)
    examples, stores = TrainingImages.of(splits, manifest), Stores(images, known_features, engines, checkpoints)
    targets, taught = soft_targets(examples.table, teacher.out_of_fold, examples.class_names, parameters.teacher_share)
    _log.info(
        "%s teaches %s: its out-of-fold probabilities for %d of %d images%s",
        *(teacher.name, parameters.backbone, taught, len(targets)),
        "" if taught == len(targets) else "; of the others the labels alone are learnt (more folds score more of them)",
    )
    classifier, trained = distil(
        replace(examples, targets=targets),
        stores,
        settled(parameters, grey_range),
        linear_parameters,
        plan_views(augmentation),
        split_digest(splits),
        str(splits.attrs.get("content")),
        comparison,
    )
    facts = {**classifier.training, "teacher": teacher.name, "taught_images": taught}
    scored = examples.table.iloc[trained.scored]
    out_of_fold = prediction_table(scored, manifest, trained.out_of_fold, examples.class_names)
    if found := price(out_of_fold, teacher.out_of_fold, splits, comparison.seed, metric):
        _log.info("distilled against %s out of fold: %s", teacher.name, _told(found, metric))
    return *with_answers(
        replace(classifier, training=facts), out_of_fold, splits, evaluation, comparison
    ), trained.by_epoch


def draw_training(epochs: list[dict[str, Any]]) -> Figure:
    """A plot of loss and score by epoch."""
    return plot_training(epochs, "distilled")


def _told(found: Difference, metric: Metric) -> str:
    mean, low, high = (told_number(value, metric.name) for value in (found.difference, found.low, found.high))
    return f"{mean} {unit_of(metric.name)} [{low}, {high}] on {found.images} images"
