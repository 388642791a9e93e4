from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import image_bytes
from tests.inference.onnx_nets import small_onnx
from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.core.parameters import ExportParameters
from topwork.inference.onnx_answers import onnx_probabilities
from topwork.inference.onnx_int8 import int8_model
from topwork.pipelines.export.nodes import export_classifier

KEY = FeatureKey("net", "abc", {}, ("last",), "own", "original", "eager", "float32", "one")
CLASSIFIER = Classifier("svm", KEY, LinearHead(np.zeros((3, 2)), np.zeros(3)), ("cat", "dog", "owl"), 1.0, "split")
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
IMAGES: Any = {f"{seed:02d}": image_bytes(seed, COLOURS[seed // 20]) for seed in range(60)}
INT8 = ExportParameters(
    format="onnx-int8", images=8, tolerance=0.001, same_label=0.9, scored_images=12, calibration_images=9
)


@pytest.fixture
def splits() -> pd.DataFrame:
    split = ["test" if number % 3 == 0 else "val" if number % 3 == 1 else "train" for number in range(60)]
    ids = list(IMAGES)
    return pd.DataFrame({"image_id": ids, "label": "cat", "group": ids, "split": split})


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier is a small network, for the export and for its own answers."""
    model = small_onnx(4)
    answers = SimpleNamespace(probabilities=lambda contents: onnx_probabilities(model, contents))
    monkeypatch.setattr("topwork.inference.onnx_export.onnx_model", lambda _classifier: model)
    monkeypatch.setattr("topwork.inference.predictor.Predictor.of", lambda _classifier: answers)


def test_int8_is_let_out_with_what_it_costs(splits: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    model, measured = export_classifier(IMAGES, splits, CLASSIFIER, INT8)
    assert measured["format"] == "onnx-int8"
    assert (measured["images"], measured["bytes"], measured["bytes_float"]) == (12, len(model), len(small_onnx(4)))
    assert measured["same_label"] >= 0.9
    assert measured["price_low"] <= measured["price"] <= measured["price_high"]
    assert "ms an image instead of" in caplog.text


def test_no_test_image_calibrates_and_all_classes_do(splits: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def watched(model: bytes, images: list[bytes]) -> bytes:
        seen.extend(images)
        return int8_model(model, images)

    monkeypatch.setattr("topwork.inference.onnx_int8.int8_model", watched)
    export_classifier(IMAGES, splits, CLASSIFIER, INT8)
    name_of = {content: name for name, content in IMAGES.items()}
    learnt = splits.set_index("image_id")["split"]
    assert {learnt[name_of[each]] for each in seen} <= {"train", "val"}
    assert len(seen) == 9
    assert {int(name_of[each]) // 20 for each in seen} == {0, 1, 2}


def test_int8_that_answers_otherwise_is_not_let_out(splits: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.inference.onnx_int8.int8_model", lambda _model, _images: small_onnx(4, seed=5))
    with pytest.raises(InputError, match=r"export\.same_label=0\.9; .* No file was written.*export\.format=onnx"):
        export_classifier(IMAGES, splits, CLASSIFIER, INT8)


def test_float_stays_the_default(project: Path, splits: pd.DataFrame) -> None:
    from topwork.run.configuration import load_configuration

    block = ExportParameters.model_validate(load_configuration(project / "conf", None, {})["parameters"]["export"])
    model, parity = export_classifier(IMAGES, splits, CLASSIFIER, block)
    assert model == small_onnx(4)
    assert set(parity) == {"images", "max_difference", "same_label", "megabytes"}
