"""The input of a served model: image bytes, base64 text, or, in local use only, paths of files."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topwork.core.errors import InputError
from topwork.images.decode import pixel_count

MOST_IMAGES = 64
"""Largest number of images in one request, which the server holds in memory at once."""
MOST_BYTES = 32 * 2**20
"""Largest number of bytes of one image."""
MOST_PIXELS = 89_478_485
"""Largest number of pixels of all images in a request: a few bytes can decode to very many pixels."""


def image_bytes(cells: Sequence[Any], may_read_files: bool) -> list[bytes]:
    """The image bytes of each cell, which holds bytes, base64 text (also as a data URL) or a path.

    With ``may_read_files``, paths are read and no limits apply.

    Raises:
        InputError: a cell holds none of these, or a limit is exceeded; the message names the image by its number.

    """
    if may_read_files:
        return [_content(cell, number, may_read_files) for number, cell in enumerate(cells, 1)]
    if len(cells) > MOST_IMAGES:
        raise InputError(f"{len(cells)} images in one request; {MOST_IMAGES} are the most.")
    contents = [_content(cell, number, may_read_files) for number, cell in enumerate(cells, 1)]
    for number, content in enumerate(contents, 1):
        if len(content) > MOST_BYTES:
            raise InputError(f"image {number}: {len(content):,} bytes; {MOST_BYTES:,} are the most.")
    pixels = sum(map(pixel_count, contents))
    if pixels > MOST_PIXELS:
        raise InputError(f"{pixels:,} pixels in one request; {MOST_PIXELS:,} are the most.")
    return contents


def _content(cell: Any, number: int, may_read_files: bool) -> bytes:
    if isinstance(cell, (bytes, bytearray)):
        return _decoded(bytes(cell))
    if isinstance(cell, Path) and may_read_files:
        cell = str(cell)
    if not isinstance(cell, str):
        raise InputError(f"image {number}: expected bytes or base64 text, not {type(cell).__name__}.")
    if may_read_files and not cell.startswith("data:") and (path := _file(cell)):
        return path.read_bytes()
    try:
        return base64.b64decode(cell.partition(",")[2] if cell.startswith("data:") else cell, validate=True)
    except (binascii.Error, ValueError):
        is_path = " nor the path of a file" if may_read_files else ""
        raise InputError(f"image {number}: neither image bytes nor base64 text{is_path}.") from None


def _decoded(content: bytes) -> bytes:
    """The content, decoded if it is base64.

    MLflow decodes base64 in `dataframe_split` and `dataframe_records`, but not in `inputs` and `instances`. The bytes
    of an image are never valid base64.
    """
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return content


def _file(name: str) -> Path | None:
    try:
        return Path(name) if Path(name).is_file() else None
    except OSError:  # base64 text is too long for a file name
        return None
