"""Bytes to RGB pixels, or the reason why not: the only place where an image file is opened.

Pillow reads everything; a sound JPEG goes to simplejpeg, which is the same libjpeg-turbo without Pillow's copy.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from topwork.core.columns import OK, REJECTED

DECODER = "pillow-rgb-2"
"""Names what `decode_rgb` does to the pixels; raise it when they would change."""
REDUCER = "dct-1"
"""Names what `decode_pixels` does beyond that with ``short_side``; both are part of the feature key."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "TGA")
_INSPECTION_SIDE = 64  # pixels; a JPEG is checked at the smallest scale that its decoder offers
WHITE = {"F": 1.0, "I": 65535.0}
"""The value that is white in images of more than 8 bits, by the type of their numbers: floating point, integers.

It is that of the type and never guessed from an image, so that equal values are equal greys in all of a data set.
"""
_LYING = {5, 6, 7, 8}  # EXIF orientations that exchange width and height

# Pillow's own bomb check warns through a process-wide filter, which threads share; `max_pixels` replaces it.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, which say nothing about the pixels


class RejectedError(ValueError):
    """The bytes are no usable image; the message is the reason in a few words."""


@dataclass(frozen=True)
class Inspection:
    """What one file turned out to be; ``width`` and ``height`` in pixels, as a viewer shows it (EXIF orientation).

    ``highest`` is the largest value in an image of more than 8 bits, and 0 in others.
    """

    sha256: str
    width: int
    height: int
    format: str
    mode: str
    status: str
    reason: str
    highest: float = 0.0


def inspect(data: bytes, max_pixels: int) -> Inspection:
    """What the file is, after decoding all of it; a rejected file has its reason and whatever else is known."""
    sha256 = hashlib.sha256(data).hexdigest()
    image = None
    try:
        image = _open(data)
        _check_size(image, max_pixels)
        (width, height), mode = image.size, image.mode
        image.draft(None, (_INSPECTION_SIDE, _INSPECTION_SIDE))
        _load(
            image
        )  # before EXIF is asked for: Pillow may load the pixels for that, and swallow what is wrong with them
        if _orientation(image) in _LYING:
            width, height = height, width
        return Inspection(sha256, width, height, image.format or "", mode, OK, "", _highest(image))
    except RejectedError as reason:
        known = (*image.size, image.format or "", image.mode) if image else (0, 0, "", "")
        return Inspection(sha256, *known, REJECTED, str(reason))


def pixel_count(data: bytes) -> int:
    """Pixels that the header of an image tells of, without decoding it; 0 where it is no image."""
    try:
        width, height = _open(data).size
    except RejectedError:
        return 0
    return width * height


def decode_rgb(data: bytes, max_pixels: int, white: float | None = None) -> Image.Image:
    """The first frame upright, in 8-bit RGB, with transparency laid over white.

    ``white`` is the value that becomes 255 in images of more than 8 bits; None: that of their type (`WHITE`).

    Raises:
        RejectedError: the bytes are no usable image.

    """
    image = _open(data)
    _check_size(image, max_pixels)
    _load(image)
    return _to_rgb(_upright(image), white)


def decode_pixels(data: bytes, max_pixels: int, short_side: int = 0, white: float | None = None) -> NDArray[np.uint8]:
    """The pixels ``[height, width, 3]`` of `decode_rgb`.

    With a ``short_side``, a JPEG at least twice as large comes at 1/2, 1/4 or 1/8 of its size, the smallest that still
    has so many pixels on the short side: its blocks are then transformed back at that scale (libjpeg's DCT scaling).

    Raises:
        RejectedError: the bytes are no usable image.

    """
    image = _open(data)
    _check_size(image, max_pixels)
    if image.format == "JPEG" and image.mode in {"RGB", "L"}:
        reduced = _reduced(image.size, short_side)
        pixels = _decode_jpeg(data, reduced)
        if pixels is not None:
            return _turned(pixels, _orientation(image))
        image.draft(None, reduced)
    _load(image)
    return np.array(_to_rgb(_upright(image), white))


def _reduced(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Width and height at the smallest of the scales 1, 1/2, 1/4, 1/8 that leaves ``short_side``; 0: at scale 1."""
    factor = max((f for f in (2, 4, 8) if short_side and min(size) >= f * short_side), default=1)
    return -(-size[0] // factor), -(-size[1] // factor)


def _decode_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The pixels of a sound JPEG, at the given size; of a doubtful one nothing, so that Pillow decides."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, min_width=size[0], min_height=size[1])
    except ValueError:
        return None
    return pixels


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels as EXIF says they are to be seen."""
    if orientation in _LYING:
        pixels = pixels.transpose(1, 0, 2)
    upside_down, mirrored = orientation in {3, 4, 7, 8}, orientation in {2, 3, 6, 7}
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


@cache
def _formats() -> list[str]:
    """The formats that this build of Pillow reads, of those that hold photographs and drawings."""
    Image.init()  # Pillow registers the rarer ones only when asked
    return [name for name in _FORMATS if name in Image.OPEN]


def _open(data: bytes) -> Image.Image:
    if not data:
        raise RejectedError("empty file")
    try:
        return Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise RejectedError("not an image in a known format") from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise RejectedError(f"damaged header ({type(error).__name__})") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise RejectedError(f"too many pixels ({width} x {height}, limit {max_pixels:,})")


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # decoders raise nearly anything on damaged data
        truncated = isinstance(error, (EOFError, OSError)) and "truncated" in str(error)
        raise RejectedError("truncated" if truncated else f"damaged ({error or type(error).__name__})") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # an unreadable EXIF block says nothing about the pixels
        return 1


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) in range(2, 9) else image


def is_deep(mode: str) -> bool:
    """Whether images of this mode of Pillow's have more than 8 bits."""
    return mode.startswith(("I", "F"))


def _highest(image: Image.Image) -> float:
    if not is_deep(image.mode):
        return 0.0
    values = np.asarray(image, np.float64)
    return float(np.max(values, where=np.isfinite(values), initial=0.0))


def _to_rgb(image: Image.Image, white: float | None) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep(image.mode):
        image = _to_eight_bits(image, white or WHITE[image.mode[0]])
    if image.has_transparency_data:
        # `convert("RGB")` would show whatever colour lies under the transparency
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image, white: float) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, np.float64))
    return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
