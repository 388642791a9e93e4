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
from topwork.periodic.autocorrelation import autocorrelation, blurred, principal_colour
from topwork.periodic.lattice_maps import (
    MAPS,
    RECTANGULAR,
    RHOMBIC,
    ROTATIONS,
    LatticeMap,
    correlation_maps,
    distortions,
    shifts,
)
from topwork.periodic.unit_cell import find_lattice, mean_cell

_BLUR = 0.8  # pixels: suppresses noise
_REACH = 0.625  # largest shift of the autocorrelation, as a share of the side
_SHORTEST = 0.08  # shortest translation, as a share of the side
_DISTORTION = 0.1  # logarithmic stretch at which a map counts a third: perspective distorts lattices by a few per cent
_STEPS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Correlations around which the descriptor has a smooth step, so that a linear head can find its own threshold."""
_STEEPNESS = 20.0
_HALVES = ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5))


class PeriodicDescriptor:
    """Vectors ``[b, 160]`` of RGB pixels ``[b, h, w, 3]`` (uint8), which show a pattern of a few cells per side."""

    version = "1"
    image_size = 128
    batched = True

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """One vector per image, in float32; independent of the other images."""
        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
            return describe_symmetry(images).numpy()


def describe_symmetry(images: Tensor) -> Tensor:
    """The descriptor ``[b, d]`` of RGB images ``[b, 3, h, w]`` with values from 0 to 1."""
    values = blurred(principal_colour(images), _BLUR)
    side = min(values.shape[1:])
    correlations = autocorrelation(values, round(_REACH * side))
    basis = find_lattice(correlations, _SHORTEST * side)
    found = _symmetries(correlation_maps(mean_cell(values, basis)), basis)
    steps = [torch.sigmoid(_STEEPNESS * (found - step)) for step in _STEPS]
    return torch.cat([found, *steps, _shape(basis)], dim=1)


def _symmetries(maps: Tensor, basis: Tensor) -> Tensor:
    """The largest correlation of the cell with its images under each kind of symmetry, ``[b, k]``.

    Correlations of maps that are not motions of this lattice are lowered. Reflections are sorted by correlation within
    their kind, because the names of the basis vectors are arbitrary.
    """
    motion = torch.exp(-((distortions(basis) / _DISTORTION) ** 2))
    best = {each.name: number for number, each in enumerate(MAPS)}

    def largest(name: str, mask: Tensor | None = None) -> Tensor:
        number = best[name]
        values = maps[:, 1 + number].flatten(1)
        return motion[:, number] * (values if mask is None else values[:, mask]).amax(dim=1)

    rotations = [largest(each.name) for each in ROTATIONS]
    axes = torch.stack(
        [torch.stack([largest(each.name, _mask(each, of)) for of in ("mirror", "glide")], 1) for each in RECTANGULAR], 1
    )  # [b, 2 axes, mirror and glide]
    order = axes.amax(dim=2).argsort(dim=1, descending=True)
    rectangular = axes.gather(1, order[:, :, None].expand(-1, -1, 2)).flatten(1)
    rhombic = {each.name: largest(each.name, _mask(each, "both")) for each in RHOMBIC}
    of_lengths = [
        torch.stack([rhombic[each.name] for each in RHOMBIC if each.is_long in lengths], dim=1).sort(1, True).values
        for lengths in ((False, True), (False,), (True,))
    ]
    cell = maps[:, 0]
    halves = [cell[:, round(first * cell.shape[1]), round(second * cell.shape[2])] for first, second in _HALVES]
    return torch.cat([torch.stack([*rotations, *halves], dim=1), rectangular, *of_lengths], dim=1)


def _mask(each: LatticeMap, of: str) -> Tensor:
    return torch.from_numpy(shifts(each, of).ravel())


def _shape(basis: Tensor) -> Tensor:
    """Shape of the cell ``[b, 2]``: logarithm of the ratio of the sides, and cosine of the angle."""
    first, second = basis[:, :, 0].norm(dim=1), basis[:, :, 1].norm(dim=1)
    cosine = (basis[:, :, 0] * basis[:, :, 1]).sum(dim=1) / (first * second)
    return torch.stack([torch.log(second / first), cosine], dim=1)


describe = PeriodicDescriptor()
