"""How fast this machine trains: which precision, how many steps fit into the time, which learning rate still learns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.models.engines.hardware import accelerator, native_formats

_WORTH = 1.2  # times as fast, before the shorter precision is taken: measuring is noisy, float32 the reference
_RATES = (1e-6, 1.0)  # tried by the range test
_TRIED = 60  # steps of the range test
_DIVERGED = 4.0  # times the least loss (Smith 2017 stops where the loss explodes)
_BELOW = 10.0  # a learning rate this far below where the loss falls fastest no longer wants luck


@contextmanager
def restored_afterwards(network: nn.Module) -> Iterator[None]:
    """Puts weights, buffers, gradients and generator states back as they were."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            network.load_state_dict(state)
            for parameter in network.parameters():
                parameter.grad = None


def step_seconds(network: nn.Module, inputs: Tensor, truth: Tensor, precision: str) -> float:
    """Seconds of one step forward and back, the better of two after one that does not count."""
    seconds = []
    with restored_afterwards(network):
        for _ in range(3):
            start = time.perf_counter()
            with autocast(precision):
                loss = functional.cross_entropy(network(inputs).float(), truth)
            loss.backward()
            loss.item()  # wait for the device
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def choose_precision(network: nn.Module, inputs: Tensor, truth: Tensor, wanted: str) -> str:
    """The precision to train in; ``auto`` measures a step where the hardware has bfloat16."""
    if wanted != "auto":
        return wanted
    if "bfloat16" not in native_formats():
        return "float32"
    exact, short = (step_seconds(network, inputs, truth, precision) for precision in ("float32", "bfloat16"))
    return "bfloat16" if exact >= _WORTH * short else "float32"


def autocast(precision: str) -> torch.autocast:
    """Inside, layers that gain by it compute in the precision."""
    return torch.autocast(accelerator(), torch.bfloat16, enabled=precision == "bfloat16")


def find_rate(
    network: nn.Module, optimizer: Callable[[float], torch.optim.Optimizer], batches: Iterator[tuple[Tensor, Tensor]]
) -> float:
    """A learning rate a tenth of that at which the loss falls fastest (Smith 2017); the network is left as it was.

    Args:
        network: that will learn.
        optimizer: makes one whose groups all have this rate times their own factor.
        batches: inputs and class numbers, as many as are wanted.

    """
    growth = (_RATES[1] / _RATES[0]) ** (1 / (_TRIED - 1))
    rates, losses = [], list[float]()
    with restored_afterwards(network):
        learner = optimizer(1.0)
        shares = [group["lr"] for group in learner.param_groups]
        for number in range(_TRIED):
            rate = _RATES[0] * growth**number
            for group, share in zip(learner.param_groups, shares, strict=True):
                group["lr"] = rate * share
            inputs, truth = next(batches)
            loss = functional.cross_entropy(network(inputs).float(), truth)
            learner.zero_grad()
            loss.backward()
            learner.step()
            now = loss.item()
            smoothed = now if not losses else 0.8 * losses[-1] + 0.2 * now
            if not math.isfinite(smoothed) or smoothed > _DIVERGED * min([*losses, smoothed]):
                break
            rates.append(rate)
            losses.append(smoothed)
    slopes = [after - before for before, after in pairwise(losses)]
    if not slopes:
        return _RATES[0]
    return float(rates[1 + slopes.index(min(slopes))] / _BELOW)
