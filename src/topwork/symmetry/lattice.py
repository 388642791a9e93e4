"""Random unit cells of a given lattice system."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topwork.core.arrays import Floats

# Ranges exclude the shapes of more symmetric systems: a rhombus of 90 degrees is square, one of 60 is hexagonal.
_SIDE_RATIO = (1.2, 1.7)
_OBLIQUE_ANGLE = (68.0, 82.0)  # degrees
_RHOMBIC_ANGLES = ((42.0, 54.0), (66.0, 82.0), (98.0, 114.0), (126.0, 138.0))


def draw_cell(system: str, random: np.random.Generator) -> Floats:
    """Basis vectors ``[2, 2]`` (columns) of a cell of area 1 of the lattice system, in a random orientation."""
    a, b, angle = _SHAPES[system](random)
    basis = np.array([[a, b * np.cos(np.radians(angle))], [0.0, b * np.sin(np.radians(angle))]])
    turn = random.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(rotation @ basis / np.sqrt(np.linalg.det(basis)))


def _oblique(random: np.random.Generator) -> tuple[float, float, float]:
    angle = random.uniform(*_OBLIQUE_ANGLE)
    return 1.0, random.uniform(*_SIDE_RATIO), angle if random.random() < 0.5 else 180 - angle


def _rectangular(random: np.random.Generator) -> tuple[float, float, float]:
    ratio = random.uniform(*_SIDE_RATIO)
    return (1.0, ratio, 90.0) if random.random() < 0.5 else (ratio, 1.0, 90.0)


def _rhombic(random: np.random.Generator) -> tuple[float, float, float]:
    low, high = _RHOMBIC_ANGLES[random.integers(len(_RHOMBIC_ANGLES))]
    return 1.0, 1.0, random.uniform(low, high)


_SHAPES: dict[str, Callable[[np.random.Generator], tuple[float, float, float]]] = {
    "oblique": _oblique,
    "rectangular": _rectangular,
    "rhombic": _rhombic,
    "square": lambda _: (1.0, 1.0, 90.0),
    "hexagonal": lambda _: (1.0, 1.0, 120.0),
}
