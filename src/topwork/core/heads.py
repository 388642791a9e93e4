"""Heads, which compute class scores from bottleneck features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.blocks import blocks


class Head(ABC):
    """A head consists of its tensors and one function, which computes class scores with them.

    The function uses only operations that NumPy and PyTorch share (operators, ``.T``, ``.clip``, ``.sum``). The same
    code then works on arrays, in a network, and in an exported graph.
    """

    kind: ClassVar[str]
    """Name of the class in a classifier's file."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], classes: int) -> Self:
        """A head with these tensors.

        Raises:
            ValueError: the tensors do not fit this kind of head or this number of classes.

        """

    @abstractmethod
    def tensors(self) -> dict[str, Floats]:
        """The tensors of the head by name, as they are stored."""

    @staticmethod
    @abstractmethod
    def apply(features: Any, tensors: Mapping[str, Any]) -> Any:
        """Class scores ``[n, c]`` of features ``[n, d]``, for NumPy arrays or PyTorch tensors."""

    def scores(self, features: Floats, rows: Integers | None = None) -> Floats:
        """Class scores ``[n, c]`` (float64) of features ``[n, d]``, or of these ``rows`` of them."""
        tensors = {name: np.asarray(value, np.float64) for name, value in self.tensors().items()}

        def of_block(block: slice) -> Floats:
            some = features[block] if rows is None else features[rows[block]]
            return np.asarray(self.apply(np.asarray(some, np.float64), tensors))

        return np.concatenate([of_block(block) for block in blocks(len(features if rows is None else rows))])


@dataclass(frozen=True)
class LinearHead(Head):
    """``scores = features @ weight.T + bias`` with ``weight`` ``[c, d]`` and ``bias`` ``[c]``."""

    kind: ClassVar[str] = "linear"
    weight: Floats
    bias: Floats

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], classes: int) -> Self:
        """A head with the tensors ``weight`` and ``bias``.

        Raises:
            ValueError: a tensor is missing, or does not fit the number of classes.

        """
        weight, bias = tensors.get("weight"), tensors.get("bias")
        if weight is None or bias is None or weight.ndim != 2 or (len(weight), *bias.shape) != (classes, classes):
            raise ValueError(f"no matrix and bias for {classes} classes")
        return cls(weight, bias)

    def tensors(self) -> dict[str, Floats]:
        """The tensors ``weight`` and ``bias``."""
        return {"weight": self.weight, "bias": self.bias}

    @staticmethod
    def apply(features: Any, tensors: Mapping[str, Any]) -> Any:
        """Class scores ``[n, c]`` of features ``[n, d]``."""
        return features @ tensors["weight"].T + tensors["bias"]
