"""A classifier asked as its users will ask it: the same answers as in training, and at which cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from topwork.schemas import Classifier, Floats, InputError
from topwork.serving.predictor import Predictor

_AT_ONCE = 8  # images of a request; the first request does not count: there is what is done once


def try_serving(classifier: Classifier, images: Sequence[bytes], expected: Floats) -> dict[str, Any]:
    """What image bytes give, against the probabilities ``[n, c]`` that are reported.

    Returns ``status`` (``ok``, or why it cannot serve), ``served_images``, ``max_difference`` (of a probability),
    ``same_label`` (a share), ``seconds_per_thousand`` and ``megabytes`` (of the network's and head's weights).
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
    return {
        "status": "ok",
        "served_images": len(images),
        "max_difference": float(np.abs(found - expected).max()),
        "same_label": float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        "seconds_per_thousand": 1000 * float(np.median(seconds_an_image)),
        "megabytes": predictor.megabytes,
    }
