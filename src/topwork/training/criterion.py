"""The loss that a network is trained by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from topwork.core.arrays import Integers
from topwork.training.class_balance import ClassWeight, class_weights

Loss = Literal["cross_entropy", "focal", "logit_adjusted"]
_FOCUS = 2.0  # gamma of Lin et al. 2017


@dataclass(frozen=True)
class Criterion:
    """A function from class scores ``[b, c]`` and the truth to their mean loss.

    The truth is class numbers ``[b]``, or the probabilities ``[b, c]`` that a network is to learn.

    ``smoothing`` is the share of label smoothing. ``focus`` is the exponent of the focal loss (0: cross-entropy).
    ``weights`` ``[c]`` multiply the loss of each image by its class; ``offsets`` ``[c]`` are added to the scores. The
    last two are None if they would change nothing.
    """

    smoothing: float = 0.0
    focus: float = 0.0
    weights: Tensor | None = None
    offsets: Tensor | None = None

    @classmethod
    def of(cls, kind: Loss, class_weight: ClassWeight, smoothing: float, truth: Integers, classes: int) -> Self:
        """The loss for images with the class numbers ``truth`` ``[n]``.

        ``focal`` gives less weight to images that are classified well (Lin et al. 2017). ``logit_adjusted`` adds the
        logarithm of the share of each class to its score while training, so that without it the network estimates what
        all classes would get if they were equally frequent (Menon et al. 2021).
        """
        counts = np.bincount(truth, minlength=classes)
        weights = None if class_weight == "none" else torch.from_numpy(class_weights(counts, class_weight)).float()
        shares = torch.from_numpy(np.maximum(counts, 1) / counts.sum()).float()
        offsets = shares.log() if kind == "logit_adjusted" else None
        return cls(smoothing, _FOCUS if kind == "focal" else 0.0, weights, offsets)

    def __call__(self, scores: Tensor, truth: Tensor) -> Tensor:
        """The mean loss of the images, a scalar."""
        scores = scores.float()
        if self.offsets is not None:
            scores = scores + self.offsets.to(scores.device)
        if self.weights is None and not self.focus:
            return functional.cross_entropy(scores, truth, label_smoothing=self.smoothing)
        losses = functional.cross_entropy(scores, truth, label_smoothing=self.smoothing, reduction="none")
        if self.focus:
            right = (functional.softmax(scores, dim=1) * _shares(truth, scores.shape[1])).sum(dim=1)
            losses = (1 - right) ** self.focus * losses
        if self.weights is not None:
            losses = (_shares(truth, scores.shape[1]) @ self.weights.to(scores.device)) * losses
        return losses.mean()


def _shares(truth: Tensor, classes: int) -> Tensor:
    """The truth as shares of the classes ``[b, c]``."""
    return truth if truth.is_floating_point() else functional.one_hot(truth, classes).float()
