"""The 17 plane symmetry groups as data: lattice system and general positions in a primitive basis.

General positions follow the International Tables for Crystallography A, section 6. The two centred groups are given in
the basis of their rhombic primitive cell, so that every group consists of translations by whole basis vectors and a few
operations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from topwork.core.arrays import Floats, Integers

_GENERAL_POSITIONS = {
    "p1": ("oblique", "x,y"),
    "p2": ("oblique", "x,y; -x,-y"),
    "pm": ("rectangular", "x,y; -x,y"),
    "pg": ("rectangular", "x,y; -x,y+1/2"),
    "cm": ("rhombic", "x,y; y,x"),
    "pmm": ("rectangular", "x,y; -x,-y; -x,y; x,-y"),
    "pmg": ("rectangular", "x,y; -x,-y; -x+1/2,y; x+1/2,-y"),
    "pgg": ("rectangular", "x,y; -x,-y; -x+1/2,y+1/2; x+1/2,-y+1/2"),
    "cmm": ("rhombic", "x,y; -x,-y; y,x; -y,-x"),
    "p4": ("square", "x,y; -x,-y; -y,x; y,-x"),
    "p4m": ("square", "x,y; -x,-y; -y,x; y,-x; -x,y; x,-y; y,x; -y,-x"),
    "p4g": (
        "square",
        "x,y; -x,-y; -y,x; y,-x; -x+1/2,y+1/2; x+1/2,-y+1/2; y+1/2,x+1/2; -y+1/2,-x+1/2",
    ),
    "p3": ("hexagonal", "x,y; -y,x-y; -x+y,-x"),
    "p3m1": ("hexagonal", "x,y; -y,x-y; -x+y,-x; -y,-x; -x+y,y; x,x-y"),
    "p31m": ("hexagonal", "x,y; -y,x-y; -x+y,-x; y,x; x-y,-y; -x,-x+y"),
    "p6": ("hexagonal", "x,y; -y,x-y; -x+y,-x; -x,-y; y,-x+y; x-y,x"),
    "p6m": (
        "hexagonal",
        "x,y; -y,x-y; -x+y,-x; -x,-y; y,-x+y; x-y,x; -y,-x; -x+y,y; x,x-y; y,x; x-y,-y; -x,-x+y",
    ),
}


@dataclass(frozen=True)
class Operation:
    """``u -> linear @ u + shift`` on fractional coordinates; ``linear`` ``[2, 2]`` of integers, ``shift`` ``[2]``."""

    linear: Integers
    shift: Floats

    def __call__(self, points: Floats) -> Floats:
        """Images ``[n, 2]`` of ``points`` ``[n, 2]``."""
        return points @ self.linear.T + self.shift


@dataclass(frozen=True)
class WallpaperGroup:
    """A plane symmetry group: translations by whole basis vectors, and its general positions within a cell."""

    name: str
    system: str
    positions: str

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """One operation for each general position, the identity first."""
        return tuple(parse_position(position) for position in self.positions.split(";"))

    @cached_property
    def point_group(self) -> frozenset[tuple[int, ...]]:
        """The linear parts, each as four integers row by row."""
        return frozenset(tuple(operation.linear.ravel().tolist()) for operation in self.operations)


def parse_position(position: str) -> Operation:
    """The operation that a coordinate pair such as ``-x+1/2,x-y`` stands for.

    Raises:
        ValueError: it is not such a pair.

    """
    parts = position.replace(" ", "").split(",")
    if len(parts) != 2 or any(not re.fullmatch(r"([+-]?(x|y|\d+/\d+))+", part) for part in parts):
        raise ValueError(f"no general position: {position!r}")
    linear, shift = np.zeros((2, 2), int), np.zeros(2)
    for row, part in enumerate(parts):
        for sign, term in re.findall(r"([+-]?)(x|y|\d+/\d+)", part):
            factor = -1 if sign == "-" else 1
            if term in "xy":
                linear[row, "xy".index(term)] += factor
            else:
                shift[row] += factor * float(Fraction(term))
    return Operation(linear, shift)


GROUPS = {name: WallpaperGroup(name, *given) for name, given in _GENERAL_POSITIONS.items()}
"""The groups by name, in the order of the International Tables."""
