"""Train linear classifiers on frozen features."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from topwork.core.classifier import Classifier
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.features import Features
from topwork.core.parameters import AugmentationParameters, FeatureParameters, LinearParameters
from topwork.models.requested_features import check_current
from topwork.scoring.predictions import prediction_table
from topwork.scoring.rejection import fit_rejection
from topwork.training.linear import Estimator, fit_linear, linear_svm, multinomial_logistic

_log = logging.getLogger(__name__)

Trained = tuple[Classifier, pd.DataFrame]


def train_logistic(
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
    feature_parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Trained:
    """Multinomial logistic regression, and its out-of-fold predictions."""
    check_current(features, splits, feature_parameters, augmentation)
    estimator = multinomial_logistic(parameters.class_weight, parameters.max_iterations, parameters.seed)
    trained = _train("logistic", estimator, features, manifest, splits, parameters, augmentation.average)
    return _bundled(trained, feature_parameters)


def train_svm(
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
    feature_parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Trained:
    """Linear support vector machine, and its out-of-fold predictions."""
    check_current(features, splits, feature_parameters, augmentation)
    estimator = linear_svm(parameters.class_weight, parameters.max_iterations, parameters.seed)
    trained = _train("svm", estimator, features, manifest, splits, parameters, augmentation.average)
    return _bundled(trained, feature_parameters)


def _train(
    strategy: str,
    estimator: Estimator,
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
    average: bool,
) -> Trained:
    learnt = splits[splits["split"] != TEST]
    class_names = tuple(sorted(learnt["label"].unique()))
    truth = np.searchsorted(class_names, learnt["label"])
    rows = features.positions(learnt["image_id"].tolist())
    samples = np.concatenate([features.vectors[None, rows], features.views[:, rows]])
    fit = fit_linear(estimator, parameters.C, samples, truth, learnt["fold"].to_numpy(), len(class_names), average)
    if fit.unconverged:
        _log.warning("%s: %d fits stopped at max_iterations=%d", strategy, fit.unconverged, parameters.max_iterations)
    averages = average and len(features.views) > 0
    vectors = (features.averaged() if averages else features.vectors)[rows]
    test_views = {"count": features.requested["views"], "plan": features.requested["view_plan"]}
    classifier = Classifier(
        strategy=strategy,
        key=features.key,
        head=fit.head,
        class_names=class_names,
        temperature=fit.temperature,
        split_digest=split_digest(splits),
        training={
            "C": fit.C,
            "C_by_fold": {str(fold): C for fold, C in fit.C_by_fold.items()},
            "images": len(learnt),
            "views": features.requested["views"],
            "class_weight": parameters.class_weight,
            "unconverged_fits": fit.unconverged,
        },
        test_views=test_views if averages else {},
        data_digest=features.content,
        rejection=fit_rejection(vectors, truth, learnt["fold"].to_numpy(), parameters.rejected),
    )
    return classifier, prediction_table(learnt, manifest, fit.out_of_fold, class_names)


def _bundled(trained: Trained, parameters: FeatureParameters) -> Trained:
    """With the network that made the features, so that nothing else is needed to answer."""
    from topwork.models.backbones import describe_backbone, load_backbone
    from topwork.models.graft import with_network

    classifier, out_of_fold = trained
    size = classifier.key.preprocessing["crop"]
    p = parameters
    spec = describe_backbone(p.backbone, p.weights, size, p.seed, p.white)
    return with_network(classifier, load_backbone(spec)), out_of_fold
