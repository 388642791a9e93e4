"""The state of a training, in memory and in a checkpoint, so that it can continue later."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from topwork.core.arrays import Floats
from topwork.core.stores import CheckpointStore
from topwork.training.ranks import rank

_ROUNDING = 1e-9  # if only one image differs, the difference is exactly one standard error
_FACTS = ("step", "steps", "epochs", "spent", "reserve", "precision", "rate", "best_epoch", "chosen_epoch", "history")


class TrainingState:
    """The state of a training: steps done and planned, current and chosen weights, and the history of the epochs.

    ``step`` of ``steps`` (``epochs``) are done. ``spent`` are the seconds used so far, and ``reserve`` the seconds kept
    for the scoring after the training. The best epoch has the least loss on the inner split. The chosen epoch is the
    last one that is as good (`is_as_good`).
    """

    def __init__(self, checkpoints: CheckpointStore, name: str) -> None:
        self._checkpoints, self._name = checkpoints, name
        self.step, self.steps, self.epochs = 0, 0, 0.0
        self.spent, self.reserve = 0.0, 0.0
        self.precision, self.rate = "", 0.0
        self.best_epoch, self.chosen_epoch = 0, 0
        self.history: list[dict[str, float]] = []
        self.chosen: dict[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}  # per image of the inner split, at the start and in the best epoch
        self._average: dict[str, Tensor] = {}
        self._now: dict[str, Tensor] = {}
        self._optimizer: dict[int, dict[str, Tensor]] = {}
        if kept := checkpoints.get(name):
            tensors, facts = kept
            for fact in _FACTS:
                setattr(self, fact, facts[fact])
            parts = (_part(tensors, part) for part in ("chosen", "average", "now", "losses"))
            self.chosen, self._average, self._now, self._losses = parts
            for key, value in _part(tensors, "optimizer").items():
                number, _, field = key.partition(".")
                self._optimizer.setdefault(int(number), {})[field] = value

    @property
    def begun(self) -> bool:
        """Whether precision, learning rate and number of steps are set."""
        return bool(self.precision)

    @property
    def chosen_after(self) -> float:
        """Number of epochs after which the chosen weights were saved."""
        return self.epochs * self.history[self.chosen_epoch]["step"] / max(1, self.steps)

    def shorten(self, steps: int) -> None:
        """Plan fewer steps; the learning rate then falls faster, so that it is zero at the new last step."""
        if steps < self.steps:
            self.epochs *= steps / self.steps
            self.steps = steps

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Restore the weights and the optimizer's state from the checkpoint; before the first step nothing changes."""
        if self._now:
            network.load_state_dict(self._now)
        if self._optimizer:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": self._optimizer})
            for parameter, state in optimizer.state.items():  # fused optimizers need the memory layout of the weights
                for field, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[field] = torch.empty_like(parameter).copy_(value)

    def keep(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint with the current weights and the optimizer's state."""
        self._now = network.state_dict()
        self._optimizer = optimizer.state_dict()["state"]
        self.save()

    def save(self) -> None:
        """Write the checkpoint; if several ranks train together, the first one does it."""
        if rank():
            return
        optimizer = {
            f"{number}.{field}": value
            for number, state in self._optimizer.items()
            for field, value in state.items()
            if isinstance(value, Tensor)
        }
        parts = {"chosen": self.chosen, "average": self._average, "now": self._now, "optimizer": optimizer}
        parts["losses"] = self._losses
        tensors = {f"{part}/{name}": _array(value) for part, state in parts.items() for name, value in state.items()}
        self._checkpoints.put(self._name, tensors, {fact: getattr(self, fact) for fact in _FACTS})

    def note(self, network: nn.Module, facts: Mapping[str, float], losses: Floats | None) -> None:
        """Add an epoch to the history, and choose its weights if it is the best so far or as good as the best.

        Args:
            network: the network after the epoch.
            facts: measurements of the epoch.
            losses: loss of each image of the inner split; if None, the last epoch is chosen.

        """
        epoch = len(self.history)
        self.history.append({"step": self.step, **facts})
        if losses is not None:
            now = torch.from_numpy(losses)
            self._losses = {"first": now, "best": now, **self._losses}
            if now.mean() < self._losses["best"].mean():
                self._losses["best"], self.best_epoch = now, epoch
            if not is_as_good(now, self._losses["best"], self._losses["first"]):
                return
        self.chosen, self.chosen_epoch = _copied(network), epoch

    def average(self, network: nn.Module, decay: float) -> None:
        """Update the moving average of the weights with the current weights."""
        if not self._average:
            self._average = _copied(network)
            return
        for name, value in network.state_dict().items():
            kept = self._average[name]
            kept.lerp_(value, 1 - decay) if kept.is_floating_point() else kept.copy_(value)

    @contextmanager
    def averaged(self, network: nn.Module) -> Iterator[None]:
        """A context in which the network has its averaged weights, if there are any."""
        if not self._average:
            yield
            return
        present = _copied(network)
        network.load_state_dict(self._average)
        try:
            yield
        finally:
            network.load_state_dict(present)


def is_as_good(losses: Tensor, best: Tensor, first: Tensor) -> bool:
    """Whether losses ``[n]`` are at most one standard error above the best losses and below the first losses.

    The standard error is of the differences image by image. With few images, the best epoch cannot be distinguished
    from its neighbours, and a later epoch has learnt at a lower rate. This is the rule of one standard error (Breiman
    et al. 1984), which prefers smaller trees there and later epochs here. An epoch that is not better than the start is
    not as good; the network at the start is then kept.
    """
    excess = losses - best
    error = float(excess.std()) / math.sqrt(len(excess)) if len(excess) > 1 else 0.0
    return float(excess.mean()) <= error + _ROUNDING and (losses is first or float(losses.mean()) < float(first.mean()))


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
