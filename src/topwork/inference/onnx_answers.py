"""Answers of an exported ONNX file, by ONNX Runtime on the processor, and how long they take."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.images.decode import decode_pixels
from topwork.images.transforms import Preprocessing, resize_and_crop

PIXELS, PROBABILITIES = "pixels", "probabilities"
"""Names of input ``[b, h, w, 3]`` (uint8, RGB) and output ``[b, c]`` (float32); the batch size b is free."""
_MAX_PIXELS = 89_478_485
_ROUNDS = 5  # rounds of a comparison of speed, after one that does not count


def onnx_probabilities(model: bytes, images: Iterable[bytes]) -> Floats:
    """Probabilities ``[n, c]`` of ONNX Runtime for image bytes, with the preprocessing in the file's metadata."""
    session, preprocessing = opened(model), preprocessing_of(model)
    return np.concatenate(
        [session.run([PROBABILITIES], {PIXELS: onnx_pixels(each, preprocessing)})[0] for each in images]
    )


def seconds_an_image(models: Sequence[bytes], images: Sequence[bytes]) -> list[float]:
    """Median time of one image (as a batch of its own, decoded before) by each of several ONNX files, in seconds.

    All files answer for the same images in turn, so that other programs on the machine disturb them alike. The result
    is the median over the rounds of each round's median.
    """
    preprocessing = preprocessing_of(models[0])
    sessions, pixels = [opened(model) for model in models], [onnx_pixels(each, preprocessing) for each in images]
    taken = np.array([[[_seconds(run, each) for run in sessions] for each in pixels] for _ in range(_ROUNDS + 1)])
    return [float(each) for each in np.median(np.median(taken[1:], axis=1), axis=0)]


def opened(model: bytes) -> Any:
    """The session of ONNX Runtime that answers from an ONNX file."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def preprocessing_of(model: bytes) -> Preprocessing:
    """The preprocessing of images, from the metadata of an exported ONNX file."""
    import onnx

    told = {each.key: each.value for each in onnx.load_from_string(model).metadata_props}
    return Preprocessing(**json.loads(told["topwork"])["preprocessing"])


def onnx_pixels(image: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The input ``[1, h, w, 3]`` of an exported ONNX file for image bytes."""
    pixels = decode_pixels(image, _MAX_PIXELS, preprocessing.short_side, preprocessing.white)
    return resize_and_crop(pixels, preprocessing)[None]


def _seconds(session: Any, pixels: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    session.run([PROBABILITIES], {PIXELS: pixels})
    return time.perf_counter() - start
