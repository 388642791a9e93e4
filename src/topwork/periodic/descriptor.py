"""A descriptor of periodic patterns: which rotations, mirrors and glides map the pattern onto itself, and how well.

It is an extractor of one's own (`backbone=python:topwork.periodic.descriptor:describe`): a linear head on it tells the
17 wallpaper groups apart, where features of networks for photographs fail. Symmetry is a relation between places, and
pooled features of a network hardly hold it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topwork.core.arrays import Floats
from topwork.periodic.lattice_maps import MAPS, RECTANGULAR, RHOMBIC, ROTATIONS, LatticeMap, shifts
from topwork.periodic.symmetry_maps import symmetry_maps
from topwork.periodic.unit_cell import CELL

_STEPS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Correlations around which the descriptor has a smooth step, so that a linear head can find its own threshold."""
_STEEPNESS = 20.0
_HALVES = ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5))


class PeriodicDescriptor:
    """Vectors ``[b, 163]`` of RGB pixels ``[b, h, w, 3]`` (uint8), which show a pattern of a few cells per side."""

    version = "1"
    image_size = 128
    batched = True

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """One vector per image, in float32; independent of the other images."""
        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
            return describe_symmetry(images).numpy()


def describe_symmetry(images: Tensor) -> Tensor:
    """The descriptor ``[b, d]`` of RGB images ``[b, 3, h, w]``."""
    maps, basis = symmetry_maps(images)
    found = _symmetries(maps)
    steps = [torch.sigmoid(_STEEPNESS * (found - step)) for step in _STEPS]
    return torch.cat([found, *steps, _shape(basis)], dim=1)


def _symmetries(maps: Tensor) -> Tensor:
    """The largest correlation of the cell with its images under each kind of symmetry, ``[b, k]``.

    Reflections are sorted by correlation within their kind, because the names of the basis vectors are arbitrary.
    """
    numbers = {each.name: number for number, each in enumerate(MAPS, start=1)}

    def largest(each: LatticeMap, of: str | None = None) -> Tensor:
        values = maps[:, numbers[each.name]].flatten(1)
        return (values if of is None else values[:, torch.from_numpy(shifts(each, of).ravel())]).amax(dim=1)

    cell = maps[:, 0]
    halves = [cell[:, round(first * CELL), round(second * CELL)] for first, second in _HALVES]
    axes = torch.stack([torch.stack([largest(each, of) for of in ("mirror", "glide")], 1) for each in RECTANGULAR], 1)
    order = axes.amax(dim=2).argsort(dim=1, descending=True)
    rectangular = axes.gather(1, order[:, :, None].expand(-1, -1, 2)).flatten(1)  # mirror and glide of each axis
    rhombic = [
        torch.stack([largest(each, "both") for each in RHOMBIC if each.is_long in lengths], dim=1).sort(1, True).values
        for lengths in ((False, True), (False,), (True,))
    ]
    return torch.cat([torch.stack([*map(largest, ROTATIONS), *halves], dim=1), rectangular, *rhombic], dim=1)


def _shape(basis: Tensor) -> Tensor:
    """Shape of the cell ``[b, 2]``: logarithm of the ratio of the sides, and cosine of the angle."""
    first, second = basis[:, :, 0].norm(dim=1), basis[:, :, 1].norm(dim=1)
    cosine = (basis[:, :, 0] * basis[:, :, 1]).sum(dim=1) / (first * second)
    return torch.stack([torch.log(second / first), cosine], dim=1)


describe = PeriodicDescriptor()
