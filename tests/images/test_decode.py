from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.conftest import encode, image_bytes
from topwork.core.columns import OK, REJECTED
from topwork.images.decode import RejectedError, decode_pixels, decode_rgb, inspect
from topwork.images.heif import load_plugin
from topwork.images.transforms import Preprocessing, resize_and_crop

load_plugin()  # to write such files
LIMIT = 1_000_000
HALF = (0.5, 0.5, 0.5)


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(np.asarray(decode_rgb(data, LIMIT), int)[y, x])


def test_transparency_shows_white_not_the_colour_under_it() -> None:
    hidden_red = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert pixel(encode(hidden_red)) == (255, 255, 255)


def test_half_transparent_black_over_white_is_grey() -> None:
    assert pixel(encode(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))) == pytest.approx((127, 127, 127), abs=1)


def test_a_transparent_palette_entry_shows_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    assert pixel(encode(image, transparency=0)) == (255, 255, 255)
    assert pixel(encode(image)) == (255, 0, 0)


def test_grey_with_alpha_is_laid_over_white() -> None:
    assert pixel(encode(Image.new("LA", (4, 4), (0, 0)))) == (255, 255, 255)


def test_sixteen_bits_keep_their_range() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    decoded = np.asarray(decode_rgb(encode(Image.fromarray(ramp)), LIMIT))
    assert decoded[0, 0, 0] == 0
    assert decoded[-1, -1, 0] == 255
    assert decoded[8, 0, 0] == pytest.approx(128, abs=1)


@pytest.mark.parametrize(
    ("kind", "form", "full"),
    [(np.float32, "TIFF", 1.0), (np.int32, "TIFF", 65535), (np.uint16, "PNG", 65535)],
    ids=["floating point", "32 bits", "16 bits"],
)
def test_a_value_is_the_same_grey_in_every_image_of_its_type(kind: type, form: str, full: float) -> None:
    """One pixel above what an image guessed to be its scale would reach once turned all the others black."""
    for brightest in (0.5, 255 / 65535, 256 / 65535, 1.0, 1.01):
        values = np.full((4, 4), 0.502 * full)
        values[3, 3] = brightest * full
        clipped = np.minimum(values, np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else values
        assert pixel(encode(Image.fromarray(clipped.astype(kind)), form)) == (128,) * 3


def test_what_is_white_may_be_said() -> None:
    twelve_bits = encode(Image.fromarray(np.full((4, 4), 2048, np.uint16)))
    assert pixel(twelve_bits) == (8,) * 3
    assert np.asarray(decode_rgb(twelve_bits, LIMIT, white=4095))[0, 0].tolist() == [128] * 3
    assert decode_pixels(twelve_bits, LIMIT, white=4095)[0, 0].tolist() == [128] * 3
    assert inspect(twelve_bits, LIMIT).highest == 2048
    assert inspect(encode(Image.new("RGB", (4, 4), "white")), LIMIT).highest == 0


def test_black_and_white_may_be_said() -> None:
    values = np.array([[0, 100, 200], [1100, 2100, 9000]], np.uint16)
    decoded = decode_pixels(encode(Image.fromarray(values)), LIMIT, white=(100, 2100))[..., 0]
    assert decoded.tolist() == [[0, 0, 13], [128, 255, 255]]


def test_the_small_preview_in_a_heic_is_not_decoded_in_its_place() -> None:
    data = encode(Image.new("RGB", (256, 256)), "HEIF", thumbnails=[64])
    assert Image.open(io.BytesIO(data)).draft(None, (64, 64)) is None


def test_a_huge_picture_of_which_a_heic_shows_a_few_pixels_is_too_large() -> None:
    shown = Image.new("RGB", (24, 16))  # cut out of the 64 x 64 pixels that were encoded
    assert inspect(encode(shown, "HEIF"), 64 * 64).status == OK
    assert inspect(encode(shown, "HEIF"), 64 * 64 - 1).reason.startswith("too many pixels (64 x 64")


def test_the_plugin_for_heic_is_imported_by_the_first_such_file() -> None:
    program = """
import io, sys
from PIL import Image
from topwork.images.decode import decode_pixels, inspect
file = io.BytesIO()
Image.new("RGB", (8, 8)).save(file, "AVIF")
inspect(file.getvalue(), 100)
print("pi_heif" in sys.modules)
heic = bytes.fromhex(sys.argv[1])
print(decode_pixels(heic, 9999).shape, "pi_heif" in sys.modules)
"""
    heic = encode(Image.new("RGB", (8, 8)), "HEIF").hex()
    done = subprocess.run([sys.executable, "-c", program, heic], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "(8, 8, 3) True"]


def test_cmyk_becomes_rgb() -> None:
    assert pixel(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))[0] > 200


