"""Fits the probe, then trains the network from there.

Networks are imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.classifier import Classifier
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.features import Features
from topwork.core.parameters import (
    AugmentationParameters,
    ComparisonParameters,
    EvaluationParameters,
    FeatureParameters,
    FinetuneParameters,
    LinearParameters,
)
from topwork.core.stores import CheckpointStore, EngineStore, FeatureStore, ImageStore, Stores
from topwork.decisions.strategies import head_types
from topwork.images.views import plan_views
from topwork.models.requested_features import check_current
from topwork.reporting.plots import plot_training
from topwork.scoring.predictions import prediction_table
from topwork.training.heads import Examples, logistic
from topwork.training.kept_heads import fit_once
from topwork.training.thresholds import with_answers


def fit_probe(
    features: Features,
    splits: pd.DataFrame,
    fitted_probes: CheckpointStore,
    parameters: LinearParameters,
    augmentation: AugmentationParameters,
) -> dict[str, Any]:
    """C of the linear probe, chosen with all folds and without each fold; and its out-of-fold accuracy.

    The probe is the head of the strategy `logistic`: ``fitted_probes`` are the checkpoints of that strategy.
    """
    examples = Examples.of(features, splits[splits["split"] != TEST], augmentation.average)
    fitted = fit_once(logistic.fit, examples, parameters, head_types(), fitted_probes)
    right = fitted.out_of_fold.argmax(axis=1) == examples.truth
    return {"C": fitted.facts["C"], "C_by_fold": fitted.facts["C_by_fold"], "accuracy": float(right.mean())}


def train_finetune(
    images: ImageStore,
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    probe: dict[str, Any],
    known_features: FeatureStore,
    engines: EngineStore,
    checkpoints: CheckpointStore,
    parameters: FinetuneParameters,
    feature_parameters: FeatureParameters,
    linear_parameters: LinearParameters,
    augmentation: AugmentationParameters,
    comparison: ComparisonParameters,
    evaluation: EvaluationParameters,
) -> tuple[Classifier, pd.DataFrame, list[dict[str, Any]]]:
    """The classifier, its out-of-fold predictions, and measurements of each epoch."""
    from topwork.training.grafting import TrainingImages
    from topwork.training.strategies import finetune

    check_current(features, splits, feature_parameters, augmentation)
    examples, stores = TrainingImages.of(splits, manifest), Stores(images, known_features, engines, checkpoints)
    classifier, trained = finetune(
        examples,
        features,
        probe,
        stores,
        parameters,
        feature_parameters,
        linear_parameters,
        plan_views(augmentation),
        split_digest(splits),
        comparison,
    )
    scored = examples.table.iloc[trained.scored]
    out_of_fold = prediction_table(scored, manifest, trained.out_of_fold, examples.class_names)
    return *with_answers(classifier, out_of_fold, splits, evaluation, comparison), trained.by_epoch


def draw_training(epochs: list[dict[str, Any]]) -> Figure:
    """A plot of loss and score by epoch."""
    return plot_training(epochs, "finetune")
