"""Renders any number of patterns as images, from a seed, on all cores."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from topwork.core.arrays import Floats
from topwork.core.progress import report_progress
from topwork.symmetry.groups import GROUPS
from topwork.symmetry.patterns import draw_pattern

_CHUNK = 25  # images per task


@dataclass(frozen=True)
class Difficulty:
    """Largest effects of a camera; each effect is drawn between 0 and its value, and all 0 gives the pattern itself.

    ``noise`` is a standard deviation in units of the full range, ``blur`` is a standard deviation in pixels,
    ``perspective`` is the largest shift of an image corner per axis as a share of the side, ``contrast`` is the largest
    loss of contrast.
    """

    noise: float = 0.0
    blur: float = 0.0
    perspective: float = 0.0
    contrast: float = 0.0


@dataclass(frozen=True)
class Rendering:
    """Square images of ``size`` pixels; a cell's width is between the two ``cell`` values, as shares of the side."""

    size: int
    cell: tuple[float, float]
    seed: int
    difficulty: Difficulty = Difficulty()  # none


def render_image(group: str, number: int, rendering: Rendering) -> NDArray[np.uint8]:
    """Pixels ``[size, size, 3]`` of the ``number``-th image of the group; they depend on the arguments only."""
    random = np.random.default_rng([rendering.seed, list(GROUPS).index(group), number])
    pattern = draw_pattern(group, random)
    width = rendering.size * random.uniform(*rendering.cell)
    pixels = _seen(_pixel_centres(rendering.size), rendering, random)
    points = pixels @ np.linalg.inv(pattern.basis * width).T + random.random(2)
    image = pattern(points.astype(np.float32)).reshape(rendering.size, rendering.size, 3)
    return np.asarray(_photographed(image, rendering.difficulty, random) * 255 + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class RenderedFiles:
    """PNG files by relative name (`group/number.png`), rendered on all cores while they are iterated over."""

    groups: Sequence[str]
    per_group: int
    rendering: Rendering

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        wanted = [(group, number) for group in self.groups for number in range(self.per_group)]
        chunks = [wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK)]
        tasks = (delayed(_render_chunk)(chunk, self.rendering) for chunk in chunks)
        done = 0
        report_progress("rendering", 0, len(wanted), "images")
        for files in Parallel(n_jobs=cpu_count(), return_as="generator")(tasks):
            yield from files
            done += len(files)
            report_progress("rendering", done, len(wanted), "images")


def _render_chunk(wanted: Sequence[tuple[str, int]], rendering: Rendering) -> list[tuple[str, bytes]]:
    return [(f"{group}/{number:05d}.png", _png(render_image(group, number, rendering))) for group, number in wanted]


def _pixel_centres(size: int) -> Floats:
    """Positions ``[size * size, 2]`` (x, y) from the centre of the image, in pixels."""
    line = np.arange(size) + 0.5 - size / 2
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def _seen(pixels: Floats, rendering: Rendering, random: np.random.Generator) -> Floats:
    """Position ``[n, 2]`` in the plane of each pixel, after a random projective map as strong as ``perspective``."""
    half = rendering.size / 2
    corners = half * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    moved = corners + random.uniform(-1, 1, (4, 2)) * rendering.difficulty.perspective * rendering.size
    rows, sides = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        sides += [u, v]
    homography = np.append(np.linalg.solve(rows, sides), 1).reshape(3, 3)
    projected = np.column_stack([pixels, np.ones(len(pixels))]) @ homography.T
    return np.asarray(projected[:, :2] / projected[:, 2:])


def _photographed(image: Floats, difficulty: Difficulty, random: np.random.Generator) -> Floats:
    contrast, blur, noise = random.random(3) * (difficulty.contrast, difficulty.blur, difficulty.noise)
    image = image.mean() + (image - image.mean()) * (1 - contrast)
    image = gaussian_filter(image, (blur, blur, 0), mode="nearest") if blur else image
    return np.asarray(np.clip(image + noise * random.standard_normal(image.shape, dtype=np.float32), 0, 1))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
