"""Small pictures for sheets."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from topwork.images.decode import RejectedError, decode_rgb

_SIZE = (160, 160)
_CAPTION = 28  # characters that fit under a thumbnail


def thumbnail(images: Mapping[str, bytes], image_id: str, max_pixels: int) -> Image.Image:
    """The image made small; plain grey if it is gone since it was inspected: no reason to lose a finished training."""
    try:
        picture = decode_rgb(images[image_id], max_pixels)
    except (OSError, RejectedError):
        return Image.new("RGB", _SIZE, "lightgrey")
    picture.thumbnail(_SIZE)
    return picture


def shortened(path: str) -> str:
    """As much of the end of a path as fits under a thumbnail."""
    return path if len(path) <= _CAPTION else f"…{path[1 - _CAPTION :]}"
