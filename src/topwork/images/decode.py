"""Decodes bytes to RGB pixels, or gives the reason for rejection; image files are opened only in this module.

Pillow reads all formats, HEIC with a plugin (`heif`). An intact JPEG is decoded by simplejpeg, which uses the same
libjpeg-turbo without Pillow's copy.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from topwork.core.columns import OK, REJECTED
from topwork.core.greys import Scale
from topwork.images.greys import highest_value, in_eight_bits, is_deep, some_values
from topwork.images.heif import HEIF, NEEDS_PLUGIN, coded_sizes, is_heif, load_plugin

DECODER = "pillow-rgb-2"
"""Version of what `decode_rgb` does to the pixels; raise it when the pixels would change."""
REDUCER = "dct-1"
"""Version of what `decode_pixels` does in addition with ``short_side``; both versions are part of the feature key."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "TGA")
_HEIF_ENDS_EARLY = "Unexpected end of file"  # libheif
_INSPECTION_SIDE = 64  # pixels; a JPEG is checked at the smallest scale that its decoder offers
_LYING = {5, 6, 7, 8}  # EXIF orientations that exchange width and height

# Pillow's own bomb check warns through a process-wide filter, which threads share; `max_pixels` replaces it.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # warnings of damaged metadata, which do not affect the pixels


class RejectedError(ValueError):
    """The bytes are not a usable image; the message is the reason in a few words."""


@dataclass(frozen=True)
class Inspection:
    """Result of inspecting one file; ``width`` and ``height`` are in pixels, as a viewer shows it (EXIF orientation).

    ``highest`` is the largest value in an image of more than 8 bits, and 0 in others. With ``several_pages``, the file
    has pages or frames after the first one, which is used; the preview beside a photograph (MPO) does not count.
    """

    sha256: str
    width: int
    height: int
    format: str
    mode: str
    status: str
    reason: str
    highest: float = 0.0
    several_pages: bool = False


def inspect(data: bytes, max_pixels: int) -> Inspection:
    """Inspection of a file, which is decoded completely; for a rejected file, the reason and what is known."""
    sha256 = hashlib.sha256(data).hexdigest()
    image = None
    try:
        image = _open(data)
        _check_size(image, data, max_pixels)
        (width, height), mode = image.size, image.mode
        image.draft(None, (_INSPECTION_SIDE, _INSPECTION_SIDE))
        # before EXIF is read: Pillow may load the pixels to read it, and then hides errors in the pixels
        _load(image)
        if _orientation(image) in _LYING:
            width, height = height, width
        highest, pages = highest_value(image), _has_several_pages(image)
        return Inspection(sha256, width, height, image.format or "", mode, OK, "", highest, pages)
    except RejectedError as reason:
        known = (*image.size, image.format or "", image.mode) if image else (0, 0, "", "")
        return Inspection(sha256, *known, REJECTED, str(reason))


def pixel_count(data: bytes) -> int:
    """Number of pixels according to the header of an image, without decoding it; 0 if it is not an image."""
    try:
        width, height = _decoded_size(_open(data), data)
    except RejectedError:
        return 0
    return width * height


def decode_rgb(data: bytes, max_pixels: int, white: Scale = None) -> Image.Image:
    """The first frame as an upright image in 8-bit RGB, with transparent parts on a white background.

    ``white`` says which values become 0 and 255 in images of more than 8 bits (`in_eight_bits`).

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image = _open(data)
    _check_size(image, data, max_pixels)
    _load(image)
    return _to_rgb(_upright(image), white)


def decode_pixels(data: bytes, max_pixels: int, short_side: int = 0, white: Scale = None) -> NDArray[np.uint8]:
    """The pixels ``[height, width, 3]`` of `decode_rgb`.

    With a ``short_side``, a JPEG that is at least twice as large is decoded at 1/2, 1/4 or 1/8 of its size: the
    smallest that keeps ``short_side`` pixels on the short side. Its blocks are transformed back at that scale
    (libjpeg's DCT scaling).

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image = _open(data)
    _check_size(image, data, max_pixels)
    if image.format == "JPEG" and image.mode in {"RGB", "L"}:
        reduced = _reduced(image.size, short_side)
        pixels = _decode_jpeg(data, reduced)
        if pixels is not None:
            return _turned(pixels, _orientation(image))
        image.draft(None, reduced)
    _load(image)
    return np.array(_to_rgb(_upright(image), white))


def decode_values(data: bytes, max_pixels: int, at_most: int) -> NDArray[np.float64]:
    """At most so many values ``[n]`` of an image as they are stored (`some_values`).

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image = _open(data)
    _check_size(image, data, max_pixels)
    _load(image)
    return some_values(image, at_most)


def decode_for_sides(data: bytes, max_pixels: int, wanted: Sequence[tuple[int, Scale]]) -> list[NDArray[np.uint8]]:
    """The pixels of `decode_pixels` for each pair of ``short_side`` and ``white``; equal scales are decoded once.

    Raises:
        RejectedError: the bytes are not a usable image.

    """
    image, found = _open(data), dict[tuple[tuple[int, int], Scale], NDArray[np.uint8]]()
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
    heif = is_heif(data)
    if heif and not load_plugin():
        raise RejectedError(NEEDS_PLUGIN)
    try:
        return Image.open(io.BytesIO(data), formats=[HEIF] if heif else _formats())
    except UnidentifiedImageError:
        raise RejectedError("damaged header" if heif else "not an image in a known format") from None
    except Exception as error:  # decoders raise nearly any exception on damaged headers
        raise RejectedError(f"damaged header ({type(error).__name__})") from error


def _decoded_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Width and height of what is decoded, which in HEIC may be more than what is shown."""
    return max([image.size, *(coded_sizes(data) if image.format == HEIF else [])], key=math.prod)


def _check_size(image: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = _decoded_size(image, data)
    if width * height > max_pixels:
        raise RejectedError(f"too many pixels ({width} x {height}, limit {max_pixels:,})")


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # decoders raise nearly any exception on damaged data
        said = " ".join(str(error).split())
        truncated = (isinstance(error, (EOFError, OSError)) and "truncated" in said) or _HEIF_ENDS_EARLY in said
        raise RejectedError("truncated" if truncated else f"damaged ({said or type(error).__name__})") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # an unreadable EXIF block does not affect the pixels
        return 1


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) in range(2, 9) else image


def _has_several_pages(image: Image.Image) -> bool:
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first page does not affect it
        return True


def _to_rgb(image: Image.Image, white: Scale) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep(image.mode):
        image = in_eight_bits(image, white)
    if image.has_transparency_data:
        # `convert("RGB")` would show the hidden colour of transparent pixels
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")
