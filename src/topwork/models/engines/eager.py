"""PyTorch in eager mode: channels last, autocast to the number format."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topwork.core.arrays import Floats
from topwork.models.backbones import feature_function
from topwork.models.engines.engine import Engine, Recipe
from topwork.models.engines.hardware import accelerator
from topwork.models.normalisation import normalised, pixel_statistics

_Features = Callable[[Tensor], Tensor]

_BATCH = {"cpu": 32, "mps": 64, "cuda": 256}


def build(recipe: Recipe) -> Engine:
    """An engine that runs the network operation by operation."""
    return torch_engine(recipe, lambda features: features)


def torch_engine(recipe: Recipe, compiled: Callable[[_Features], _Features]) -> Engine:
    """An engine on torch's device; ``compiled`` transforms its feature function."""
    backbone, device = recipe.backbone(), torch.device(accelerator())
    backbone.trunk.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = compiled(feature_function(backbone, recipe.layers, recipe.pool))
    mean, std = pixel_statistics(recipe.preprocessing, device)
    format_ = getattr(torch, recipe.number_format)

    def run(pixels: NDArray[np.uint8]) -> Floats:
        with torch.inference_mode(), torch.autocast(device.type, format_, enabled=recipe.number_format != "float32"):
            batch = torch.from_numpy(pixels).to(device, non_blocking=True)
            return features(normalised(batch, mean, std)).float().cpu().numpy()

    return Engine(run, recipe.batch_size or _BATCH[device.type])
