"""Learning rates over the steps and the groups of layers, and the epochs in which groups learn."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Factor of the full learning rate at a step: linear rise over the share ``warmup`` of the steps, then a cosine."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def group_rates(groups: int, rate: float, backbone_rate: float, layer_decay: float) -> Sequence[float]:
    """Learning rate of each group, from the first to the last.

    The last group has ``rate * backbone_rate``; each group before it has ``layer_decay`` times the next group's rate.
    """
    return [rate * backbone_rate * layer_decay ** (groups - 1 - number) for number in range(groups)]


def first_learning(epoch: int, first: int, groups: int, unfreeze_every: int) -> int:
    """Number of the first group that learns in this epoch; the head starts alone, and groups are added one by one."""
    if unfreeze_every == 0:
        return first
    return max(first, groups - epoch // unfreeze_every)
