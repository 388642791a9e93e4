"""Networks of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from topwork.images.transforms import Preprocessing
from topwork.models.sources.source import IMAGENET_MEAN, IMAGENET_STD, downloaded, no_weights, truncate_torchvision
from topwork.models.weights import load_trunk, read_state


class TorchvisionSource:
    """Classifiers of torchvision, under their torchvision names."""

    def preprocessing(self, name: str) -> Preprocessing:
        weights = _torchvision_weights(name)
        if weights is None:
            return Preprocessing(256, 224, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
        preset = weights.transforms()
        resize, crop = preset.resize_size[0], preset.crop_size[0]
        return Preprocessing(resize, crop, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))

    def default_file(self, name: str) -> Path:
        weights = _torchvision_weights(name)
        if weights is None:
            raise no_weights(name)
        return downloaded(name, weights.url)

    def build(self, name: str, side: int) -> nn.Module:
        from torchvision import models

        network: nn.Module = models.get_model(name, weights=None, **_building_arguments(name, side))
        return network

    def load_default(self, network: nn.Module, name: str) -> None:
        load_trunk(network, read_state(self.default_file(name)), ("aux1.", "aux2.", "AuxLogits."), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return truncate_torchvision(network)


def _torchvision_weights(name: str) -> Any:
    from torchvision import models

    enum = models.get_model_weights(name)
    return getattr(enum, "DEFAULT", None) if len(enum) else None


def _building_arguments(name: str, side: int) -> dict[str, Any]:
    if name in {"googlenet", "inception_v3"}:  # their weights were trained on inputs scaled in this way
        return {"aux_logits": False, "transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if name.startswith("maxvit") else {}
