"""Mixup and CutMix: each image of a batch is mixed with another one, and the loss is weighted accordingly."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
LossOf = Callable[[Tensor, Tensor], Tensor]


def mix(
    inputs: Tensor, truth: Tensor, mixup: float, cutmix: float, criterion: LossOf, generator: np.random.Generator
) -> tuple[Tensor, Loss]:
    """The batch mixed with a permutation of itself, and a function from its scores to the loss.

    Args:
        inputs: pixels ``[b, h, w, 3]`` (uint8), or feature maps ``[b, …, h, w]``.
        truth: class numbers ``[b]``.
        mixup: parameter of the beta distribution of the weight (Zhang et al. 2018); 0: off.
        cutmix: the same for the area of a rectangle (Yun et al. 2019); if both are on, each batch draws one of them.
        criterion: the loss of scores ``[b, c]`` and class numbers ``[b]``.
        generator: draws the permutation, the weight and the rectangle.

    """
    cut = cutmix > 0 and (mixup == 0 or generator.random() < 0.5)
    strength = cutmix if cut else mixup
    if strength == 0:
        return inputs, lambda scores: criterion(scores, truth)
    order = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
    kept = float(generator.beta(strength, strength))
    if cut:
        inputs, kept = _pasted(inputs, inputs[order], kept, generator)
    else:
        inputs = (kept * inputs + (1 - kept) * inputs[order]).to(inputs.dtype)
    others = truth[order]
    return inputs, lambda scores: kept * criterion(scores, truth) + (1 - kept) * criterion(scores, others)


def _pasted(inputs: Tensor, others: Tensor, kept: float, generator: np.random.Generator) -> tuple[Tensor, float]:
    """Each image with a rectangle of the other image, and the share of the area that is unchanged."""
    down, across = (1, 2) if inputs.dtype == torch.uint8 else (inputs.ndim - 2, inputs.ndim - 1)
    half = math.sqrt(1 - kept) / 2
    result, place, area = inputs.clone(), [slice(None)] * inputs.ndim, 1.0
    for axis in (down, across):
        size, centre = inputs.shape[axis], generator.random()
        start, end = (round(min(1.0, max(0.0, centre + side)) * size) for side in (-half, half))
        place[axis] = slice(start, end)
        area *= (end - start) / size
    result[tuple(place)] = others[tuple(place)]
    return result, 1 - area
