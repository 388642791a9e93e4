"""Images of more than 8 bits: which of their values become black and white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.core.greys import Scale

WHITE = {"F": 1.0, "I": 65535.0}
"""The white value of images of more than 8 bits, by number type: floating point (F) or integer (I).

It depends only on the type and is never guessed from an image, so that equal values are equal greys in the whole data
set.
"""


def is_deep(mode: str) -> bool:
    """Whether images of this Pillow mode have more than 8 bits."""
    return mode.startswith(("I", "F"))


def highest_value(image: Image.Image) -> float:
    """The largest value of an image of more than 8 bits; 0 for others."""
    if not is_deep(image.mode):
        return 0.0
    values = np.asarray(image, np.float64)
    return float(np.max(values, where=np.isfinite(values), initial=0.0))


def in_eight_bits(image: Image.Image, white: Scale) -> Image.Image:
    """An image of more than 8 bits with the values 0 to 255, rounded.

    ``white`` is the value that becomes 255, or the pair of the values that become 0 and 255; None takes the value of
    the type (`WHITE`).
    """
    values = np.nan_to_num(np.asarray(image, np.float64))
    black, full = _ends(white, image.mode)
    return Image.fromarray(np.clip((values - black) * (255 / (full - black)) + 0.5, 0, 255).astype(np.uint8))


def some_values(image: Image.Image, at_most: int) -> NDArray[np.float64]:
    """At most so many finite values ``[n]`` of an image, in equal steps over its rows."""
    values = np.asarray(image, np.float64).ravel()
    taken = values[:: -(-values.size // at_most)]
    finite: NDArray[np.float64] = taken[np.isfinite(taken)]
    return finite


def _ends(white: Scale, mode: str) -> tuple[float, float]:
    if isinstance(white, tuple | list):  # a list where it comes from JSON
        return white[0], white[1]
    return 0.0, white or WHITE[mode[0]]
