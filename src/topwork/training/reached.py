"""How far a training has come: all that going on needs, in memory and in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from topwork.schemas import CheckpointStore, Floats

_FACTS = ("step", "steps", "epochs", "precision", "rate", "best_loss", "best_epoch", "history")


class Reached:
    """Steps done of ``steps`` planned (``epochs``), the weights now and at their best, the history of the epochs."""

    def __init__(self, checkpoints: CheckpointStore, name: str) -> None:
        self._checkpoints, self._name = checkpoints, name
        self.step, self.steps, self.epochs = 0, 0, 0.0
        self.precision, self.rate = "", 0.0
        self.best_loss, self.best_epoch = np.inf, 0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self._average: dict[str, Tensor] = {}
        self._now: dict[str, Tensor] = {}
        self._optimizer: dict[int, dict[str, Tensor]] = {}
        if kept := checkpoints.get(name):
            tensors, facts = kept
            for fact in _FACTS:
                setattr(self, fact, facts[fact])
            self.best, self._average, self._now = (_part(tensors, part) for part in ("best", "average", "now"))
            for key, value in _part(tensors, "optimizer").items():
                number, _, field = key.partition(".")
                self._optimizer.setdefault(int(number), {})[field] = value

    @property
    def best_after(self) -> float:
        """Epochs that the best weights had learnt."""
        return self.epochs * self.history[self.best_epoch]["step"] / self.steps

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the weights and the optimizer's state where they were; nothing before the first step."""
        if self._now:
            network.load_state_dict(self._now)
        if self._optimizer:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": self._optimizer})
            for parameter, state in optimizer.state.items():  # laid out as the weights: fused optimizers rely on it
                for field, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[field] = torch.empty_like(parameter).copy_(value)

    def keep(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Take the present state into the checkpoint."""
        self._now = network.state_dict()
        self._optimizer = optimizer.state_dict()["state"]
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        optimizer = {
            f"{number}.{field}": value
            for number, state in self._optimizer.items()
            for field, value in state.items()
            if isinstance(value, Tensor)
        }
        parts = {"best": self.best, "average": self._average, "now": self._now, "optimizer": optimizer}
        tensors = {f"{part}/{name}": _array(value) for part, state in parts.items() for name, value in state.items()}
        self._checkpoints.put(self._name, tensors, {fact: getattr(self, fact) for fact in _FACTS})

    def note(self, network: nn.Module, facts: Mapping[str, float]) -> None:
        """Add an epoch to the history; the weights are kept if none did better, or if nothing tells which did."""
        self.history.append({"step": self.step, **facts})
        loss = facts.get("inner_loss", -self.step)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, len(self.history) - 1
            self.best = _copied(network)

    def average(self, network: nn.Module, decay: float) -> None:
        """Move the averaged weights towards the present ones."""
        if not self._average:
            self._average = _copied(network)
            return
        for name, value in network.state_dict().items():
            kept = self._average[name]
            kept.lerp_(value, 1 - decay) if kept.is_floating_point() else kept.copy_(value)

    @contextmanager
    def averaged(self, network: nn.Module) -> Iterator[None]:
        """Inside, the network has its averaged weights, if there are any."""
        if not self._average:
            yield
            return
        present = _copied(network)
        network.load_state_dict(self._average)
        try:
            yield
        finally:
            network.load_state_dict(present)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _array(value: Tensor) -> Floats:
    array: Floats = value.detach().cpu().contiguous().numpy()
    return array


def _part(tensors: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    prefix = f"{part}/"
    return {
        name.removeprefix(prefix): torch.from_numpy(value) for name, value in tensors.items() if name.startswith(prefix)
    }
