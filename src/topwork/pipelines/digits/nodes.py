"""Renders scikit-learn's digits."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from topwork.core.parameters import DigitsParameters

_BRIGHTEST = 16  # highest grey level of scikit-learn's digits


def render_digits(parameters: DigitsParameters) -> list[tuple[str, bytes]]:
    """PNG files of 8 x 8 pixels by relative name (`digit_class/number.png`): all, or a random sample of each class."""
    digits = load_digits()
    order = np.random.default_rng(parameters.seed).permutation(len(digits.target))
    files: list[tuple[str, bytes]] = []
    for digit in range(10):
        rows = order[digits.target[order] == digit][: parameters.images_per_class]
        files += [(f"{digit}/{row:04d}.png", _png(digits.images[row])) for row in sorted(rows)]
    return files


def _png(levels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((levels * (255 / _BRIGHTEST)).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
