"""The gate between training and serving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.inference.test_predictor import PICTURES, a_classifier
from topwork.core.classifier import Classifier
from topwork.core.errors import ServedOtherwiseError
from topwork.inference.parity import try_serving
from topwork.inference.predictor import Predictor
from topwork.run.failures import told_error

TOLERANCE = 0.02


@pytest.fixture(scope="module")
def trained() -> Classifier:
    return a_classifier("default")


def test_what_serves_as_it_was_trained_passes(trained: Classifier) -> None:
    expected = Predictor.of(trained).probabilities(PICTURES)
    served = try_serving(trained, PICTURES, expected, TOLERANCE)
    assert (served["status"], served["served_images"], served["same_label"]) == ("ok", len(PICTURES), 1)
    assert served["max_difference"] < 1e-6


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"mean": (0.0, 0.0, 0.0)}, id="another normalisation"),
        pytest.param({"resize": 64}, id="another crop"),
    ],
)
def test_preprocessing_that_differs_at_serving_time_fails_the_strategy(
    trained: Classifier, changed: dict[str, Any]
) -> None:
    expected = Predictor.of(trained).probabilities(PICTURES)
    key = replace(trained.key, preprocessing={**trained.key.preprocessing, **changed})
    with pytest.raises(ServedOtherwiseError, match="svm answers otherwise than in training"):
        try_serving(replace(trained, key=key), PICTURES, expected, TOLERANCE)


def test_classes_in_another_order_fail_the_strategy(trained: Classifier) -> None:
    expected = Predictor.of(trained).probabilities(PICTURES)
    with pytest.raises(ServedOtherwiseError, match=r"more than evaluation\.served_tolerance=0\.02") as raised:
        try_serving(trained, PICTURES, expected[:, ::-1], TOLERANCE)
    assert told_error(raised.value) is None  # a defect, whose trace is shown


def test_where_the_engine_of_training_cannot_run_the_difference_is_said_and_passes(trained: Classifier) -> None:
    expected = np.roll(Predictor.of(trained).probabilities(PICTURES), 1, axis=1)
    elsewhere = replace(trained, key=replace(trained.key, engine="tensor processor"))
    assert try_serving(elsewhere, PICTURES, expected, TOLERANCE)["max_difference"] > TOLERANCE
