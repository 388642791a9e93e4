"""Exports a classifier as ONNX, and checks its answers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.classifier import Classifier
from topwork.core.columns import TEST
from topwork.core.errors import InputError
from topwork.core.parameters import ExportParameters
from topwork.core.stores import ImageStore

_log = logging.getLogger(__name__)


def export_classifier(
    images: ImageStore, splits: pd.DataFrame, asked_classifier: Classifier, parameters: ExportParameters
) -> tuple[bytes, dict[str, Any]]:
    """The classifier as an ONNX file, and measurements of the agreement of both on test images.

    Raises:
        InputError: a probability differs by more than `export.tolerance`; in this case nothing is written.

    """
    from topwork.inference.onnx_export import onnx_model, onnx_probabilities
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
