"""PyTorch compiled: fused kernels, constant weights; CUDA graphs on CUDA devices. Compiling takes a minute."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topwork.models.engines.eager import torch_engine
from topwork.models.engines.engine import Engine, Recipe
from topwork.models.engines.hardware import accelerator


def build(recipe: Recipe) -> Engine:
    """An engine with the network compiled for one batch size; its first call compiles."""
    return torch_engine(recipe, _compiled)


def _compiled(features: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    options: dict[str, bool | int | str | Callable[..., object]] = {
        "freezing": True,
        "triton.cudagraphs": accelerator() == "cuda",
    }
    return torch.compile(features, dynamic=False, options=options)
