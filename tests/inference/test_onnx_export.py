from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.conftest import image_bytes
from tests.inference.test_predictor import PICTURES, a_classifier, fitted
from topwork.core.classifier import Decision, LeastCost
from topwork.core.errors import InputError
from topwork.inference.onnx_answers import onnx_probabilities
from topwork.inference.onnx_export import _described, onnx_model
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


@pytest.mark.parametrize(("fit", "words"), [("pad", "of `colour` (RGB)"), ("squash", "The whole image becomes")])
def test_onnx_fits_images_as_the_classifier_does_and_says_how(fit: str, words: str) -> None:
    classifier = fitted(a_classifier("default"), fit)
    model, wide = onnx_model(classifier), [image_bytes(seed, size=(90, 30)) for seed in range(2)]
    np.testing.assert_allclose(onnx_probabilities(model, wide), Predictor.of(classifier).probabilities(wide), atol=1e-4)
    told = {each.key: each.value for each in onnx.load_from_string(model).metadata_props}
    assert words in json.loads(told["topwork"])["how"]


def test_several_crops_are_refused() -> None:
    with pytest.raises(InputError, match="fit=multicrop"):
        onnx_model(fitted(a_classifier("none"), "multicrop"))


def test_what_no_graph_can_do_is_refused() -> None:
    with pytest.raises(InputError, match="averages over augmented views"):
        onnx_model(replace(a_classifier("none"), test_views={"count": 2, "plan": {}}))


def test_onnx_says_from_which_probability_on_a_class_is_answered() -> None:
    classifier = a_classifier("none")
    assert "answer" not in _described(classifier)
    told = _described(replace(classifier, decision=Decision("dog", 0.2, "recall >= 0.9")))
    assert told["answer"] == {"positive": "dog", "threshold": 0.2}
    assert "at least `threshold`" in told["how_to_answer"]
    told = _described(replace(classifier, decision=LeastCost(((0.0, 1.0), (20.0, 0.0)))))
    assert told["answer"] == {"costs": ((0.0, 1.0), (20.0, 0.0))}
    assert "least expected cost" in told["how_to_answer"]
