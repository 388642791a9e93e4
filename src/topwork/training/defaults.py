"""Default values for parameters that are null or auto: short rules, mostly on the number of images, with sources."""

from __future__ import annotations

FAR_DOMAIN = 0.5
"""The first layers learn too if the probe's accuracy is below this share of the way from chance to perfect.

The share is 0.14 on the wallpaper groups, 0.82 on 326 cut-outs and 0.86 on photographs of clothes. The value 0.5 lies
well between these; there is no other reason for it (`docs/decisions/0010-fine-tuning.md`)."""

_FINETUNE_IMAGES = 256_000  # in all epochs: 500 steps of 512 (BiT-HyperRule, small tasks, Kolesnikov et al. 2020)
_SCRATCH_IMAGES = 1_000_000  # four times as many: training starts from random weights (He et al. 2019: 3 to 6 times)
_MANY = 20_000  # images; from this number on, BiT-HyperRule uses mixup
_RATES = {"adamw": 1e-3, "sgd": 1e-2}  # of a new head: the usual values for these optimizers
_PLANTED = 0.3  # times the rate of a new head, for a converged probe; 0.1 learns nothing in a few epochs
# (rate of the last group as a factor of the head's rate, rate of a group as a factor of the next group's rate)
_NEAR, _NEAR_AND_MANY, _FAR = (0.1, 0.8), (1.0, 0.8), (1.0, 1.0)
_ENOUGH = 1_000  # images; from this number on, the last layers learn faster (docs/decisions/0010-fine-tuning.md)
_SCRATCH_RATES = {"adamw": 1e-3, "sgd": 1e-1}  # He et al. 2016 for SGD


def epochs(images: int, *, scratch: bool) -> int:
    """The number of epochs: from 3 to 30 for fine-tuning, from 10 to 200 for training from scratch."""
    seen, most, least = (_SCRATCH_IMAGES, 200, 10) if scratch else (_FINETUNE_IMAGES, 30, 3)
    return min(most, max(least, round(seen / images)))


def mixup(images: int) -> float:
    """Parameter of the beta distribution for mixup (Zhang et al. 2018); 0 switches mixup off."""
    return 0.1 if images >= _MANY else 0.0


def learning_rate(optimizer: str, *, scratch: bool, planted: bool = False) -> float:
    """Learning rate of the head, or of all layers from scratch; ``planted``: the head starts as the fitted probe."""
    rate = (_SCRATCH_RATES if scratch else _RATES)[optimizer]
    return rate * _PLANTED if planted else rate


def is_far(probe_accuracy: float, classes: int) -> bool:
    """Whether the images are far from the pretraining images, according to the probe's accuracy."""
    chance = 1 / classes
    return (probe_accuracy - chance) / (1 - chance) < FAR_DOMAIN


def trainable_groups(groups: int, *, far: bool) -> str:
    """How many of the last groups of layers learn: a third, or all if the domain is far.

    The first layers detect edges and colours, which are useful for all photographs (Yosinski et al. 2014). Images that
    are far from photographs need other first layers.
    """
    return "all" if far else str(max(1, round(groups / 3)))


def backbone_rates(images: int, *, far: bool) -> tuple[float, float]:
    """Learning rate of the last group as a share of the head's rate, and the decay from each group to the one before.

    With few images the share is 0.1, and the rate decreases towards the first layers (Howard & Ruder 2018). With 1,000
    images or more, the last layers learn at the rate of the head, which is already low if the head starts as the probe.
    In a far domain all layers learn at the same rate.
    """
    if far:
        return _FAR
    return _NEAR if images < _ENOUGH else _NEAR_AND_MANY
