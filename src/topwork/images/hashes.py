"""A picture in 64 bits that re-encoding, resizing and a slight crop change little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64


def perceptual_hash(pixels: NDArray[np.uint8]) -> np.uint64:
    """Signs of the 8 x 8 lowest frequencies of the picture ``[h, w, 3]`` (pHash, Zauner 2010)."""
    import imagehash

    bits: NDArray[np.bool_] = imagehash.phash(Image.fromarray(pixels)).hash
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))


def different_bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """In how many bits hashes differ, one by one."""
    return np.asarray(np.bitwise_count(one ^ other))
