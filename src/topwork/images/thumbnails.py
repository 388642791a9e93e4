"""Thumbnails for picture sheets."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from topwork.images.decode import RejectedError, decode_rgb

_SIZE = (160, 160)
_CAPTION = 28  # characters that fit under a thumbnail


def thumbnail(images: Mapping[str, bytes], image_id: str, max_pixels: int) -> Image.Image:
    """The image at thumbnail size, or a grey one if the file can no longer be read.

    A file that is deleted during training must not stop the run.
    """
    try:
        picture = decode_rgb(images[image_id], max_pixels)
    except (OSError, RejectedError):
        return Image.new("RGB", _SIZE, "lightgrey")
    picture.thumbnail(_SIZE)
    return picture


def shortened(path: str) -> str:
    """The path, or the end of a long path that fits under a thumbnail."""
    return path if len(path) <= _CAPTION else f"…{path[1 - _CAPTION :]}"
