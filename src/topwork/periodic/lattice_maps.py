"""The maps that a plane lattice can have besides its translations, and the correlation of a cell with its images.

In a reduced basis with an angle of 60 to 90 degrees these are four rotations and eight reflections: two of a
rectangular lattice, and three pairs of a rhombic one (International Tables for Crystallography A, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from topwork.core.arrays import Bools, Integers
from topwork.periodic.unit_cell import CELL

_TOLERANCE = 1  # points of the cell by which a shift may miss a symmetry element


@dataclass(frozen=True)
class LatticeMap:
    """A linear map of the lattice, ``matrix`` (four integers, row by row) on coordinates along the basis.

    ``along`` are two integers: a shift s (cell coordinates) keeps the square of a reflection a translation if
    ``along @ s`` is a whole number. In a rectangular lattice it is a mirror if ``mirror @ s`` is whole too, and a glide
    if it is a half; in a rhombic one (``mirror`` None) every reflection has both.
    """

    name: str
    matrix: tuple[int, int, int, int]
    along: tuple[int, int] | None = None
    mirror: tuple[int, int] | None = None
    is_long: bool = False
    """Whether the axis of a hexagonal lattice is a long diagonal of the cell, not one of the shortest translations."""


ROTATIONS = (
    LatticeMap("half turn", (-1, 0, 0, -1)),
    LatticeMap("quarter turn", (0, -1, 1, 0)),
    LatticeMap("third of a turn", (-1, -1, 1, 0)),
    LatticeMap("sixth of a turn", (0, -1, 1, 1)),
)
RECTANGULAR = (
    LatticeMap("axis along a", (1, 0, 0, -1), mirror=(1, 0)),
    LatticeMap("axis along b", (-1, 0, 0, 1), mirror=(0, 1)),
)
RHOMBIC = (
    LatticeMap("axis along a + b", (0, 1, 1, 0), along=(1, 1), is_long=True),
    LatticeMap("axis along a - b", (0, -1, -1, 0), along=(1, -1)),
    LatticeMap("axis along a, centred", (1, 1, 0, -1), along=(2, 1)),
    LatticeMap("axis across a, centred", (-1, -1, 0, 1), along=(0, 1), is_long=True),
    LatticeMap("axis along b, centred", (-1, 0, 1, 1), along=(1, 2)),
    LatticeMap("axis across b, centred", (1, 0, -1, -1), along=(1, 0), is_long=True),
)
MAPS = (*ROTATIONS, *RECTANGULAR, *RHOMBIC)


def correlation_maps(cells: Tensor) -> Tensor:
    """Correlations ``[b, 1 + len(MAPS), CELL, CELL]`` of cells ``[b, CELL, CELL]`` (mean 0) with their images.

    The first map is of the cell with itself. An entry belongs to a shift, in points along the basis vectors, after the
    linear map.
    """
    images = cells.flatten(1)[:, torch.from_numpy(_moved_points()).to(cells.device)]
    # in real numbers, because the ONNX exporter broadcasts no complex ones
    real, imaginary = torch.view_as_real(torch.fft.rfft2(cells))[:, None].unbind(-1)
    of_images = torch.view_as_real(torch.fft.rfft2(images.reshape(cells.shape[0], -1, CELL, CELL)))
    moved_real, moved_imaginary = of_images.unbind(-1)
    product = [moved_real * real + moved_imaginary * imaginary, moved_real * imaginary - moved_imaginary * real]
    products: Tensor = torch.fft.irfft2(torch.view_as_complex(torch.stack(product, dim=-1)), (CELL, CELL))
    energy = (cells**2).sum(dim=(1, 2)).clamp_min(1e-9)
    return products / energy[:, None, None, None]


def distortions(basis: Tensor) -> Tensor:
    """How far each map is from a motion of the plane, ``[b, len(MAPS)]``: the logarithm of its largest stretch.

    It is 0 if the lattice has this map as a symmetry.
    """
    matrices = torch.tensor([each.matrix for each in MAPS], dtype=basis.dtype, device=basis.device).reshape(-1, 2, 2)
    metric = basis.transpose(1, 2) @ basis  # scalar products of the basis vectors
    a, b, d = metric[:, 0, 0], metric[:, 0, 1], metric[:, 1, 1]
    inverse = torch.stack([torch.stack([d, -b], dim=1), torch.stack([-b, a], dim=1)], dim=1)
    inverse = inverse / (a * d - b * b).clamp_min(1e-9)[:, None, None]
    stretched = inverse[:, None] @ matrices.transpose(1, 2) @ metric[:, None] @ matrices
    # the matrix has determinant 1 and eigenvalues s^2 and 1 / s^2 for the stretch s, so that its trace gives s
    half_trace = stretched.diagonal(dim1=2, dim2=3).sum(dim=2).clamp_min(2) / 2
    return 0.5 * torch.log(half_trace + (half_trace**2 - 1).clamp_min(0).sqrt())


def shifts(each: LatticeMap, of: str) -> Bools:
    """The shifts ``[CELL, CELL]`` with which a reflection is a `mirror`, a `glide`, or (rhombic) `both` at once."""
    first, second = np.meshgrid(np.arange(CELL), np.arange(CELL), indexing="ij")
    weights = each.along or each.mirror
    assert weights is not None
    off = (weights[0] * first + weights[1] * second - (CELL // 2 if of == "glide" else 0)) % CELL
    return np.asarray(np.minimum(off, CELL - off) <= _TOLERANCE)


@cache
def _moved_points() -> Integers:
    """For the identity and each map, the point of the cell (row-major number) that each point is mapped to."""
    points = np.stack(np.meshgrid(np.arange(CELL), np.arange(CELL), indexing="ij"), axis=-1).reshape(-1, 2)
    moved = [(points @ np.reshape(matrix, (2, 2)).T) % CELL for matrix in ((1, 0, 0, 1), *(m.matrix for m in MAPS))]
    return np.stack([each[:, 0] * CELL + each[:, 1] for each in moved])
