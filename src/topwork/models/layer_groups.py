"""The layers of a backbone in groups, from input to output, which are frozen or learn at their own rates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from topwork.core.errors import DefectError, InputError
from topwork.core.words import perhaps

ALL_GROUPS = "all"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that normalise with the statistics of the batch in training, and with stored statistics otherwise."""

_BULK = 0.8  # share of a network's weights above which a module is a container of stages, not a stage


@dataclass(frozen=True)
class LayerGroup:
    """One stage with weights, and the norms, activations and poolings that follow it up to the next stage.

    What comes before the first stage and has no weights, such as a fixed transformation of the image, is a group too.

    ``parts`` are names of modules of the trunk, in the order in which they were registered, which is also the order in
    which data passes through them.
    """

    name: str
    parts: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Whether the parameter, buffer or module of this name lies in the group."""
        return any(name == part or name.startswith(f"{part}.") for part in self.parts)


def layer_groups(trunk: nn.Module) -> tuple[LayerGroup, ...]:
    """The groups of a trunk; containers with nearly all of its weights are replaced by their children.

    Only modules with weights of more than one dimension are stages.
    """
    groups: list[LayerGroup] = []
    for name in _parts(trunk, "", _weights_of(trunk)):
        if _weights_of(trunk.get_submodule(name)) or not groups:
            groups.append(LayerGroup(name, (name,)))
        else:
            groups[-1] = LayerGroup(groups[-1].name, (*groups[-1].parts, name))
    return tuple(groups)


def first_with_weights(trunk: nn.Module, groups: Sequence[LayerGroup]) -> int:
    """Number of the first group that can learn: 0, or 1 after a fixed transformation of the image."""
    has_weights = (any(_weights_of(trunk.get_submodule(part)) for part in group.parts) for group in groups)
    return next((number for number, learns in enumerate(has_weights) if learns), len(groups))


def group_numbers(trunk: nn.Module, groups: Sequence[LayerGroup]) -> dict[str, int]:
    """Group number of each parameter and buffer; those of a container itself (a class token) are in the first group."""
    return {
        name: next((number for number, group in enumerate(groups) if group.holds(name)), 0)
        for name in trunk.state_dict()
    }


def first_trainable(groups: Sequence[LayerGroup], wanted: str) -> int:
    """Number of the first group that learns; ``wanted`` is ``all``, a number of last groups, or its name.

    Raises:
        InputError: there is no such group, or there are fewer groups; the message says which groups there are.

    """
    if wanted == ALL_GROUPS:
        return 0
    if wanted.isdigit():
        if int(wanted) > len(groups):
            raise InputError(f"trainable_groups={wanted}: this backbone has {len(groups)} groups.")
        return len(groups) - int(wanted)
    names = [group.name for group in groups]
    if wanted not in names:
        hint = perhaps(wanted, names)
        raise InputError(
            f"trainable_groups={wanted}: no such group; {hint}known are {', '.join(names)}, a number, all, auto."
        )
    return names.index(wanted)


def freeze(trunk: nn.Module, groups: Sequence[LayerGroup], first: int, batch_norm: str) -> None:
    """Make groups number ``first`` and later trainable; the others keep their weights.

    Args:
        trunk: the network on which ``requires_grad`` and ``training`` are set.
        groups: all of its groups.
        first: number of the first group that learns; ``len(groups)`` freezes all.
        batch_norm: which groups keep the statistics of their norms and normalise with them: the ``frozen`` groups,
            ``all`` groups, or ``none``, so that even frozen groups adapt their statistics.

    """
    number = group_numbers(trunk, groups)
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(number[name] >= first)
    for name, module in trunk.named_modules():
        learns = any(group.holds(name) for group in groups[first:]) or (first == 0 and name != "")
        is_norm = isinstance(module, BATCH_NORMS)
        module.training = (learns and batch_norm != "all") or batch_norm == "none" if is_norm else learns


def frozen_digests(trunk: nn.Module, groups: Sequence[LayerGroup], first: int, batch_norm: str) -> dict[str, str]:
    """SHA-256 of every parameter and buffer before group ``first`` that must not change, for `check_frozen`.

    If ``batch_norm`` is ``none``, buffers (the statistics of the norms) may change.
    """
    number = group_numbers(trunk, groups)
    buffers = {name for name, _ in trunk.named_buffers()} if batch_norm == "none" else set()
    return {
        name: _digest(value)
        for name, value in trunk.state_dict().items()
        if number[name] < first and name not in buffers
    }


def check_frozen(trunk: nn.Module, before: Mapping[str, str]) -> None:
    """Check that frozen parameters and buffers still have the digests that `frozen_digests` returned.

    Raises:
        DefectError: a frozen parameter or buffer has changed; the message names it.

    """
    state = trunk.state_dict()
    moved = [name for name, digest in before.items() if _digest(state[name]) != digest]
    if moved:
        raise DefectError(f"{len(moved)} frozen parameters or buffers have moved in training, first {moved[0]!r}.")


def _digest(value: torch.Tensor) -> str:
    return hashlib.sha256(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _parts(module: nn.Module, prefix: str, total: int) -> Iterator[str]:
    for name, child in module.named_children():
        holds_nearly_all = _weights_of(child) > _BULK * total and any(_weights_of(part) for part in child.children())
        if holds_nearly_all:
            yield from _parts(child, f"{prefix}{name}.", total)
        else:
            yield f"{prefix}{name}"


def _weights_of(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
