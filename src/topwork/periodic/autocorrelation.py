"""Correlation of an image with its own shifted copies."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_POWER_STEPS = 16
_START = (0.3, 0.6, 0.1)  # a weighting of red, green and blue that no common principal colour is orthogonal to
_DAMPING = 1e-3  # of the total variance: keeps the power iteration defined on images of one colour
_FLAT = 1e-6  # variance below which an image counts as flat


def principal_colour(images: Tensor) -> Tensor:
    """The projection ``[b, h, w]`` of RGB images ``[b, 3, h, w]`` on their direction of largest variance in colour.

    The mean is 0; the sign is arbitrary, and no correlation depends on it. The direction comes from a power iteration,
    because eigenvectors have no operator in ONNX.
    """
    centred = images.flatten(2)
    centred = centred - centred.mean(dim=2, keepdim=True)
    covariance = centred @ centred.transpose(1, 2) / centred.shape[2]
    damping = _DAMPING * covariance.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None] + 1e-12
    direction = images.new_tensor(_START)[None, :, None].expand(images.shape[0], 3, 1)
    for _ in range(_POWER_STEPS):
        direction = covariance @ direction + damping * direction
        direction = direction / direction.norm(dim=1, keepdim=True)
    return (direction.transpose(1, 2) @ centred).reshape(images.shape[0], *images.shape[2:])


def blurred(values: Tensor, deviation: float) -> Tensor:
    """The values ``[b, h, w]`` after a Gaussian blur of this standard deviation in pixels."""
    reach = math.ceil(3 * deviation)
    line = torch.exp(-(torch.arange(-reach, reach + 1, device=values.device) ** 2) / (2 * deviation**2))
    kernel = (line / line.sum()).to(values.dtype)
    rows = functional.conv2d(functional.pad(values[:, None], (reach, reach, 0, 0), "reflect"), kernel[None, None, None])
    columns = functional.pad(rows, (0, 0, reach, reach), "reflect")
    return functional.conv2d(columns, kernel[None, None, :, None])[:, 0]


def autocorrelation(values: Tensor, reach: int) -> Tensor:
    """Correlation coefficients ``[b, 2 * reach + 1, 2 * reach + 1]`` of values ``[b, h, w]`` and their shifted copies.

    The entry at row ``reach + y`` and column ``reach + x`` is the coefficient over the pixels that the image shares
    with its copy shifted by (x, y) pixels. Mean and variance are those of the shared pixels (Padfield 2012, masked
    normalised cross-correlation), here from sums over rectangles.
    """
    height, width = values.shape[1:]
    padded = (2 * height, 2 * width)
    power = torch.view_as_real(torch.fft.rfft2(values, padded)).square().sum(dim=-1)
    products = torch.fft.irfft2(torch.view_as_complex(torch.stack([power, 0 * power], dim=-1)), padded)
    products = torch.cat([products[:, -reach:], products[:, : reach + 1]], dim=1)
    products = torch.cat([products[:, :, -reach:], products[:, :, : reach + 1]], dim=2)
    pixels = _sums_of_shared(torch.ones_like(values[:1]), reach)
    sums, squares = _sums_of_shared(values, reach), _sums_of_shared(values**2, reach)
    variance = (squares - sums**2 / pixels).clamp_min(_FLAT)
    # the copy's sums over the shared pixels are the image's at the opposite shift
    covariance = products - sums * sums.flip((1, 2)) / pixels
    return covariance / (variance * variance.flip((1, 2))).sqrt()


def _sums_of_shared(values: Tensor, reach: int) -> Tensor:
    """Sums ``[b, 2 * reach + 1, 2 * reach + 1]`` of values ``[b, h, w]`` over the pixels shared with a shifted copy."""
    integral = functional.pad(values.cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    (top, bottom), (left, right) = (_shared(size, reach, values.device) for size in values.shape[1:])

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        return integral[:, rows][:, :, columns]

    return corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)


def _shared(size: int, reach: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """First and last (exclusive) of ``size`` pixels that lie in the copy shifted by -reach to reach."""
    shifts = torch.arange(-reach, reach + 1, device=device)
    return shifts.clamp(0, size), (size + shifts).clamp(0, size)
