"""What runs a backbone on this machine: device, number format, layout.

An engine is a function from a batch of pixels ``[b, h, w, 3]`` (uint8) to features ``[b, d]`` (float32).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topwork.models.backbones import Backbone, feature_function
from topwork.schemas import Floats

Engine = Callable[[NDArray[np.uint8]], Floats]
EAGER = "eager"
_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    for kind, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if module.is_available():
            return torch.device(kind)
    return torch.device("cpu")


def pick_number_format(wanted: str) -> str:
    """``auto`` becomes bfloat16 where the hardware multiplies it natively, else float32."""
    if wanted != "auto":
        return wanted
    device = pick_device()
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if native else "float32"


def eager_engine(backbone: Backbone, layers: Sequence[str], pool: str, number_format: str, batch_size: int) -> Engine:
    """PyTorch as it is, channels last, autocast to the number format.

    Short batches are padded to ``batch_size``, so that kernels are chosen alike and a vector never depends on its
    neighbours.
    """
    device, spec = pick_device(), backbone.spec.preprocessing
    backbone.trunk.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = feature_function(backbone, layers, pool)
    mean, std = (torch.tensor(value, device=device).view(1, 3, 1, 1) * 255 for value in (spec.mean, spec.std))
    autocast = torch.autocast(device.type, _FORMATS[number_format], enabled=number_format != "float32")

    def run(pixels: NDArray[np.uint8]) -> Floats:
        with torch.inference_mode(), autocast:
            batch = _padded(torch.from_numpy(pixels), batch_size).to(device, non_blocking=True)
            images = batch.permute(0, 3, 1, 2).float().sub_(mean).div_(std)  # a view: channels last already
            return features(images)[: len(pixels)].float().cpu().numpy()

    return run


def _padded(batch: Tensor, size: int) -> Tensor:
    if len(batch) == size:
        return batch
    return torch.cat([batch, batch.new_zeros((size - len(batch), *batch.shape[1:]))])
