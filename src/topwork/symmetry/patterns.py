"""Random coloured patterns of a wallpaper group."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from topwork.core.arrays import Floats
from topwork.symmetry.groups import GROUPS, WallpaperGroup
from topwork.symmetry.lattice import draw_cell
from topwork.symmetry.margin import sample_cell, symmetry_margin
from topwork.symmetry.motifs import Shape, Texture, covered, draw_shapes, draw_strokes, draw_texture

MOTIFS = ("texture", "shapes", "strokes")
MARGIN = 0.2
"""Smallest share of the variance (see `symmetry_margin`) that any further symmetry must leave unexplained."""

_TRIES = 200
_VISIBLE = 0.08  # smallest standard deviation of the colours: small spots on a plain background show no symmetry
_CONTRAST = 0.18  # smallest difference in luminance between consecutive colours of a palette


@dataclass(frozen=True)
class Layer:
    """Shapes in one colour ``[3]``, so that overlaps with their images do not show which shape is on top."""

    shapes: Sequence[Shape]
    colour: Floats


@dataclass(frozen=True)
class Pattern:
    """A function from the plane to colours that is invariant under ``group``.

    A texture is coloured along ``palette`` ``[k, 3]``; layers of shapes lie on it. ``basis`` ``[2, 2]`` holds the basis
    vectors of a cell of area 1 as columns.
    """

    group: WallpaperGroup
    motif: str
    basis: Floats
    palette: Floats
    texture: Texture | None
    layers: Sequence[Layer]

    def __call__(self, points: Floats) -> Floats:
        """RGB values ``[n, 3]`` from 0 to 1 at fractional coordinates ``[n, 2]``."""
        colours = np.repeat(self.palette[:1], len(points), axis=0).astype(points.dtype)
        if self.texture:
            level = (0.5 + 0.5 * np.tanh(self.texture(points))) * (len(self.palette) - 1)
            steps = np.arange(len(self.palette))
            colours = np.stack([np.interp(level, steps, channel) for channel in self.palette.T], axis=1)
        for layer in self.layers:
            share = covered(layer.shapes, self.group.operations, self.basis, points)[:, None]
            colours = colours + share * (layer.colour.astype(points.dtype) - colours)
        return colours


def draw_pattern(name: str, random: np.random.Generator) -> Pattern:
    """A random pattern of the named group, with a symmetry margin of at least `MARGIN` to any larger group.

    Raises:
        RuntimeError: no such pattern is found in `_TRIES` tries.

    """
    for _ in range(_TRIES):
        pattern = _draw(GROUPS[name], MOTIFS[random.integers(len(MOTIFS))], random)
        values = sample_cell(pattern)
        if values.std(axis=(0, 1)).max() >= _VISIBLE and symmetry_margin(values, pattern.group) >= MARGIN:
            return pattern
    raise RuntimeError(f"no pattern of {name} in {_TRIES} tries")


def _draw(group: WallpaperGroup, motif: str, random: np.random.Generator) -> Pattern:
    basis = draw_cell(group.system, random)
    palette = _draw_palette(random)
    if motif == "texture":
        return Pattern(group, motif, basis, palette, draw_texture(group, basis, random), ())
    draw: Callable[..., list[Shape]] = draw_shapes if motif == "shapes" else draw_strokes
    layers = [Layer(draw(group, basis, random), colour) for colour in palette[1 : random.integers(2, 5)]]
    return Pattern(group, motif, basis, palette, None, layers)


def _draw_palette(random: np.random.Generator) -> Floats:
    """Two to four colours ``[k, 3]`` of any hue; consecutive ones differ in luminance."""
    colours: list[Floats] = []
    wanted = random.integers(2, 5)
    while len(colours) < wanted:
        colour = np.array(colorsys.hsv_to_rgb(random.random(), random.uniform(0, 0.9), random.uniform(0.1, 1)))
        if not colours or abs(_luminance(colour) - _luminance(colours[-1])) >= _CONTRAST:
            colours.append(colour)
    return np.stack(colours)


def _luminance(colour: Floats) -> float:
    return float(colour @ np.array([0.299, 0.587, 0.114]))
