from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import image_bytes
from tests.inference.onnx_nets import small_onnx
from topwork.core.errors import InputError
from topwork.inference.int8_parity import accuracy_price, check_same_labels, int8_in_words, size_and_speed

TWO = np.array([[0.9, 0.1], [0.4, 0.6]])
MEASURED = {
    "images": 50,
    "same_label": 0.98,
    "max_difference": 0.21,
    "accuracy": 0.9,
    "accuracy_int8": 0.88,
    "price": 2.0,
    "price_low": -3.4,
    "price_high": 7.3,
    "bytes": 4_000_000,
    "bytes_float": 14_000_000,
    "milliseconds": 5.0,
    "milliseconds_float": 10.0,
}


def test_too_few_equal_labels_are_refused_with_the_figures_and_the_way_out() -> None:
    same, found = np.array([True, False]), np.array([[0.9, 0.1], [0.65, 0.35]])
    with pytest.raises(
        InputError,
        match=r"1 of 2 test images .*50\.0%.* export\.same_label=0\.98; .* 0\.25\..*=onnx.*export\.same_label=0\.5",
    ):
        check_same_labels(same, found, TWO, np.array(["a", "b"]), 0.98)
    told = check_same_labels(same, found, TWO, np.array(["a", "b"]), 0.5)
    assert (told["images"], told["same_label"], told["max_difference"]) == (2, 0.5, 0.25)
    assert told["same_label_low"] < 0.5 < told["same_label_high"]


def test_the_price_is_paired_and_positive_if_int8_loses() -> None:
    right = np.arange(100) < 90
    right_int8, groups = np.arange(100) < 87, np.arange(100).astype(str)
    told = accuracy_price(right, right_int8, groups)
    assert told["price"] == pytest.approx(3.0)
    assert -1.5 < told["price_low"] < 3 < told["price_high"] < 8
    assert told["accuracy_low"] < told["accuracy"] == 0.9 < told["accuracy_high"]
    equal = accuracy_price(right, right, groups)
    assert equal["price"] == 0
    assert equal["price_low"] < 0 < equal["price_high"]


def test_images_in_groups_make_the_price_less_sure() -> None:
    right, right_int8 = np.ones(120, bool), np.arange(120) >= 12
    alone = accuracy_price(right, right_int8, np.arange(120).astype(str))
    grouped = accuracy_price(right, right_int8, (np.arange(120) // 6).astype(str))
    assert grouped["price_high"] - grouped["price_low"] > alone["price_high"] - alone["price_low"]


def test_size_and_speed_are_those_of_both_files() -> None:
    large, small = small_onnx(4), small_onnx(2)
    told = size_and_speed(large, small, [image_bytes(0), image_bytes(1)])
    assert (told["bytes"], told["bytes_float"]) == (len(small), len(large))
    assert told["milliseconds"] > 0 and told["milliseconds_float"] > 0


def test_the_log_says_what_int8_costs_and_when_it_is_not_faster() -> None:
    told = int8_in_words(MEASURED)
    assert "lost +2.0 points [-3.4, +7.3]; 4,000,000 bytes instead of 14,000,000; 5.0 ms" in told
    assert "not faster" not in told
    assert int8_in_words({**MEASURED, "milliseconds": 11.0}).endswith("On this machine int8 is not faster.")
