"""Decodes bytes to RGB pixels, or gives the reason for rejection; image files are opened only in this module.

Pillow reads all formats. An intact JPEG is decoded by simplejpeg, which uses the same libjpeg-turbo without Pillow's
copy.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from topwork.core.columns import OK, REJECTED

DECODER = "pillow-rgb-2"
"""Version of what `decode_rgb` does to the pixels; raise it when the pixels would change."""
REDUCER = "dct-1"
"""Version of what `decode_pixels` does in addition with ``short_side``; both versions are part of the feature key."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "TGA")
_INSPECTION_SIDE = 64  # pixels; a JPEG is checked at the smallest scale that its decoder offers
WHITE = {"F": 1.0, "I": 65535.0}
"""The white value of images of more than 8 bits, by number type: floating point (F) or integer (I).

It depends only on the type and is never guessed from an image, so that equal values are equal greys in the whole data
set.
"""
_LYING = {5, 6, 7, 8}  # EXIF orientations that exchange width and height

# Pillow's own bomb check warns through a process-wide filter, which threads share; `max_pixels` replaces it.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # warnings of damaged metadata, which do not affect the pixels


class RejectedError(ValueError):
    """The bytes are not a usable image; the message is the reason in a few words."""


@dataclass(frozen=True)
class Inspection:
    """Result of inspecting one file; ``width`` and ``height`` are in pixels, as a viewer shows it (EXIF orientation).

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
    """Inspection of a file, which is decoded completely; for a rejected file, the reason and what is known."""
    sha256 = hashlib.sha256(data).hexdigest()
    image = None
    try:
        image = _open(data)
        _check_size(image, max_pixels)
        (width, height), mode = image.size, image.mode
        image.draft(None, (_INSPECTION_SIDE, _INSPECTION_SIDE))
        # before EXIF is read: Pillow may load the pixels to read it, and then hides errors in the pixels
        _load(image)
        if _orientation(image) in _LYING:
            width, height = height, width
        return Inspection(sha256, width, height, image.format or "", mode, OK, "", _highest(image))
    except RejectedError as reason:
        known = (*image.size, image.format or "", image.mode) if image else (0, 0, "", "")
        return Inspection(sha256, *known, REJECTED, str(reason))


def pixel_count(data: bytes) -> int:
    """Number of pixels according to the header of an image, without decoding it; 0 if it is not an image."""
    try:
        width, height = _open(data).size
    except RejectedError:
        return 0
    return width * height


def decode_rgb(data: bytes, max_pixels: int, white: float | None = None) -> Image.Image:
    """The first frame as an upright image in 8-bit RGB, with transparent parts on a white background.

    ``white`` is the value that becomes 255 in images of more than 8 bits; None takes the value of their type (`WHITE`).

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image = _open(data)
    _check_size(image, max_pixels)
    _load(image)
    return _to_rgb(_upright(image), white)


def decode_pixels(data: bytes, max_pixels: int, short_side: int = 0, white: float | None = None) -> NDArray[np.uint8]:
    """The pixels ``[height, width, 3]`` of `decode_rgb`.

    With a ``short_side``, a JPEG that is at least twice as large is decoded at 1/2, 1/4 or 1/8 of its size: the
    smallest that keeps ``short_side`` pixels on the short side. Its blocks are transformed back at that scale
    (libjpeg's DCT scaling).

    Raises:
        RejectedError: the bytes are not a usable image.

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


def decode_for_sides(
    data: bytes, max_pixels: int, wanted: Sequence[tuple[int, float | None]]
) -> list[NDArray[np.uint8]]:
    """The pixels of `decode_pixels` for each pair of ``short_side`` and ``white``; equal scales are decoded once.

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image, found = _open(data), dict[tuple[tuple[int, int], float | None], NDArray[np.uint8]]()
    result = []
    for short_side, white in wanted:
        scaled = _reduced(image.size, short_side) if image.format == "JPEG" else image.size
        if (scaled, white) not in found:
            found[scaled, white] = decode_pixels(data, max_pixels, short_side, white)
        result.append(found[scaled, white])
    return result


def _reduced(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Width and height at the smallest scale of 1, 1/2, 1/4, 1/8 that keeps ``short_side`` pixels; 0 means scale 1."""
    factor = max((f for f in (2, 4, 8) if short_side and min(size) >= f * short_side), default=1)
    return -(-size[0] // factor), -(-size[1] // factor)


def _decode_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The pixels of an intact JPEG at the given size; None for a doubtful one, about which Pillow decides."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, min_width=size[0], min_height=size[1])
    except ValueError:
        return None
    return pixels


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels after the EXIF orientation is applied."""
    if orientation in _LYING:
        pixels = pixels.transpose(1, 0, 2)
    upside_down, mirrored = orientation in {3, 4, 7, 8}, orientation in {2, 3, 6, 7}
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


@cache
def _formats() -> list[str]:
    """The formats for photographs and drawings (`_FORMATS`) that this build of Pillow reads."""
    Image.init()  # Pillow registers rare formats only on request
    return [name for name in _FORMATS if name in Image.OPEN]


def _open(data: bytes) -> Image.Image:
    if not data:
        raise RejectedError("empty file")
    try:
        return Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise RejectedError("not an image in a known format") from None
    except Exception as error:  # decoders raise nearly any exception on damaged headers
        raise RejectedError(f"damaged header ({type(error).__name__})") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise RejectedError(f"too many pixels ({width} x {height}, limit {max_pixels:,})")


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # decoders raise nearly any exception on damaged data
        truncated = isinstance(error, (EOFError, OSError)) and "truncated" in str(error)
        raise RejectedError("truncated" if truncated else f"damaged ({error or type(error).__name__})") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # an unreadable EXIF block does not affect the pixels
        return 1


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) in range(2, 9) else image


def is_deep(mode: str) -> bool:
    """Whether images of this Pillow mode have more than 8 bits."""
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
        # `convert("RGB")` would show the hidden colour of transparent pixels
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image, white: float) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, np.float64))
    return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
