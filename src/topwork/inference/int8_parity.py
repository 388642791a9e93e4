"""Measures what int8 costs: equal labels, accuracy, size and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Bools, Floats
from topwork.core.errors import InputError
from topwork.inference.onnx_answers import seconds_an_image
from topwork.scoring.metrics import effective_images, wilson_interval
from topwork.scoring.paired import difference_interval

_TIMED = 16  # images of each round of the comparison of speed


def check_same_labels(
    same: Bools, found: Floats, expected: Floats, groups: NDArray[np.str_], least: float
) -> dict[str, Any]:
    """Agreement with the classifier: ``images``, ``same_label`` (a share, with interval), ``max_difference``.

    Args:
        same: whether both answer with the same class, ``[n]``.
        found: probabilities of the int8 file, ``[n, c]``.
        expected: probabilities of the classifier, ``[n, c]``.
        groups: group of each image, ``[n]``.
        least: the share of equal labels from which on the file is let out.

    Raises:
        InputError: fewer labels are equal than ``least``.

    """
    share, difference = float(same.mean()), float(np.abs(found - expected).max())
    if share < least:
        raise InputError(
            f"In int8, {int(same.sum())} of {len(same)} test images get the label of the classifier ({share:.1%}), "
            f"fewer than export.same_label={least:g}; the largest difference of a probability is {difference:.2g}. No "
            "file was written. Export it in float (export.format=onnx), or let fewer equal labels be enough: "
            f"export.same_label={math.floor(100 * share) / 100:g}."
        )
    return {"images": len(same), **_rate("same_label", same, groups), "max_difference": difference}


def accuracy_price(right: Bools, right_int8: Bools, groups: NDArray[np.str_]) -> dict[str, float]:
    """Accuracy of classifier and int8 file on the same images, with intervals of 95 %.

    ``price`` is what int8 loses, in points (negative: it gains), with the paired interval of Bonett & Price (2012);
    the other two are shares, with the one of Wilson (1927).

    Args:
        right: whether the classifier was right, ``[n]``.
        right_int8: the same of the int8 file, ``[n]``.
        groups: group of each image, ``[n]``.

    """
    lost = right.astype(float) - right_int8.astype(float)
    low, high = difference_interval(lost, groups, 0.95)
    price = {"price": 100 * float(lost.mean()), "price_low": 100 * low, "price_high": 100 * high}
    return {**_rate("accuracy", right, groups), **_rate("accuracy_int8", right_int8, groups), **price}


def size_and_speed(model: bytes, int8: bytes, images: Sequence[bytes]) -> dict[str, float]:
    """Size in bytes and time in milliseconds an image (network alone, one image at a time) of both ONNX files."""
    seconds, seconds_int8 = seconds_an_image([model, int8], images[:_TIMED])
    return {
        "bytes": len(int8),
        "bytes_float": len(model),
        "milliseconds": 1000 * seconds_int8,
        "milliseconds_float": 1000 * seconds,
    }


def int8_in_words(measured: dict[str, Any]) -> str:
    """What int8 costs and gains, in one line for the log."""
    told = (
        "int8: {same_label:.1%} of labels as the classifier's on {images} test images (largest difference of a "
        "probability {max_difference:.2g}); accuracy {accuracy_int8:.3f} instead of {accuracy:.3f}, lost {price:+.1f} "
        "points [{price_low:+.1f}, {price_high:+.1f}]; {bytes:,} bytes instead of {bytes_float:,}; {milliseconds:.1f} "
        "ms an image instead of {milliseconds_float:.1f}."
    )
    if measured["milliseconds"] < measured["milliseconds_float"]:
        return told.format_map(measured)
    return f"{told.format_map(measured)} On this machine int8 is not faster."


def _rate(name: str, hits: Bools, groups: NDArray[np.str_]) -> dict[str, float]:
    worth, quantile = effective_images(hits.astype(float), groups)
    low, high = wilson_interval(worth * float(hits.mean()), worth, quantile)
    return {name: float(hits.mean()), f"{name}_low": low, f"{name}_high": high}
