"""The project's own small networks, for training from scratch."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from topwork.images.transforms import Preprocessing
from topwork.models import shallow, shallow_correlation
from topwork.models.sources.source import IMAGENET_MEAN, IMAGENET_STD, no_weights, truncate_torchvision

SHALLOW = "shallow"
CORRELATION = "shallow_correlation"
SMALL = (SHALLOW, CORRELATION)


class SmallSource:
    """`shallow`, for any images, and `shallow_correlation`, for periodic patterns."""

    def preprocessing(self, name: str) -> Preprocessing:
        if name == CORRELATION:  # the more cells an image shows, the better
            side = shallow_correlation.SIDE
            return Preprocessing(side, side, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        side = shallow.SIDE
        return Preprocessing(math.floor(side / 0.875), side, "bilinear", IMAGENET_MEAN, IMAGENET_STD)

    def default_file(self, name: str) -> Path:
        raise no_weights(name)

    def build(self, name: str, side: int) -> nn.Module:
        return shallow_correlation.CorrelationNet() if name == CORRELATION else shallow.ShallowNet()

    def load_default(self, network: nn.Module, name: str) -> None:
        raise no_weights(name)

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return truncate_torchvision(network)
