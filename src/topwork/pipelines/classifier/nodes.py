"""Train linear classifiers on frozen features."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from topwork.digests import file_digest, split_digest
from topwork.parameters import FeatureParameters, LinearParameters
from topwork.predictions import prediction_table
from topwork.schemas import TEST, Classifier, Features, InputError
from topwork.training.linear import Estimator, fit_linear, linear_svm, multinomial_logistic

_log = logging.getLogger(__name__)

Trained = tuple[Classifier, pd.DataFrame]


def train_logistic(
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
    feature_parameters: FeatureParameters,
) -> Trained:
    """Multinomial logistic regression, and its out-of-fold predictions."""
    check_current(features, splits, feature_parameters)
    estimator = multinomial_logistic(parameters.class_weight, parameters.max_iterations, parameters.seed)
    return _train("logistic", estimator, features, manifest, splits, parameters)


def train_svm(
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
    feature_parameters: FeatureParameters,
) -> Trained:
    """Linear support vector machine, and its out-of-fold predictions."""
    check_current(features, splits, feature_parameters)
    estimator = linear_svm(parameters.class_weight, parameters.max_iterations, parameters.seed)
    return _train("svm", estimator, features, manifest, splits, parameters)


def check_current(features: Features, splits: pd.DataFrame, parameters: FeatureParameters) -> None:
    """Refuse features that other parameters or other images made.

    Raises:
        InputError: they differ; the message names the first parameter that does.

    """
    for name, value in features.requested.items():
        asked = getattr(parameters, name)
        if name == "weights" and asked not in {"default", "none"}:
            asked = file_digest(Path(asked))
        if asked != value:
            raise InputError(
                f"The features were made with {name}={value}, but {name}={asked} is asked for: "
                "run `--pipelines features` too."
            )
    if features.content != splits.attrs.get("content"):
        raise InputError("The features are of other images than the splits: run `--pipelines ingestion,features` too.")


def _train(
    strategy: str,
    estimator: Estimator,
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: LinearParameters,
) -> Trained:
    learnt = splits[splits["split"] != TEST]
    class_names = tuple(sorted(learnt["label"].unique()))
    truth = np.searchsorted(class_names, learnt["label"])
    vectors = features.rows(learnt["image_id"].tolist())
    fit = fit_linear(estimator, parameters.C, vectors, truth, learnt["fold"].to_numpy(), len(class_names))
    if fit.unconverged:
        _log.warning("%s: %d fits stopped at max_iterations=%d", strategy, fit.unconverged, parameters.max_iterations)
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
            "class_weight": parameters.class_weight,
            "unconverged_fits": fit.unconverged,
        },
    )
    return classifier, prediction_table(learnt, manifest, fit.out_of_fold, class_names)
