"""Checks that a served classifier gives the same answers as in training, and measures the cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.classifier import AnyClassifier, members_of
from topwork.core.errors import InputError, ServedOtherwiseError
from topwork.inference.network_engine import runs_here
from topwork.inference.predictor import Predictor

_AT_ONCE = 8  # images per request; an extra first request is not measured, because it includes one-time work


def try_serving(
    classifier: AnyClassifier, images: Sequence[bytes], expected: Floats, tolerance: float
) -> dict[str, Any]:
    """Comparison of the answers for image bytes with the ``expected`` probabilities ``[n, c]`` from training.

    Returns ``status`` (``ok``, or why it cannot serve), ``served_images``, ``max_difference`` (of a probability),
    ``same_label`` (a share), ``seconds_per_thousand`` and ``megabytes`` (of the network's and head's weights).

    Raises:
        ServedOtherwiseError: a probability differs by more than ``tolerance``, and the engine of training runs here.

    """
    try:
        predictor = Predictor.of(classifier)
    except InputError as error:
        return {"status": str(error)}
    predictor.probabilities(images[:_AT_ONCE])
    answers, seconds_an_image = [], []
    for first in range(0, len(images), _AT_ONCE):
        some = images[first : first + _AT_ONCE]
        start = time.perf_counter()
        answers.append(predictor.probabilities(some))
        seconds_an_image.append((time.perf_counter() - start) / len(some))
    found = np.concatenate(answers)
    difference = float(np.abs(found - expected).max())
    if difference > tolerance and all(runs_here(member.key) for member in members_of(classifier)):
        raise ServedOtherwiseError(
            f"Asked as a server would ask it, {classifier.strategy} answers otherwise than in training: a probability "
            f"differs by {difference:.2g}, more than evaluation.served_tolerance={tolerance:g}. Were its features "
            "computed by other versions of the libraries? Run again with store=ANOTHER_FOLDER."
        )
    return {
        "status": "ok",
        "served_images": len(images),
        "max_difference": difference,
        "same_label": float((classifier.called(found) == classifier.called(expected)).mean()),
        "seconds_per_thousand": 1000 * float(np.median(seconds_an_image)),
        "megabytes": predictor.megabytes,
    }
