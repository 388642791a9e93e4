"""HEIC photographs of phones (HEIF with HEVC), which Pillow reads by the plugin pi-heif.

The plugin is imported at the first such file of a process, so that other runs do not pay for it, and so that it is
there in every worker and server.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec

HEIF = "HEIF"
"""Pillow's name of the format."""
NEEDS_PLUGIN = "HEIC needs `pip install 'topwork[heif]'`"
"""The reason to reject such a file where the plugin is not installed."""
ENDINGS = (".heic", ".heif", ".hif")
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_OF_ANY_CODEC = {b"mif1", b"msf1"}  # HEIF; the other brands say with which codec
_AVIF = {b"avif", b"avis"}
_EXTENT = re.compile(rb"\0\0\0(?:\x14ispe|\x01ispe\0{7}\x1c).{4}(.{4})(.{4})", re.DOTALL)  # with its length before it


def is_heif(data: bytes) -> bool:
    """Whether the file says that it is HEIF; AVIF, which is HEIF with another codec, is not meant.

    The brands at the beginning of the file are those of ISO/IEC 23008-12, section 10.
    """
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)
    main, others = data[8:12], {data[at : at + 4] for at in range(16, end, 4)}
    return main in _BRANDS or (main in _OF_ANY_CODEC and not others & _AVIF)


def coded_sizes(data: bytes) -> list[tuple[int, int]]:
    """Width and height of all pictures in the file before they are cropped, from their boxes `ispe`.

    A file may say that a few pixels of a huge picture are to be shown, and all of it must be decoded for them.
    """
    return [(int.from_bytes(width, "big"), int.from_bytes(height, "big")) for width, height in _EXTENT.findall(data)]


def has_plugin() -> bool:
    """Whether the plugin is installed; it is not imported."""
    return find_spec("pi_heif") is not None


@cache
def load_plugin() -> bool:
    """Tell Pillow of the format; False if the plugin is not installed.

    Thumbnails inside the files are left alone, because Pillow would decode them in place of the image. One thread
    decodes a file, because several files are decoded at a time.
    """
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True
