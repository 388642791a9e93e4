"""Photographs to measure on, rendered: as many as wanted, each with bytes of its own."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((500, 375), (375, 500), (500, 333), (500, 500))  # ImageNet's usual ones
_RENDERED = 64  # the others repeat these with another comment, so that they decode alike and hash differently
_CLASSES = 10
_QUALITY = 90


def render_folder(folder: Path, count: int, first: int = 0) -> Path:
    """Class folders with images number ``first`` to ``first + count - 1``; those that are there already stay."""
    bases = [_jpeg(seed) for seed in range(_RENDERED)]
    for number in range(first, first + count):
        path = folder / f"class-{number % _CLASSES}" / f"{number:07d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_commented(bases[number % _RENDERED], f"number {number}".encode()))
    return folder


def _jpeg(seed: int) -> bytes:
    """Noise with the spectrum of photographs (amplitude falls as the frequency), in three correlated colours."""
    generator = np.random.default_rng(seed)
    width, height = SIZES[seed % len(SIZES)]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(generator.normal(size=(3, height, width))) / frequency
    grey, *colours = np.fft.irfft2(spectrum, (height, width))
    channels = np.stack([grey, grey + 0.3 * colours[0], grey + 0.3 * colours[1]], axis=-1)
    pixels = np.clip(128 + 50 * channels / channels.std(), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _commented(jpeg: bytes, comment: bytes) -> bytes:
    """The same with a comment segment after the start-of-image marker."""
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
