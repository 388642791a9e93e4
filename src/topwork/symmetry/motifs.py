"""Motifs of a pattern: band-limited textures and soft-edged shapes and strokes, made invariant under a group.

All functions take fractional coordinates ``[n, 2]`` of the group's cell and are defined everywhere in the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from topwork.core.arrays import Floats
from topwork.symmetry.groups import Operation, WallpaperGroup

EDGE = 0.03
"""Width of a shape's soft edge, in units of the square root of the cell's area."""

_LONGEST_WAVE, _SHORTEST_WAVE = 2.0, 0.28  # in the same units

Distance = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Texture:
    """A real Fourier series: ``spectrum`` ``[2 m + 1, 2 m + 1]`` (complex) over the frequencies -m to m."""

    spectrum: Floats

    def __call__(self, points: Floats) -> Floats:
        """Values ``[n]`` with mean 0 and variance 1 over the cell."""
        most = len(self.spectrum) // 2
        lowest = np.exp(2j * np.pi * points.T)  # [2, n], in the points' own precision
        half = np.cumprod(np.broadcast_to(lowest, (most, *lowest.shape)), axis=0)
        waves = np.concatenate([half[::-1].conj(), np.ones_like(half[:1]), half])  # [2 m + 1, 2, n]
        inner = self.spectrum.T.astype(waves.dtype) @ waves[:, 0]
        return np.asarray(np.einsum("hn,hn->n", inner, waves[:, 1]).real)


@dataclass(frozen=True)
class Shape:
    """A figure around ``centre`` (fractional) that lies within the radius ``reach``.

    ``distance`` maps points ``[n, 2]`` (Cartesian, from the centre) to their signed distances ``[n]`` from its edge.
    """

    centre: Floats
    reach: float
    distance: Distance


def draw_texture(group: WallpaperGroup, basis: Floats, random: np.random.Generator) -> Texture:
    """Random waves in all directions, averaged over the group's operations."""
    most = int(np.ceil(np.linalg.norm(basis, axis=0).max() / _SHORTEST_WAVE))
    frequencies = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 2, indexing="ij"), -1).reshape(-1, 2)
    length = np.linalg.norm(frequencies @ np.linalg.inv(basis), axis=1)
    kept = (length >= 1 / _LONGEST_WAVE) & (length <= 1 / _SHORTEST_WAVE)
    amplitude = np.where(kept, np.maximum(length, 1e-9) ** -random.uniform(0.3, 1.2), 0)
    drawn = amplitude * (random.normal(size=len(length)) + 1j * random.normal(size=len(length)))
    spectrum = np.zeros((2 * most + 1,) * 2, complex)
    for operation in group.operations:
        # exp(2 pi i h (W u + w)) is the wave of frequency W' h, shifted in phase
        moved = frequencies[kept] @ operation.linear + most
        np.add.at(spectrum, tuple(moved.T), drawn[kept] * np.exp(2j * np.pi * frequencies[kept] @ operation.shift))
    real = (spectrum + spectrum[::-1, ::-1].conj()) / 2
    return Texture(real / np.sqrt((abs(real) ** 2).sum()))


def draw_shapes(group: WallpaperGroup, basis: Floats, random: np.random.Generator) -> list[Shape]:
    """Two to four ellipses and polygons at random positions."""
    size = _unit_size(group) * random.uniform(0.5, 0.9)
    reaches = np.minimum(size * random.uniform(0.5, 1.1, random.integers(2, 5)), _widest(basis))
    makers = (_ellipse, _polygon)
    return [Shape(random.random(2), reach, makers[random.integers(2)](reach, random)) for reach in reaches]


