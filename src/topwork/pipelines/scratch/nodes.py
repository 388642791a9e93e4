"""Trains a network from random weights.

Networks are imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.classifier import Classifier
from topwork.core.digests import split_digest
from topwork.core.greys import settled
from topwork.core.parameters import (
    AugmentationParameters,
    ComparisonParameters,
    EvaluationParameters,
    ScratchParameters,
)
from topwork.core.stores import CheckpointStore, EngineStore, FeatureStore, ImageStore, Stores
from topwork.images.views import plan_views
from topwork.reporting.plots import plot_training
from topwork.scoring.predictions import prediction_table
from topwork.training.thresholds import with_answers


def train_scratch(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    checkpoints: CheckpointStore,
    grey_range: dict[str, Any],
    parameters: ScratchParameters,
    augmentation: AugmentationParameters,
    comparison: ComparisonParameters,
    evaluation: EvaluationParameters,
) -> tuple[Classifier, pd.DataFrame, list[dict[str, Any]]]:
    """The classifier, its out-of-fold predictions, and measurements of each epoch."""
    from topwork.training.grafting import TrainingImages
    from topwork.training.strategies import train_from_scratch

    examples, stores = TrainingImages.of(splits, manifest), Stores(images, known_features, engines, checkpoints)
    content = str(splits.attrs.get("content"))
    how, digest = settled(parameters, grey_range), split_digest(splits)
    classifier, trained = train_from_scratch(
        examples, stores, how, plan_views(augmentation), digest, content, comparison
    )
    scored = examples.table.iloc[trained.scored]
    out_of_fold = prediction_table(scored, manifest, trained.out_of_fold, examples.class_names)
    return *with_answers(classifier, out_of_fold, splits, evaluation, comparison), trained.by_epoch


def draw_training(epochs: list[dict[str, Any]]) -> Figure:
    """A plot of loss and score by epoch."""
    return plot_training(epochs, "scratch")
