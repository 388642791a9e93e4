"""Perceptual hashes of 64 bits, which change little when an image is re-encoded, resized or slightly cropped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64


def perceptual_hash(pixels: NDArray[np.uint8]) -> np.uint64:
    """Which of the 8 x 8 lowest frequencies of image ``[h, w, 3]`` exceed their median (pHash, Zauner 2010)."""
    import imagehash

    bits: NDArray[np.bool_] = imagehash.phash(Image.fromarray(pixels)).hash
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))


def different_bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Number of bits in which the hashes differ, element by element."""
    return np.asarray(np.bitwise_count(one ^ other))
