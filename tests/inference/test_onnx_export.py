from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.inference.test_predictor import PICTURES, a_classifier
from topwork.core.errors import InputError
from topwork.inference.onnx_export import onnx_model, onnx_probabilities
from topwork.inference.predictor import Predictor


def test_onnx_answers_as_the_classifier_and_says_how_to_ask_it() -> None:
    classifier = a_classifier("default")
    model = onnx_model(classifier)
    np.testing.assert_allclose(
        onnx_probabilities(model, PICTURES), Predictor.of(classifier).probabilities(PICTURES), atol=1e-4
    )
    told = {each.key: each.value for each in onnx.load_from_string(model).metadata_props}
    assert json.loads(told["topwork"])["class_names"] == ["cat", "dog", "owl"]
    batch = onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param  # any number of images


def test_what_no_graph_can_do_is_refused() -> None:
    with pytest.raises(InputError, match="averages over augmented views"):
        onnx_model(replace(a_classifier("none"), test_views={"count": 2, "plan": {}}))
