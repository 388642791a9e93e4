from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import image_bytes
from tests.inference.onnx_nets import small_onnx
from topwork.core.errors import InputError
from topwork.images.decode import RejectedError
from topwork.inference.onnx_answers import PIXELS, onnx_probabilities, opened
from topwork.inference.onnx_int8 import int8_model

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]
PICTURES = [image_bytes(seed, COLOURS[seed % 4]) for seed in range(16)]


@pytest.fixture(scope="module")
def int8() -> bytes:
    return int8_model(small_onnx(4), PICTURES)


def test_int8_answers_nearly_as_float_on_other_images(int8: bytes) -> None:
    others = [image_bytes(seed, COLOURS[seed % 4]) for seed in range(100, 110)]
    found, expected = onnx_probabilities(int8, others), onnx_probabilities(small_onnx(4), others)
    assert 0 < np.abs(found - expected).max() < 0.05


def test_the_convolutions_between_are_int8_per_channel_and_all_else_is_float(int8: bytes) -> None:
    graph = onnx.load_from_string(int8).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    takes = {node.name: [made_by.get(name) for name in node.input[:2]] for node in graph.node}
    for inner in ("conv_1", "conv_2", "conv_3"):
        assert takes[inner] == ["DequantizeLinear"] * 2
    assert takes["conv_0"][1] != "DequantizeLinear"
    weights = [each for each in graph.initializer if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4]
    assert len(weights) == 3
    scales = [each for each in graph.initializer if each.name.startswith("weight_") and each.name.endswith("scale")]
    assert [list(each.dims) for each in scales] == [[8]] * 3
    head = next(node for node in graph.node if node.op_type in ("MatMul", "Gemm"))
    assert "DequantizeLinear" not in takes[head.name]


def test_the_file_says_that_it_is_int8_and_needs_standard_operators_alone(int8: bytes) -> None:
    model = onnx.load_from_string(int8)
    told = json.loads({each.key: each.value for each in model.metadata_props}["topwork"])
    assert told["format"] == "onnx-int8"
    assert told["how"].startswith("Decode upright. The convolutions after the first are quantised to int8")
    assert told["class_names"] == ["cat", "dog", "owl"]
    assert {each.domain for each in model.opset_import} == {""}


def test_the_int8_file_takes_any_number_of_images(int8: bytes) -> None:
    pixels = np.zeros((3, 16, 16, 3), np.uint8)
    assert opened(int8).run(None, {PIXELS: pixels})[0].shape == (3, 3)


def test_nothing_is_left_of_the_quantiser_even_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here := tmp_path / "here").mkdir()
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    int8_model(small_onnx(2), PICTURES)
    with pytest.raises(InputError, match=r"cannot be quantised .* export\.format=onnx"):
        int8_model(small_onnx(2), [])
    assert not list(here.iterdir()) and not list(temporary.iterdir())


def test_a_network_with_one_convolution_is_refused() -> None:
    with pytest.raises(InputError, match=r"two or more convolutions.*export\.format=onnx"):
        int8_model(small_onnx(1), PICTURES)


def test_a_broken_image_is_not_called_a_fault_of_the_network() -> None:
    with pytest.raises(RejectedError):
        int8_model(small_onnx(2), [PICTURES[0], b"broken"])