def draw_strokes(group: WallpaperGroup, basis: Floats, random: np.random.Generator) -> list[Shape]:
    """One or two random pen lines, each as a chain of short strokes with round ends."""
    size, shapes = _unit_size(group), []
    for _ in range(random.integers(1, 3)):
        tip, heading = random.random(2) @ basis.T, random.uniform(0, 2 * np.pi)
        pen = size * random.uniform(0.05, 0.12)
        bend = random.normal(0, 0.5)
        for _ in range(random.integers(4, 8)):
            length = min(size * random.uniform(0.15, 0.4), 1.9 * (_widest(basis) - pen - EDGE))
            heading += bend + random.normal(0, 0.5)
            half = 0.5 * length * np.array([np.cos(heading), np.sin(heading)])
            centre = np.linalg.solve(basis, tip + half)
            shapes.append(Shape(centre, float(length / 2 + pen), _capsule(half, pen)))
            tip = tip + 2 * half
    return shapes


def covered(shapes: Sequence[Shape], operations: Sequence[Operation], basis: Floats, points: Floats) -> Floats:
    """Coverage ``[n]`` of each point by the shapes and all their images, from 0 to 1."""
    result = np.zeros(len(points), points.dtype)
    (xx, xy), (_, yy) = (basis.T @ basis).astype(points.dtype).tolist()
    for operation in operations:
        across, along = operation(points).astype(points.dtype).T
        for shape in shapes:
            x, y = across - float(shape.centre[0]), along - float(shape.centre[1])
            x -= np.rint(x)
            y -= np.rint(y)
            near = np.flatnonzero((xx * x + 2 * xy * y) * x + yy * y * y < (shape.reach + EDGE) ** 2)
            cartesian = np.stack([x[near], y[near]], axis=1) @ basis.T.astype(points.dtype)
            inside = np.clip(0.5 - shape.distance(cartesian) / EDGE, 0, 1)
            result[near] = np.maximum(result[near], inside)
    return result


def _unit_size(group: WallpaperGroup) -> float:
    """Width of a motif; it shrinks less than the asymmetric unit, so that size alone does not reveal the group."""
    return float(0.8 * len(group.operations) ** -0.35)


def _widest(basis: Floats) -> float:
    """Largest reach at which only the image nearest in fractional coordinates can cover a point."""
    return float(np.abs(np.linalg.det(basis)) / np.linalg.norm(basis, axis=0).max() / 2 - EDGE)


def _ellipse(reach: float, random: np.random.Generator) -> Distance:
    turn, axes = _rotation(random), np.array([reach, reach * random.uniform(0.35, 0.7)])

    def distance(points: Floats) -> Floats:
        # first-order distance: exact on the edge, and used only there
        scaled = points @ turn.astype(points.dtype) / axes.astype(points.dtype)
        norm = np.linalg.norm(scaled, axis=1)
        slope = np.linalg.norm(scaled / axes.astype(points.dtype), axis=1)
        return np.asarray(norm * (norm - 1) / np.maximum(slope, 1e-9))

    return distance


def _polygon(reach: float, random: np.random.Generator) -> Distance:
    corners = int(random.integers(3, 6))
    angles = 2 * np.pi * (np.arange(corners) + random.uniform(-0.3, 0.3, corners)) / corners + random.uniform(0, 6.3)
    normals = np.stack([np.cos(angles), np.sin(angles)])
    sides = reach * random.uniform(0.3, 0.8, corners)

    def distance(points: Floats) -> Floats:
        planes = (points @ normals.astype(points.dtype) - sides.astype(points.dtype)).max(axis=1)
        return np.asarray(np.maximum(planes, np.linalg.norm(points, axis=1) - reach))

    return distance


def _capsule(half: Floats, pen: float) -> Distance:
    def distance(points: Floats) -> Floats:
        along = np.clip(points @ half.astype(points.dtype) / (half @ half), -1, 1).astype(points.dtype)
        return np.asarray(np.linalg.norm(points - along[:, None] * half.astype(points.dtype), axis=1) - pen)

    return distance


def _rotation(random: np.random.Generator) -> Floats:
    angle = random.uniform(0, 2 * np.pi)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