def test_exif_orientation_is_applied_and_the_size_is_as_seen() -> None:
    image = Image.new("RGB", (20, 10), "black")
    image.paste((255, 255, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    data = encode(image, "PNG", exif=exif)
    assert decode_rgb(data, LIMIT).size == (10, 20)
    assert pixel(data, 5, 0) == (255, 255, 255)
    assert (inspect(data, LIMIT).width, inspect(data, LIMIT).height) == (10, 20)


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(data) == (255, 0, 0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000"])
def test_every_common_format_is_read(form: str) -> None:
    data = encode(Image.new("RGB", (32, 24), (200, 30, 30)), form)
    found = inspect(data, LIMIT)
    assert (found.status, found.width, found.height, found.format) == (OK, 32, 24, form)
    assert pixel(data, 16, 12) == pytest.approx((200, 30, 30), abs=12)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am a text file", "not an image in a known format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "not an image in a known format"),
        (image_bytes(1)[:-900], "truncated"),
        (encode(Image.effect_noise((200, 200), 60), "JPEG")[:-3000], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not an image in a known format"),
    ],
)
def test_what_cannot_be_read_is_rejected_for_a_reason(data: bytes, reason: str) -> None:
    found = inspect(data, LIMIT)
    assert (found.status, found.reason) == (REJECTED, reason)
    with pytest.raises(RejectedError, match=reason):
        decode_rgb(data, LIMIT)


def test_a_decompression_bomb_is_rejected_before_it_is_decoded() -> None:
    found = inspect(encode(Image.new("1", (3000, 2000))), LIMIT)
    assert found.status == REJECTED
    assert found.reason == "too many pixels (3000 x 2000, limit 1,000,000)"
    assert (found.width, found.height) == (3000, 2000)


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("size", "short_side", "decoded"),
    [
        ((1030, 770), 256, (515, 385)),
        ((2060, 1540), 256, (515, 385)),
        ((2080, 2060), 256, (260, 258)),
        ((1031, 771), 256, (516, 386)),
        ((511, 900), 256, (511, 900)),
        ((40, 30), 256, (40, 30)),
    ],
)
def test_a_large_jpeg_is_decoded_at_the_smallest_scale_that_suffices(
    size: tuple[int, int], short_side: int, decoded: tuple[int, int]
) -> None:
    data = encode(photo(*size), "JPEG")
    height, width, _ = decode_pixels(data, 10**8, short_side).shape
    assert (width, height) == decoded


@pytest.mark.parametrize("size", [(1030, 770), (1200, 1900), (2300, 2060)])
def test_what_is_left_out_is_hardly_seen(size: tuple[int, int]) -> None:
    data = encode(photo(*size), "JPEG", quality=92)
    whole, reduced = (
        resize_and_crop(decode_pixels(data, 10**8, short_side), Preprocessing(256, 224, "bicubic", HALF, HALF))
        for short_side in (0, 256)
    )
    difference = np.abs(whole.astype(int) - reduced)
    assert difference.mean() < 3
    assert np.quantile(difference, 0.99) <= 32


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_both_decoders_see_the_same(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(60, 40).convert(mode), "JPEG", exif=exif.tobytes())
    np.testing.assert_array_equal(decode_pixels(data, LIMIT), np.asarray(decode_rgb(data, LIMIT)))


def test_where_one_decoder_gives_up_pillow_reduces_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(photo(1030, 770), "JPEG")
    fast = decode_pixels(data, 10**8, 256)
    monkeypatch.setattr("topwork.images.decode._decode_jpeg", lambda *_: None)
    np.testing.assert_array_equal(decode_pixels(data, 10**8, 256), fast)


def test_a_truncated_jpeg_is_rejected_by_either() -> None:
    data = encode(photo(600, 400), "JPEG")
    with pytest.raises(RejectedError, match="truncated"):
        decode_pixels(data[: len(data) // 2], LIMIT)
