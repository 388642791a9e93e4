"""Measures the speed of training steps on this machine, and chooses the precision."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.models.engines.hardware import accelerator, native_formats

_WORTH = 1.2  # speed-up from which bfloat16 is used; the margin is for noise, and float32 is the reference


@contextmanager
def restored_afterwards(network: nn.Module) -> Iterator[None]:
    """A context that restores weights, buffers and random generators at its end, and removes gradients."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            network.load_state_dict(state)
            for parameter in network.parameters():
                parameter.grad = None


def step_seconds(network: nn.Module, inputs: Tensor, truth: Tensor, precision: str) -> float:
    """Seconds of a forward and backward pass: the faster of two passes, after one that is not counted."""
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
    """The precision to train in; ``auto`` measures the speed if the hardware has bfloat16."""
    if wanted != "auto":
        return wanted
    if "bfloat16" not in native_formats():
        return "float32"
    exact, short = (step_seconds(network, inputs, truth, precision) for precision in ("float32", "bfloat16"))
    return "bfloat16" if exact >= _WORTH * short else "float32"


def autocast(precision: str) -> torch.autocast:
    """A context in which suitable layers compute in the precision (PyTorch's autocast)."""
    return torch.autocast(accelerator(), torch.bfloat16, enabled=precision == "bfloat16")
