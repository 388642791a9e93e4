"""Exports a classifier as ONNX, in float or in int8, and checks its answers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats
from topwork.core.classifier import AnyClassifier, Classifier, the_only
from topwork.core.columns import TEST
from topwork.core.errors import InputError
from topwork.core.parameters import ExportParameters
from topwork.core.stores import ImageStore

_log = logging.getLogger(__name__)


def export_classifier(
    images: ImageStore, splits: pd.DataFrame, asked_classifier: AnyClassifier, parameters: ExportParameters
) -> tuple[bytes, dict[str, Any]]:
    """The classifier as an ONNX file, and measurements of the agreement of both on test images.

    Raises:
        InputError: a probability differs by more than `export.tolerance`; for int8, fewer labels are equal than
            `export.same_label`; or there is no export of this classifier. In these cases nothing is written.

    """
    export = _in_int8 if parameters.format == "onnx-int8" else _in_float
    return export(images, splits, the_only(asked_classifier, "export"), parameters)


def _in_float(
    images: ImageStore, splits: pd.DataFrame, asked_classifier: Classifier, parameters: ExportParameters
) -> tuple[bytes, dict[str, Any]]:
    from topwork.inference.onnx_answers import onnx_probabilities
    from topwork.inference.onnx_export import onnx_model
    from topwork.inference.predictor import Predictor

    asked = splits.loc[splits["split"] == TEST, "image_id"].head(parameters.images)
    contents = [images[name] for name in asked]
    expected = Predictor.of(asked_classifier).probabilities(contents)
    model = onnx_model(asked_classifier)
    found = onnx_probabilities(model, contents)
    parity = {
        "images": len(contents),
        "max_difference": float(np.abs(found - expected).max()),
        "same_label": float((asked_classifier.called(found) == asked_classifier.called(expected)).mean()),
        "megabytes": len(model) / 1e6,
    }
    if parity["max_difference"] > parameters.tolerance:
        equal, limit = f"{parity['same_label']:.0%} of labels equal", f"export.tolerance={parameters.tolerance:g}"
        raise InputError(
            f"The export differs by {parity['max_difference']:.2g} in a probability ({equal}), more than {limit}. "
            f"The graph computes in float32, and {asked_classifier.strategy} learnt from features in "
            f"{asked_classifier.key.number_format}: train it with features.number_format=float32 to export it."
        )
    told = "ONNX answers as the classifier does on %d images; the largest difference is %.2g"
    _log.info(told, len(contents), parity["max_difference"])
    return model, parity


def _in_int8(
    images: ImageStore, splits: pd.DataFrame, asked_classifier: Classifier, parameters: ExportParameters
) -> tuple[bytes, dict[str, Any]]:
    from topwork.inference.int8_parity import int8_in_words, size_and_speed
    from topwork.inference.onnx_answers import onnx_probabilities
    from topwork.inference.onnx_export import onnx_model
    from topwork.inference.onnx_int8 import int8_model
    from topwork.inference.predictor import Predictor

    learnt = _spread(splits[splits["split"] != TEST], parameters.calibration_images)
    asked = _spread(splits[splits["split"] == TEST], parameters.scored_images)
    contents = [images[name] for name in asked["image_id"]]
    model = onnx_model(asked_classifier)
    int8 = int8_model(model, [images[name] for name in learnt["image_id"]])
    expected, found = Predictor.of(asked_classifier).probabilities(contents), onnx_probabilities(int8, contents)
    agreement = _agreement(asked_classifier, asked, expected, found, parameters.same_label)
    measured = {"format": parameters.format, **agreement, **size_and_speed(model, int8, contents)}
    _log.info(int8_in_words(measured))
    return int8, measured


def _agreement(
    classifier: Classifier, asked: pd.DataFrame, expected: Floats, found: Floats, least: float
) -> dict[str, Any]:
    """How far int8 (``found``, ``[n, c]``) and classifier (``expected``) agree with each other and with the labels."""
    from topwork.inference.int8_parity import accuracy_price, check_same_labels

    names, groups, labels = np.asarray(classifier.class_names), asked["group"].to_numpy(str), asked["label"].to_numpy()
    answers, answers_int8 = names[classifier.called(expected)], names[classifier.called(found)]
    return {
        **check_same_labels(answers == answers_int8, found, expected, groups, least),
        **accuracy_price(answers == labels, answers_int8 == labels, groups),
    }


def _spread(splits: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most ``count`` rows at equal distances: rows lie in the order of ids, which is often that of the classes."""
    places = np.linspace(0, len(splits) - 1, min(count, len(splits))).round().astype(int)
    return splits.iloc[places]
