"""A small network for periodic patterns: correlations of a pattern with its own images, and a few layers on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from topwork.periodic.lattice_maps import MAPS
from topwork.periodic.symmetry_maps import symmetry_maps
from topwork.periodic.unit_cell import CELL

WIDTHS = (48, 48, 96, 96)
SIDE = 128
_LEVELS = (0.6, 0.8)
"""Correlations around which the maps have a smooth step: without them, 0.81 instead of 0.89 of 340 wallpapers are
right after 25 epochs."""
_STEEPNESS = 20.0
_HALVED = {2, 3}  # layers before which the sides of the maps are halved


class CorrelationNet(nn.Module):
    """Symmetry maps of the image, then convolutions that treat the cell as what it is, periodic: 0.2 M weights.

    The maps have no weights and pass no gradient, so that a training computes them once. Coordinates are given to the
    convolutions, because a mirror and a glide differ in the place of a correlation alone.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.maps = SymmetryMaps()
        before = (SmoothSteps.CHANNELS, *WIDTHS)
        layers = [_layer(before[i], width, 1 if i == 0 else 3, halved=i in _HALVED) for i, width in enumerate(WIDTHS)]
        self.layers = nn.Sequential(nn.Sequential(SmoothSteps(), layers[0]), *layers[1:])
        self.pool = MaxAndMean()
        self.head = nn.Linear(2 * WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores ``[b, c]`` of images ``[b, 3, h, w]``."""
        scores: Tensor = self.head(self.pool(self.layers(self.maps(images))))
        return scores


class SymmetryMaps(nn.Module):
    """`symmetry_maps` of images ``[b, 3, h, w]``; always in float32, because sums over an image need it."""

    def forward(self, images: Tensor) -> Tensor:
        """The maps ``[b, 1 + len(MAPS), CELL, CELL]``."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return symmetry_maps(images.float())[0]


class SmoothSteps(nn.Module):
    """The maps, smooth steps of them at some levels, and the coordinates of the cell."""

    CHANNELS = (1 + len(MAPS)) * (1 + len(_LEVELS)) + 2
    coordinates: Tensor

    def __init__(self) -> None:
        super().__init__()
        turn = torch.arange(CELL) * (2 * math.pi / CELL)
        along = [turn.cos()[:, None].expand(CELL, CELL), turn.cos()[None].expand(CELL, CELL)]
        self.register_buffer("coordinates", torch.stack(along), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """All of them, ``[b, CHANNELS, CELL, CELL]``, of maps ``[b, 1 + len(MAPS), CELL, CELL]``."""
        steps = [torch.sigmoid(_STEEPNESS * (maps - level)) for level in _LEVELS]
        return torch.cat([maps, *steps, self.coordinates.expand(maps.shape[0], -1, -1, -1)], dim=1)


class MaxAndMean(nn.Module):
    """The largest value and the mean of each feature map, ``[b, 2 * c]``."""

    def forward(self, maps: Tensor) -> Tensor:
        """Both of maps ``[b, c, h, w]``."""
        return torch.cat([maps.amax(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1)


def _layer(before: int, after: int, kernel: int, halved: bool) -> nn.Module:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="circular", bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    pooling = [nn.MaxPool2d(2)] if halved else []
    return nn.Sequential(*pooling, convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
