"""Augmented views of an image batch: one grid sample for geometry, one matrix for colour, own draws for each image."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from topwork.images.views import DRAWN_COLUMNS

_PADDING = {"mirror": "reflection", "edge": "border", "grey": "zeros"}
_LUMINANCE = (0.299, 0.587, 0.114)
_BLUR_REACH = 3  # standard deviations


def apply_views(canvases: NDArray[np.uint8], drawn: pd.DataFrame, fill: str, size: int) -> NDArray[np.uint8]:
    """Views ``[b, size, size, 3]`` of square images ``[b, s, s, 3]``, by the rows of ``drawn``.

    Without any change a view is the central ``size`` pixels. The margin around them is part of the image; ``fill`` is
    used only outside the image.
    """
    draws = {name: torch.tensor(drawn[name].to_numpy(np.float32)) for name in DRAWN_COLUMNS}
    images = torch.from_numpy(canvases).permute(0, 3, 1, 2).float() / 255
    images = _recoloured(_sampled(images, draws, fill, size), draws)
    images = _erased(_blurred(images, draws["blur"] * size), draws)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def view_crops(canvases: NDArray[np.uint8], drawn: pd.DataFrame, fill: str, size: int) -> NDArray[np.uint8]:
    """Views ``[b, k, size, size, 3]`` of the k crops ``[b, k, s, s, 3]`` of each image, all by its row of ``drawn``."""
    by_crop = (np.ascontiguousarray(canvases[:, place]) for place in range(canvases.shape[1]))
    return np.stack([apply_views(each, drawn, fill, size) for each in by_crop], axis=1)


def _sampled(images: Tensor, draws: dict[str, Tensor], fill: str, size: int) -> Tensor:
    grid = functional.affine_grid(_source_of_views(draws), [len(images), 3, size, size], align_corners=False)
    grid = grid * (size / images.shape[-1])  # from half sides of the view to half sides of the canvas
    grey = 0.5 if fill == "grey" else 0.0
    return functional.grid_sample(images - grey, grid, "bilinear", _PADDING[fill], align_corners=False) + grey


def _source_of_views(draws: dict[str, Tensor]) -> Tensor:
    """Affine maps ``[b, 2, 3]`` from positions in the view to the positions in the image that are shown there."""
    angle, slant = torch.deg2rad(draws["angle"]), torch.tan(torch.deg2rad(draws["shear"]))
    kept, stretch = draws["kept"].sqrt(), draws["aspect"].sqrt()
    across, along = kept * stretch / draws["zoom"], kept / stretch / draws["zoom"]
    cos, sin = torch.cos(angle), torch.sin(angle)
    # rotation @ shear @ scale @ mirror, column by column
    first = torch.stack([cos * across, sin * across]) * draws["mirror_x"]
    second = torch.stack([(cos * slant - sin) * along, (sin * slant + cos) * along]) * draws["mirror_y"]
    shift = [
        2 * draws["shift_x"] + (1 - kept) * draws["kept_x"],
        2 * draws["shift_y"] + (1 - kept) * draws["kept_y"],
    ]
    return torch.stack([first, second, torch.stack(shift)]).permute(2, 1, 0)


def _recoloured(images: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Images with changed brightness, then contrast around the mean luminance, then saturation.

    All three are one matrix and one offset per image.
    """
    weights = torch.tensor(_LUMINANCE)
    saturation = draws["saturation"][:, None, None]
    matrix = saturation * torch.eye(3) + (1 - saturation) * weights.expand(3, 3)
    gain = draws["brightness"] * draws["contrast"]
    mean = torch.einsum("bchw,c->b", images, weights) / images[0, 0].numel()
    offset = (1 - draws["contrast"]) * draws["brightness"] * mean
    return torch.einsum("bij,bjhw->bihw", matrix * gain[:, None, None], images) + offset[:, None, None, None]


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    if not bool((sigma > 0).any()):
        return images
    reach = max(1, math.ceil(_BLUR_REACH * float(sigma.max())))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)[:, None]  # [3 b, 1, k]
    flat = functional.pad(images.reshape(1, -1, *images.shape[2:]), [reach] * 4, "reflect")
    flat = functional.conv2d(flat, kernel[:, :, None], groups=len(kernel))
    return functional.conv2d(flat, kernel[..., None], groups=len(kernel)).reshape(images.shape)


def _erased(images: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Images with one rectangle each that is filled with the image's mean colour."""
    if not bool((draws["erased"] > 0).any()):
        return images
    size = images.shape[-1]
    place = (2 * torch.arange(size) + 1) / size - 1
    half_x, half_y = (
        (draws["erased"] * draws["erased_aspect"]).sqrt(),
        (draws["erased"] / draws["erased_aspect"]).sqrt(),
    )
    in_x = (place - (draws["erased_x"] * (1 - half_x).clamp(min=0))[:, None]).abs() < half_x[:, None]
    in_y = (place - (draws["erased_y"] * (1 - half_y).clamp(min=0))[:, None]).abs() < half_y[:, None]
    inside = (in_y[:, :, None] & in_x[:, None, :])[:, None]
    return torch.where(inside, images.mean(dim=(2, 3), keepdim=True), images)
