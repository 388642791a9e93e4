"""From an image of a periodic pattern to the correlations of its unit cell with the images under all lattice maps."""

from __future__ import annotations

import torch
from torch import Tensor

from topwork.periodic.autocorrelation import autocorrelation, blurred, principal_colour
from topwork.periodic.lattice_maps import correlation_maps, distortions
from topwork.periodic.unit_cell import find_lattice, mean_cell

_BLUR = 0.8  # pixels: suppresses noise
_REACH = 0.625  # largest shift of the autocorrelation, as a share of the side
_SHORTEST = 0.08  # shortest translation, as a share of the side
_DISTORTION = 0.1  # logarithmic stretch at which a map counts a third: perspective distorts lattices by a few per cent


def symmetry_maps(images: Tensor) -> tuple[Tensor, Tensor]:
    """Maps ``[b, 1 + len(MAPS), CELL, CELL]`` of RGB images ``[b, 3, h, w]``, and their bases ``[b, 2, 2]`` in pixels.

    A map holds the correlations of the pattern's cell with its image under one lattice map, for every shift. Maps that
    are not motions of this lattice are lowered. The unit of the images does not matter.
    """
    values = blurred(principal_colour(images), _BLUR)
    side = min(values.shape[1:])
    basis = find_lattice(autocorrelation(values, round(_REACH * side)), _SHORTEST * side)
    maps = correlation_maps(mean_cell(values, basis))
    motion = torch.exp(-((distortions(basis) / _DISTORTION) ** 2))
    return torch.cat([maps[:, :1], maps[:, 1:] * motion[:, :, None, None]], dim=1), basis
