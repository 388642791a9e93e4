"""Bytes to RGB pixels, or the reason why not: the only place where Pillow opens an image."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from topwork.schemas import OK, REJECTED

DECODER = "pillow-rgb-1"
"""Names what `decode_rgb` does to the pixels; part of the feature key, so raise it when they would change."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "TGA")
_INSPECTION_SIDE = 64  # pixels; a JPEG is checked at the smallest scale that its decoder offers
_SIXTEEN_BIT = 65535
_LYING = {5, 6, 7, 8}  # EXIF orientations that exchange width and height

# Pillow's own bomb check warns through a process-wide filter, which threads share; `max_pixels` replaces it.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, which say nothing about the pixels


class RejectedError(ValueError):
    """The bytes are no usable image; the message is the reason in a few words."""


@dataclass(frozen=True)
class Inspection:
    """What one file turned out to be; ``width`` and ``height`` in pixels, as a viewer shows it (EXIF orientation)."""

    sha256: str
    width: int
    height: int
    format: str
    mode: str
    status: str
    reason: str


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
        return Inspection(sha256, width, height, image.format or "", mode, OK, "")
    except RejectedError as reason:
        known = (*image.size, image.format or "", image.mode) if image else (0, 0, "", "")
        return Inspection(sha256, *known, REJECTED, str(reason))


def decode_rgb(data: bytes, max_pixels: int) -> Image.Image:
    """The first frame upright, in 8-bit RGB, with transparency laid over white.

    Raises:
        RejectedError: the bytes are no usable image.

    """
    image = _open(data)
    _check_size(image, max_pixels)
    _load(image)
    return _to_rgb(_upright(image))


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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        # `convert("RGB")` would show whatever colour lies under the transparency
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, np.float64))
    top = values.max(initial=0)
    if image.mode == "F" and top <= 1:
        scale = 1.0  # floating-point images run from 0 to 1 by custom
    elif image.mode.startswith("I;16") or top > 255:
        scale = max(_SIXTEEN_BIT, top)
    else:
        scale = 255.0
    return Image.fromarray(np.clip(values * (255 / scale) + 0.5, 0, 255).astype(np.uint8))
