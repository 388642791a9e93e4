"""A folder of odd and broken files, kind by kind, with what must become of each."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import encode
from topwork.images.heif import load_plugin

load_plugin()  # to write such files
RED, BLUE = (220, 30, 40), (30, 40, 210)
SIZE = (24, 16)
MAX_PIXELS, MAX_BYTES = 1_000_000, 4_000_000
"""The limits under which the folder is looked at."""


@dataclass(frozen=True)
class Kind:
    """A file, and what must become of it.

    ``reason`` is a regular expression for why it is rejected; empty: it is read, and shows ``left`` and ``right``
    within ``tolerance`` in the middle of its halves.
    """

    name: str
    write: Callable[[Path], None]
    reason: str = ""
    left: tuple[int, int, int] = RED
    right: tuple[int, int, int] = BLUE
    tolerance: int = 12


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def hostile_kinds() -> list[Kind]:
    """All kinds; each name is a file name of its own."""
    return [*_encodings(), *_oddities(), *_names(), *_rejected(), *_truncated(), *_not_files()]


def _encodings() -> Iterator[Kind]:  # noqa: PLR0915 (a list)
    rgb, white = picture(), (255, 255, 255)
    grey, bits = rgb.convert("L"), rgb.convert("L").point(lambda level: 255 * (level > 70)).convert("1")
    bright = tuple(int(grey.getpixel(at)) for at in ((2, 8), (20, 8)))  # type: ignore[arg-type]
    in_grey = {"left": (bright[0],) * 3, "right": (bright[1],) * 3}
    black_and_white = {"left": (255,) * 3, "right": (0,) * 3} if bright[0] > 70 else {"left": (0,) * 3, "right": white}
    palette = rgb.quantize(4)
    half_clear = Image.merge("RGBA", (*rgb.split(), Image.linear_gradient("L").resize(SIZE).point(lambda _: 0)))
    opaque = rgb.convert("RGBA")
    sixteen = Image.fromarray(np.asarray(grey, np.uint16) * 257)

    def saved(name: str, image: Image.Image, form: str, **options: object) -> Kind:
        shown = {key: options.pop(key) for key in ("left", "right", "tolerance") if key in options}
        return Kind(name, _bytes(encode(image, form, **options)), **shown)  # type: ignore[arg-type]

    yield saved("jpeg.jpg", rgb, "JPEG", quality=95, subsampling=0)
    yield saved("jpeg-subsampled.jpg", rgb, "JPEG", quality=90, subsampling=2, tolerance=25)
    yield saved("jpeg-progressive.jpg", rgb, "JPEG", quality=95, subsampling=0, progressive=True)
    yield saved("jpeg-grey.jpg", grey, "JPEG", quality=95, **in_grey)
    yield saved("jpeg-cmyk.jpg", rgb.convert("CMYK"), "JPEG", quality=95, subsampling=0)
    yield saved("mpo.jpg", rgb, "MPO", quality=95, subsampling=0, save_all=True, append_images=[Image.new("RGB", SIZE)])
    yield saved("png.png", rgb, "PNG", tolerance=0)
    yield saved("png-alpha.png", opaque, "PNG", tolerance=0)
    yield saved("png-invisible.png", half_clear, "PNG", left=white, right=white, tolerance=0)
    yield saved("png-palette.png", palette, "PNG")
    yield saved("png-palette-clear.png", palette, "PNG", transparency=palette.getpixel((2, 8)), left=white)
    yield saved("png-rgb-clear.png", rgb, "PNG", transparency=RED, left=white)
    yield saved("png-one-bit.png", bits, "PNG", tolerance=0, **black_and_white)
    yield saved("png-grey.png", grey, "PNG", tolerance=0, **in_grey)
    yield saved("png-grey-alpha.png", grey.convert("LA"), "PNG", tolerance=0, **in_grey)
    yield saved("png-sixteen-bits.png", sixteen, "PNG", tolerance=1, **in_grey)
    yield saved("apng.png", rgb, "PNG", save_all=True, append_images=[Image.new("RGB", SIZE)], tolerance=0)
    yield saved("gif.gif", rgb, "GIF")
    yield saved("gif-animated.gif", rgb, "GIF", save_all=True, append_images=[Image.new("RGB", SIZE)])
    yield saved("gif-clear.gif", palette, "GIF", transparency=palette.getpixel((2, 8)), left=white)
    yield saved("webp.webp", rgb, "WEBP", quality=95, tolerance=30)
    yield saved("webp-lossless.webp", opaque, "WEBP", lossless=True)
    yield saved("webp-animated.webp", rgb, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", SIZE)])
    yield saved("bmp.bmp", rgb, "BMP", tolerance=0)
    yield saved("bmp-palette.bmp", palette, "BMP")
    yield saved("bmp-one-bit.bmp", bits, "BMP", tolerance=0, **black_and_white)
    yield saved("tiff.tif", rgb, "TIFF", tolerance=0)
    yield saved("tiff-lzw.tiff", rgb, "TIFF", compression="tiff_lzw", tolerance=0)
    yield saved("tiff-deflate.tif", rgb, "TIFF", compression="tiff_deflate", tolerance=0)
    yield saved("tiff-jpeg.tif", rgb, "TIFF", compression="jpeg", quality=95, tolerance=30)
    yield saved("tiff-fax.tif", bits, "TIFF", compression="group4", tolerance=0, **black_and_white)
    yield saved("tiff-cmyk.tif", rgb.convert("CMYK"), "TIFF")
    yield saved("tiff-pages.tif", rgb, "TIFF", save_all=True, append_images=[Image.new("RGB", SIZE)], tolerance=0)
    yield saved("tiff-sixteen-bits.tif", sixteen, "TIFF", tolerance=1, **in_grey)
    yield saved("tiff-float.tif", Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF", tolerance=1, **in_grey)
    yield saved("tiff-big.tif", rgb, "TIFF", big_tiff=True, tolerance=0)
    yield saved("jpeg2000.jp2", rgb, "JPEG2000")
    yield saved("avif.avif", rgb, "AVIF", quality=95, subsampling="4:4:4", tolerance=25)
    yield saved("avif-alpha.avif", half_clear, "AVIF", quality=95, left=white, right=white)
    yield saved("heic.heic", rgb, "HEIF", quality=95, chroma=444, tolerance=25)
    yield saved("heic-grey.heic", grey, "HEIF", quality=95, **in_grey)
    yield saved("heic-alpha.heic", half_clear, "HEIF", quality=95, left=white, right=white)
    yield Kind("heic-ten-bits.heif", _bytes(_ten_bits(rgb)), tolerance=25)
    yield saved(
        "heic-thumbnail.heic", picture((480, 320)), "HEIF", quality=95, chroma=444, thumbnails=[64], tolerance=25
    )
    yield saved("heic-tiles.hif", picture((480, 320)), "HEIF", quality=95, chroma=444, tile_size=128, tolerance=25)
    burst = {"save_all": True, "append_images": [Image.new("RGB", SIZE)], "chroma": 444}
    yield saved("heic-burst.heic", rgb, "HEIF", quality=95, **burst, tolerance=25)
    yield saved("a-heic-called.jpg", rgb, "HEIF", quality=95, chroma=444, tolerance=25)
    yield saved("icon.ico", rgb.resize((32, 32)), "ICO", sizes=[(32, 32)])
    yield saved("pcx.pcx", rgb, "PCX", tolerance=0)
    yield saved("targa.tga", rgb, "TGA", tolerance=0)
    yield saved("pixmap.ppm", rgb, "PPM", tolerance=0)
    yield Kind("pixmap-text.ppm", _bytes(_text_pixmap(rgb)), tolerance=0)
    for orientation in range(2, 9):
        yield Kind(f"exif-{orientation}.jpg", _bytes(_turned(rgb, orientation)), tolerance=25)
        in_heic = _turned(rgb, orientation, "HEIF", chroma=444)
        yield Kind(f"turned-{orientation}.heic", _bytes(in_heic), tolerance=25)
        in_avif = _turned(rgb, orientation, "AVIF", subsampling="4:4:4")
        yield Kind(f"turned-{orientation}.avif", _bytes(in_avif), tolerance=25)
    avif = encode(rgb, "AVIF", quality=95, subsampling="4:4:4")
    yield Kind("avif-in-heif.heif", _bytes(avif[:8] + b"mif1" + avif[12:]), tolerance=25)


def _oddities() -> Iterator[Kind]:
    jpeg, png = encode(picture(), "JPEG", quality=95, subsampling=0), encode(picture())
    yield Kind("a-png-called.jpg", _bytes(png))
    yield Kind("a-jpeg-called.gif", _bytes(jpeg))
    yield Kind("SHOUTING.JPEG", _bytes(jpeg))
    yield Kind("no-ending", _bytes(png))
    yield Kind("notes.txt", _bytes(png))
    yield Kind("trailing-garbage.jpg", _bytes(jpeg + b"\0" * 500 + b"PK\3\4" + bytes(range(256))))
    yield Kind("trailing-garbage.png", _bytes(png + bytes(range(256))))
    yield Kind("leading-segments.jpg", _bytes(jpeg[:2] + _segment(0xFE, b"x" * 60_000) * 5 + jpeg[2:]))
    yield Kind("broken-exif.jpg", _bytes(jpeg[:2] + _segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff") + jpeg[2:]))
    yield Kind("exif-out-of-range.jpg", _bytes(_turned(picture(), 77)))
    yield Kind("broken-profile.jpg", _bytes(jpeg[:2] + _segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 99) + jpeg[2:]))
    yield Kind("broken-profile.png", _bytes(_with_chunk(png, b"iCCP", b"x\0\0" + b"\xff" * 40)))
    yield Kind("unknown-chunk.png", _bytes(_with_chunk(png, b"abCd", b"whatever")))
    yield Kind("long-text.png", _bytes(_with_chunk(png, b"tEXt", b"Comment\0" + b"y" * 300_000)))
    bomb = b"Comment\0\0" + zlib.compress(b"z" * 50_000_000)
    yield Kind("text-bomb.png", _bytes(_with_chunk(png, b"zTXt", bomb)), "damaged")
    yield Kind("one-pixel.png", _bytes(encode(Image.new("RGB", (1, 1), RED))), right=RED)
    yield Kind("one-row.png", _bytes(encode(picture((4000, 1)))))
    yield Kind("one-column.png", _bytes(encode(Image.new("RGB", (1, 4000), RED))), right=RED)


def _names() -> Iterator[Kind]:
    for name in (
        *("with space.png", " leading.png", "trailing.png ", "comma,quote'\".png", "new\nline.png", "tab\t.png"),
        *("back\\slash.png", "percent%20.png", "dollar$HOME.png", "-rf.png", "{brace}.png", "[1].png", "a=b.png"),
        *("ünïcödé.png", "日本語.png", "🙂.png", "e\u0301.png", "right\u202eleft.png", "x" * 250 + ".png", "con.png"),
    ):
        yield Kind(name, _bytes(encode(picture())), tolerance=0)


def _rejected() -> Iterator[Kind]:
    unknown, damaged = "not an image in a known format", "damaged|truncated|not an image in a known format"
    png, jpeg = encode(picture()), encode(picture(), "JPEG")
    random = np.random.default_rng(0).bytes(4096)
    for name, data in {
        "text.jpg": b"this is no image\n" * 20,
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9'/></svg>",
        "document.pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF",
        "archive.zip": b"PK\x05\x06" + b"\0" * 18,
        "film.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 200,
        "zeros.jpg": b"\0" * 4096,
        "ones.png": b"\xff" * 4096,
        "noise.gif": random,
        "old.db": b"\xd0\xcf\x11\xe0" + random[:500],
    }.items():
        yield Kind(name, _bytes(data), unknown)
    yield Kind("empty.jpg", _bytes(b""), "empty file")
    yield Kind("one-byte.png", _bytes(b"\x89"), unknown)
    yield Kind("signature-only.png", _bytes(png[:8]), damaged)
    yield Kind("signature-only.jpg", _bytes(jpeg[:3]), damaged)
    yield Kind("signature-only.gif", _bytes(b"GIF89a"), damaged)
    yield Kind("no-pixels.png", _bytes(_png_header(0, 0)), damaged)
    yield Kind("no-data.png", _bytes(_png_header(24, 16)), damaged)
    yield Kind("bad-checksum.png", _bytes(png[:29] + bytes([png[29] ^ 255]) + png[30:]), damaged)
    yield Kind("bad-data.png", _bytes(_spoilt_data(png)), damaged)
    yield Kind("no-scan.jpg", _bytes(jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9"), damaged)
    yield Kind("bomb.png", _bytes(_png_header(60_000, 60_000)), "too many pixels")
    yield Kind("packed-bomb.png", _bytes(encode(Image.new("1", (9000, 9000)))), "too many pixels")
    yield Kind("bomb.gif", _bytes(_gif_header(65535, 65535)), "too many pixels")
    yield Kind("bomb.bmp", _bytes(_bmp_header(1_000_000, 1_000_000)), "too many pixels")
    yield Kind("bomb.jp2", _bytes(_spoilt_size(encode(picture(), "JPEG2000"))), "too many pixels")
    heic, avif = encode(picture(), "HEIF"), encode(picture(), "AVIF")
    yield Kind("bomb.heic", _bytes(_spoilt_extent(heic, 60_000)), "too many pixels")
    yield Kind("bomb.avif", _bytes(_spoilt_extent(avif, 16_000)), "too many pixels")
    yield Kind("lying.heic", _bytes(_spoilt_extent(heic, 900)), "damaged .*does not have the size signaled")
    hidden = _spoilt_extent(encode(Image.new("RGB", (2000, 2000)), "HEIF"), 24)
    yield Kind("hidden-bomb.heic", _bytes(hidden), "damaged")
    yield Kind("signature-only.heic", _bytes(heic[:28]), "damaged header")
    yield Kind("looping.tif", _bytes(_looping_tiff()), damaged)
    yield Kind("sparse.jpg", _sparse(50 * MAX_BYTES), "too many bytes")
    yield Kind("just-too-long.jpg", _sparse(MAX_BYTES + 1), "too many bytes")


def _truncated() -> Iterator[Kind]:
    noisy = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF", "HEIF", "PPM", "TGA", "PCX", "ICO"):
        data = encode(noisy, form)
        for share in (0.3, 0.9):
            name = f"truncated-{form.lower()}-{share:.0%}.{form.lower()}"
            yield Kind(name, _bytes(data[: int(len(data) * share)]), "truncated|damaged|not an image in a known format")


def _not_files() -> Iterator[Kind]:
    yield Kind("link.png", _link_to_picture)
    yield Kind("dangling.png", lambda path: path.symlink_to("nowhere.png"), "file not found")
    yield Kind("itself.png", lambda path: path.symlink_to(path.name), "link that loops")
    yield Kind("device.png", lambda path: path.symlink_to("/dev/zero"), "not a regular file")
    yield Kind("pipe.png", os.mkfifo, "not a regular file")
    yield Kind("socket.png", _socket, "not a regular file")
    yield Kind("loop", lambda path: path.symlink_to("."), "link that loops")


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _sparse(size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return write


def _link_to_picture(path: Path) -> None:
    target = path.parent.parent / "elsewhere.png"
    target.write_bytes(encode(picture()))
    path.symlink_to(target)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    after_header = 8 + 25
    return png[:after_header] + _chunk(kind, content) + png[after_header:]


def _png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def _gif_header(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x4c\1\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + frame


def _bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _spoilt_data(png: bytes) -> bytes:
    at = png.index(b"IDAT") + 4
    return png[:at] + b"\0" * 12 + png[at + 12 :]


def _spoilt_size(jp2: bytes) -> bytes:
    at = jp2.index(b"ihdr") + 4
    return jp2[:at] + struct.pack(">II", 2**31, 2**31) + jp2[at + 8 :]


def _spoilt_extent(heif: bytes, side: int) -> bytes:
    """A HEIC or AVIF whose header claims another size."""
    at = heif.index(b"ispe") + 8
    return heif[:at] + struct.pack(">II", side, side) + heif[at + 8 :]


def _ten_bits(image: Image.Image) -> bytes:
    """A HEIC with ten bits a colour."""
    from pillow_heif import from_bytes

    values, file = np.asarray(image, np.uint16) * 257, io.BytesIO()
    from_bytes("RGB;16", image.size, values.tobytes()).save(file, quality=95, chroma=444)
    return file.getvalue()


def _looping_tiff() -> bytes:
    """A directory with no entries whose next directory is itself."""
    return b"II*\0" + struct.pack("<IHI", 8, 0, 8)


def _text_pixmap(image: Image.Image) -> bytes:
    values = np.asarray(image).reshape(-1)
    return f"P3\n# a comment\n{image.width} {image.height}\n255\n{' '.join(map(str, values))}\n".encode()


def _turned(image: Image.Image, orientation: int, form: str = "JPEG", **options: object) -> bytes:
    """The picture as a camera held otherwise stores it: upright again once its EXIF orientation is applied."""
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for step in undo.get(orientation, []):
        image = image.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, form, quality=95, exif=exif.tobytes(), **(options or {"subsampling": 0}))
