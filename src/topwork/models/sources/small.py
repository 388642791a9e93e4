"""The project's own small network."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from topwork.images.transforms import Preprocessing
from topwork.models import shallow
from topwork.models.sources.source import IMAGENET_MEAN, IMAGENET_STD, no_weights, truncate_torchvision

SHALLOW = "shallow"


class ShallowSource:
    """The project's own small network for training from scratch, named `shallow`."""

    def preprocessing(self, name: str) -> Preprocessing:
        side = shallow.SIDE
        return Preprocessing(math.floor(side / 0.875), side, "bilinear", IMAGENET_MEAN, IMAGENET_STD)

    def default_file(self, name: str) -> Path:
        raise no_weights(name)

    def build(self, name: str, side: int) -> nn.Module:
        return shallow.ShallowNet()

    def load_default(self, network: nn.Module, name: str) -> None:
        raise no_weights(name)

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return truncate_torchvision(network)
