"""Heads: what turns bottleneck features into class scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from topwork.core.arrays import Floats


class Head(ABC):
    """A head is its tensors and one function of them.

    The function is written in what NumPy and PyTorch have in common (operators, ``.T``, ``.clip``, ``.sum``), so that
    the same lines score here and stand in a network or an exported graph.
    """

    kind: ClassVar[str]
    """Names the class in the file of a classifier."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], classes: int) -> Self:
        """The head that has these tensors.

        Raises:
            ValueError: they are not those of such a head for so many classes.

        """

    @abstractmethod
    def tensors(self) -> dict[str, Floats]:
        """What is kept of the head, by name."""

    @staticmethod
    @abstractmethod
    def apply(features: Any, tensors: Mapping[str, Any]) -> Any:
        """Class scores ``[n, c]`` of features ``[n, d]``; arrays of NumPy, or tensors of PyTorch."""

    def scores(self, features: Floats) -> Floats:
        """Class scores ``[n, c]`` (float64) of features ``[n, d]``."""
        tensors = {name: np.asarray(value, np.float64) for name, value in self.tensors().items()}
        return np.asarray(self.apply(np.asarray(features, np.float64), tensors))


@dataclass(frozen=True)
class LinearHead(Head):
    """``scores = features @ weight.T + bias`` with ``weight`` ``[c, d]`` and ``bias`` ``[c]``."""

    kind: ClassVar[str] = "linear"
    weight: Floats
    bias: Floats

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], classes: int) -> Self:
        """A matrix and a vector."""
        weight, bias = tensors.get("weight"), tensors.get("bias")
        if weight is None or bias is None or weight.ndim != 2 or (len(weight), *bias.shape) != (classes, classes):
            raise ValueError(f"no matrix and bias for {classes} classes")
        return cls(weight, bias)

    def tensors(self) -> dict[str, Floats]:
        """The matrix and the bias."""
        return {"weight": self.weight, "bias": self.bias}

    @staticmethod
    def apply(features: Any, tensors: Mapping[str, Any]) -> Any:
        """A matrix product."""
        return features @ tensors["weight"].T + tensors["bias"]
