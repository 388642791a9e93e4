"""Adversarial bytes: spoilt files of every format are read or rejected, in bounded time, alike by all who read them.

`pytest tests/images/test_fuzz.py --hypothesis-profile=long` tries a hundred times as many, others each time.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import encode
from topwork.core.columns import OK, REJECTED
from topwork.images.decode import RejectedError, decode_rgb, inspect

MAX_PIXELS = 250_000
SLOW = 5.0  # seconds: a hundred times what such files take
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def samples() -> dict[str, bytes]:
    """A small file of each format and of the flavours that take other ways through the decoders."""
    noise = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {form: encode(image, form) for form in ("BMP", "GIF", "ICO", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA")}
    return found | {
        "AVIF": encode(image, "AVIF"),
        "GIF-frames": encode(image, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 32))]),
        "JPEG": encode(image, "JPEG", exif=exif),
        "JPEG-cmyk": encode(image.convert("CMYK"), "JPEG"),
        "JPEG-progressive": encode(image, "JPEG", progressive=True),
        "PNG-frames": encode(image, "PNG", save_all=True, append_images=[Image.new("RGB", (40, 32))]),
        "PNG-palette": encode(image.quantize(16), "PNG", transparency=3),
        "TIFF": encode(image, "TIFF"),
        "TIFF-deflate": encode(image, "TIFF", compression="tiff_deflate"),
        "TIFF-jpeg": encode(image, "TIFF", compression="jpeg"),
        "TIFF-lzw": encode(image, "TIFF", compression="tiff_lzw"),
        "WEBP": encode(image, "WEBP"),
        "WEBP-frames": encode(image, "WEBP", save_all=True, append_images=[Image.new("RGB", (40, 32))]),
        "WEBP-lossless": encode(image, "WEBP", lossless=True),
    }


SAMPLES = samples()


@st.composite
def spoilt(draw: st.DrawFn, data: bytes) -> bytes:
    """The file with some of its bytes changed: flipped, overwritten by extreme numbers, cut, doubled, or put elsewhere.

    Half of the changes fall on the first bytes, where the headers are.
    """
    result = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        if not result:
            break
        last = len(result) - 1
        at = draw(st.integers(0, min(last, 128))) if draw(st.booleans()) else draw(st.integers(0, last))
        length = draw(st.integers(1, 24))
        match draw(st.sampled_from(["flip", "number", "cut", "double", "insert", "truncate"])):
            case "flip":
                result[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                width = draw(st.sampled_from([1, 2, 4]))
                number = draw(st.sampled_from(EXTREMES)) % 256**width
                result[at : at + width] = number.to_bytes(width, draw(st.sampled_from(["little", "big"])))
            case "cut":
                del result[at : at + length]
            case "double":
                result[at:at] = result[at : at + length]
            case "insert":
                result[at:at] = draw(st.binary(min_size=1, max_size=24))
            case "truncate":
                del result[at:]
    return bytes(result)


def check(data: bytes) -> str:
    """Look at a file as ingestion does, and decode it as all others do; the status."""
    started = time.perf_counter()
    found = inspect(data, MAX_PIXELS)
    if found.status == OK:
        decoded = decode_rgb(data, MAX_PIXELS)  # what ingestion lets through must not stop a run later
        assert decoded.mode == "RGB"
        assert decoded.size == (found.width, found.height)
        assert decoded.width * decoded.height <= MAX_PIXELS
    else:
        assert found.status == REJECTED
        assert found.reason
        with pytest.raises(RejectedError):
            decode_rgb(data, MAX_PIXELS)
    assert time.perf_counter() - started < SLOW
    return found.status


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_spoilt_file_is_read_or_rejected(kind: str) -> None:
    assert check(SAMPLES[kind]) == OK

    @given(spoilt(SAMPLES[kind]))
    def spoilt_files(data: bytes) -> None:
        check(data)

    spoilt_files()


@given(
    st.sampled_from(sorted({data[:n] for data in SAMPLES.values() for n in (2, 4, 12, 32)})), st.binary(max_size=300)
)
def test_a_signature_followed_by_anything_is_read_or_rejected(signature: bytes, rest: bytes) -> None:
    check(signature + rest)
