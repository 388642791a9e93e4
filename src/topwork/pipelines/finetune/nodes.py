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
from topwork.core.parameters import AugmentationParameters, FeatureParameters, FinetuneParameters, LinearParameters
from topwork.core.stores import CheckpointStore, EngineStore, FeatureStore, ImageStore, Stores
from topwork.images.views import plan_views
from topwork.models.requested_features import check_current
from topwork.reporting.plots import plot_training
from topwork.scoring.predictions import prediction_table
from topwork.training.heads import Examples
from topwork.training.linear import fit_linear, multinomial_logistic


def fit_probe(features: Features, splits: pd.DataFrame, parameters: LinearParameters) -> dict[str, Any]:
    """C of the linear probe, chosen with all folds and without each fold; and its out-of-fold accuracy."""
    learnt = splits[splits["split"] != TEST]
    estimator = multinomial_logistic(parameters.class_weight, parameters.max_iterations, parameters.seed)
    examples = Examples.of(features, learnt, average=False)
    fit = fit_linear(estimator, parameters.C, examples)
    right = fit.out_of_fold.argmax(axis=1) == examples.truth
    return {
        "C": fit.C,
        "C_by_fold": {str(fold): C for fold, C in fit.C_by_fold.items()},
        "accuracy": float(right.mean()),
    }


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
    )
    scored = examples.table.iloc[trained.scored]
    return classifier, prediction_table(scored, manifest, trained.out_of_fold, examples.class_names), trained.by_epoch


def draw_training(epochs: list[dict[str, Any]]) -> Figure:
    """A plot of loss and score by epoch."""
    return plot_training(epochs, "finetune")
