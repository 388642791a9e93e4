"""Computes norms with fixed statistics inside the convolutions before them, while a network learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from topwork.models.layer_groups import BATCH_NORMS

_TOLERANCE = 1e-4  # relative difference allowed for another order of the multiplications


def foldable_norms(network: nn.Module, inputs: Tensor) -> dict[str, str]:
    """Pairs of a convolution and the norm that takes only its output, by name.

    The pairs are found and tested by running the network on ``inputs``. If the network with folded norms gives a
    different output, the result is empty. The network is not changed.
    """
    modules = dict(network.named_modules())
    came_from: dict[int, str] = {}
    outputs: list[Tensor] = []  # kept alive, so that no two have the same id
    calls: dict[str, int] = {}
    pairs: dict[str, str] = {}

    def leave(name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        came_from[id(output)] = name
        outputs.append(output)

    def enter(name: str, _module: nn.Module, inputs_: tuple[Tensor, ...]) -> None:
        calls[name] = calls.get(name, 0) + 1
        if conv := came_from.get(id(inputs_[0])):
            pairs[conv] = name

    handles = [
        module.register_forward_hook(partial(leave, name))
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(partial(enter, name))
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) or _is_foldable(module)
    ]
    was_training = {name: module.training for name, module in modules.items()}
    network.eval()
    try:
        with torch.inference_mode():
            plain = network(inputs)
            for handle in handles:
                handle.remove()
            pairs = {conv: norm for conv, norm in pairs.items() if calls[conv] == calls[norm] == 1}
            with folded(network, pairs):
                differs = (network(inputs) - plain).norm() > _TOLERANCE * plain.norm()
    finally:
        for name, training in was_training.items():
            modules[name].training = training
    return {} if differs else pairs


@contextmanager
def folded(network: nn.Module, pairs: Mapping[str, str]) -> Iterator[None]:
    """A context in which each convolution also computes its norm, if the norm has fixed statistics.

    The weights and their names do not change, and they learn as before. This saves one forward pass and three backward
    passes over the feature maps.
    """
    modules = dict(network.named_modules())
    try:
        for conv, norm in pairs.items():
            modules[conv].forward = partial(_convolve_and_normalise, modules[conv], modules[norm])
            modules[norm].forward = partial(_what_is_left, modules[norm])
        yield
    finally:
        for name in (*pairs, *pairs.values()):
            del modules[name].forward


def _is_foldable(module: nn.Module) -> bool:
    return isinstance(module, BATCH_NORMS) and module.affine and module.track_running_stats


def _convolve_and_normalise(conv: nn.Conv2d, norm: Any, inputs: Tensor) -> Tensor:
    compute: Any = type(conv).forward
    if norm.training:
        return torch.as_tensor(compute(conv, inputs))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    moved = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    tensors = {"weight": conv.weight * scale.view(-1, 1, 1, 1), "bias": norm.bias + scale * moved}
    ours = conv.__dict__.pop("forward")
    try:  # use the forward of the class with other tensors, because classes differ in padding and stride
        return torch.as_tensor(functional_call(conv, tensors, (inputs,)))
    finally:
        conv.__dict__["forward"] = ours


def _what_is_left(norm: Any, inputs: Tensor) -> Tensor:
    """The full norm if it adapts its statistics; otherwise only the activation that timm's norms contain."""
    if norm.training:
        return torch.as_tensor(type(norm).forward(norm, inputs))
    return torch.as_tensor(norm.act(norm.drop(inputs))) if hasattr(norm, "act") else inputs
