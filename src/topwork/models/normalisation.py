"""Converts pixels to the input of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from topwork.images.transforms import Preprocessing


def pixel_statistics(how: Preprocessing, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of pixel values from 0 to 255, ``[1, 3, 1, 1]`` each."""
    mean, std = (torch.tensor(value, device=device).view(1, 3, 1, 1) * 255 for value in (how.mean, how.std))
    return mean, std


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images ``[b, 3, h, w]`` (float32, channels last in memory) from pixels ``[b, h, w, 3]`` (uint8)."""
    return pixels.permute(0, 3, 1, 2).float().sub_(mean).div_(std)
