"""Fits heads on frozen features."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pandas as pd

from topwork.core.classifier import Classifier
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.features import Features
from topwork.core.parameters import (
    AugmentationParameters,
    ComparisonParameters,
    EvaluationParameters,
    FeatureParameters,
    HeadParameters,
)
from topwork.core.stores import CheckpointStore
from topwork.decisions.strategies import Strategy, head_types
from topwork.models.requested_features import check_current
from topwork.scoring.predictions import prediction_table
from topwork.scoring.rejection import fit_rejection
from topwork.training.heads import Examples, FittedHead
from topwork.training.kept_heads import fit_once
from topwork.training.thresholds import with_answers

Trained = tuple[Classifier, pd.DataFrame]


def trainer(strategy: Strategy) -> Callable[..., Trained]:
    """The function of the node that fits a strategy's head; Kedro checks parameters by its type annotation."""

    def train(
        features: Features,
        manifest: pd.DataFrame,
        splits: pd.DataFrame,
        checkpoints: CheckpointStore,
        parameters: HeadParameters,
        feature_parameters: FeatureParameters,
        augmentation: AugmentationParameters,
        evaluation: EvaluationParameters,
        comparison: ComparisonParameters,
    ) -> Trained:
        """The classifier with the network that made the features, and its out-of-fold predictions."""
        check_current(features, splits, feature_parameters, augmentation)
        learnt = splits[splits["split"] != TEST]
        class_names = tuple(sorted(learnt["label"].unique()))
        examples = Examples.of(features, learnt, augmentation.average)
        fitted = fit_once(import_module(strategy.head).fit, examples, parameters, head_types(), checkpoints)
        classifier = _classifier(strategy.name, fitted, examples, features, splits, class_names, parameters)
        out_of_fold = prediction_table(learnt, manifest, fitted.out_of_fold, class_names)
        bundled = _bundled(classifier, feature_parameters)
        return with_answers(bundled, out_of_fold, splits, evaluation, comparison)

    train.__annotations__["parameters"] = strategy.parameters
    return train


def _classifier(
    strategy: str,
    fitted: FittedHead,
    examples: Examples,
    features: Features,
    splits: pd.DataFrame,
    class_names: tuple[str, ...],
    parameters: HeadParameters,
) -> Classifier:
    views = features.requested["views"]
    averages = examples.average and views > 0
    return Classifier(
        strategy=strategy,
        key=features.key,
        head=fitted.head,
        class_names=class_names,
        temperature=fitted.temperature,
        split_digest=split_digest(splits),
        training={**fitted.facts, "images": len(examples.truth), "views": views},
        test_views={"count": views, "plan": features.requested["view_plan"]} if averages else {},
        data_digest=features.content,
        rejection=fit_rejection(examples.vectors, examples.truth, examples.folds, parameters.rejected),
    )


def _bundled(classifier: Classifier, parameters: FeatureParameters) -> Classifier:
    """The classifier with the network that computed the features, so that it can predict without other files."""
    from topwork.images.transforms import Preprocessing
    from topwork.models.backbones import describe_backbone, load_backbone
    from topwork.models.graft import with_network

    p, how = parameters, Preprocessing(**classifier.key.preprocessing)
    spec = describe_backbone(p.backbone, p.weights, how.crop, p.seed, how.white)
    return with_network(classifier, load_backbone(spec))
