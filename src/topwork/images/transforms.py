"""The geometry between a decoded image and the network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_TORCH_MODES = ("bilinear", "bicubic")
_SUPPORT = 2  # pixels on each side that the widest of these filters, the bicubic one, looks at
_MISFIT = 0.01  # pixels


@dataclass(frozen=True)
class Preprocessing:
    """What travels with weights: short side to ``resize`` pixels, centre ``crop``, then ``(x - mean) / std``.

    ``mean`` and ``std`` are of RGB values between 0 and 1. With ``keep_aspect`` off the whole image is squeezed into
    the square. ``white`` is the value that is white in images of more than 8 bits; None: that of their type.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    keep_aspect: bool = True
    white: float | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation {self.interpolation!r}: known are {', '.join(_FILTERS)}")
        if self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is larger than resize {self.resize}")

    @property
    def canvas(self) -> Preprocessing:
        """The same without cropping to ``crop``: the whole short side, from which views are taken."""
        return replace(self, crop=self.resize)


SCALER = "aa-1"
"""Names what `resize_and_crop` does to the pixels; part of the feature key, so raise it when they would change."""


def resize_and_crop(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Pixels ``[crop, crop, 3]`` of ``[h, w, 3]`` (uint8): torchvision's `Resize` and `CenterCrop` one after the other.

    Only the part of the image that the crop sees is resampled, which takes a third less time; on photographs all but
    one in a thousand values then agree to one grey level. Torch resamples integers three times as fast as Pillow.
    """
    height, width = pixels.shape[:2]
    new_width, new_height = _resized(width, height, preprocessing)
    if preprocessing.interpolation not in _TORCH_MODES:
        return _with_pillow(pixels, (new_width, new_height), preprocessing)
    from torch import from_numpy
    from torch.nn.functional import interpolate

    rows = _window(height, new_height, preprocessing.crop)
    columns = _window(width, new_width, preprocessing.crop)
    seen = np.require(pixels[rows.source, columns.source], requirements=["C", "W"])
    resampled = interpolate(
        from_numpy(seen).permute(2, 0, 1)[None],
        size=(rows.new_size, columns.new_size),
        mode=preprocessing.interpolation,
        antialias=True,
    )
    result: NDArray[np.uint8] = resampled[0].permute(1, 2, 0)[rows.kept, columns.kept].numpy()
    return result


@dataclass(frozen=True)
class _Window:
    """The pixels of one axis that a crop sees, how many they become, and where in these the crop lies."""

    source: slice
    new_size: int
    kept: slice


@lru_cache(maxsize=4096)  # photographs come in few sizes
def _window(size: int, new_size: int, crop: int) -> _Window:
    """The shortest stretch that gives the crop's pixels as the whole axis would.

    Both its ends lie where a pixel's edge after scaling meets one before it, to within `_MISFIT`, so that scaling the
    stretch alone puts every pixel where it belongs; the ends of the axis always do.
    """
    scale = size / new_size
    left = round((new_size - crop) / 2)
    reach = math.ceil(_SUPPORT * max(1, 1 / scale)) + 1  # pixels after scaling that the filter looks at
    start = next((at for at in range(left - reach, 0, -1) if _misfit(at * scale) < _MISFIT), 0)
    end = next((at for at in range(left + crop + reach, new_size) if _misfit(at * scale) < _MISFIT), new_size)
    kept = slice(left - start, left - start + crop)
    return _Window(slice(round(start * scale), round(end * scale)), end - start, kept)


def _misfit(place: float) -> float:
    return abs(place - round(place))


def _with_pillow(pixels: NDArray[np.uint8], size: tuple[int, int], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    (new_width, new_height), crop = size, preprocessing.crop
    left, top = round((new_width - crop) / 2), round((new_height - crop) / 2)
    resized = Image.fromarray(pixels).resize(size, _FILTERS[preprocessing.interpolation])
    return np.array(resized.crop((left, top, left + crop, top + crop)))


def _resized(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    side = preprocessing.resize
    if not preprocessing.keep_aspect:
        return side, side
    # torchvision rounds the long side down
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
