"""Measures how clearly a pattern lacks any symmetry beyond its group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topwork.core.arrays import Floats
from topwork.symmetry.groups import GROUPS, WallpaperGroup

_GRID = 24  # grid points per side for the search of symmetries: divisible by 2, 3 and 4
_STEPS = np.stack(np.meshgrid(*[np.arange(_GRID)] * 2, indexing="ij"), -1).reshape(-1, 2)
_FINER = np.array([(x * _GRID // n, y * _GRID // n) for n in (2, 3) for x in range(n) for y in range(n) if x or y])
_LATTICE_MAPS = sorted(GROUPS["p4m"].point_group | GROUPS["p6m"].point_group)


def sample_cell(pattern: Callable[[Floats], Floats]) -> Floats:
    """Values ``[g, g, 3]`` of a pattern on a regular grid over its cell."""
    return pattern(_STEPS / _GRID).reshape(_GRID, _GRID, -1)


def symmetry_margin(values: Floats, group: WallpaperGroup) -> float:
    """Distance of a pattern, sampled over its cell, from any symmetry beyond its group: 0 if it has one, at most 1.

    It is 1 minus the largest correlation of the pattern with an image of itself. The images are those under
    translations by a half or a third of a lattice vector (the finer lattices of index 2 and 3), and under every linear
    map of a square or hexagonal lattice onto itself that is not in the point group, with any centre or axis (the groups
    on the same lattice, even if the cell's shape forbids them).
    """
    centred = values - values.mean(axis=(0, 1))
    further = [np.eye(2, dtype=int), *(np.reshape(m, (2, 2)) for m in _LATTICE_MAPS if m not in group.point_group)]
    at = np.stack([(_STEPS @ linear.T) % _GRID for linear in further])
    images = centred[at[..., 0], at[..., 1]].reshape(len(further), _GRID, _GRID, -1)
    # the correlations of all shifts at once
    products = np.fft.rfft2(images, axes=(1, 2)) * np.fft.rfft2(centred, axes=(0, 1)).conj()
    correlations = np.fft.irfft2(products.sum(axis=3), s=(_GRID, _GRID)) / (centred**2).sum()
    finer = correlations[0][_FINER[:, 0], _FINER[:, 1]]
    return float(1 - max(finer.max(), correlations[1:].max(initial=-1)))
