"""What is done where the parameters leave it open: tiny rules of the number of images, each with its source."""

from __future__ import annotations

FAR_DOMAIN = 0.5
"""Accuracy of the probe, above chance and as a share of what there is above chance, below which the first layers learn
too. It is 0.14 on the wallpaper groups, 0.82 on 326 cut-outs, 0.86 on photographs of clothes; half-way lies well
between them, no more can be said for it (`docs/decisions/0010-fine-tuning.md`)."""

_FINETUNE_IMAGES = 256_000  # seen in all: 500 steps of 512 (BiT-HyperRule for small tasks, Kolesnikov et al. 2020)
_SCRATCH_IMAGES = 1_000_000  # four times as many: nothing is there to start from (He et al. 2019 take 3 to 6 times)
_MANY = 20_000  # images from which BiT-HyperRule mixes them
_RATES = {"adamw": 1e-3, "sgd": 1e-2}  # of a new head: the optimizers' usual ones
_PLANTED = 0.3  # times that of a new head: a probe has converged, and ten times less learns nothing in a few epochs
# rate of the last group, times the head's, and of a group, times the next one's
_NEAR, _NEAR_AND_MANY, _FAR = (0.1, 0.8), (1.0, 0.8), (1.0, 1.0)
_ENOUGH = 1_000  # images that outweigh what the backbone knows (docs/decisions/0010-fine-tuning.md)
_SCRATCH_RATES = {"adamw": 1e-3, "sgd": 1e-1}  # He et al. 2016 for SGD


def epochs(images: int, *, scratch: bool) -> int:
    """Times that each image is seen: 30 at most where a network is fine-tuned, 200 from scratch."""
    seen, most, least = (_SCRATCH_IMAGES, 200, 10) if scratch else (_FINETUNE_IMAGES, 30, 3)
    return min(most, max(least, round(seen / images)))


def mixup(images: int) -> float:
    """Parameter of the beta distribution that weighs two images (Zhang et al. 2018); 0: none are mixed."""
    return 0.1 if images >= _MANY else 0.0


def learning_rate(optimizer: str, *, scratch: bool, planted: bool = False) -> float:
    """Of the head, and of everything from scratch; ``planted``: the head is a probe's."""
    rate = (_SCRATCH_RATES if scratch else _RATES)[optimizer]
    return rate * _PLANTED if planted else rate


def is_far(probe_accuracy: float, classes: int) -> bool:
    """Whether the probe says that the images are far from those of the pretraining."""
    chance = 1 / classes
    return (probe_accuracy - chance) / (1 - chance) < FAR_DOMAIN


def trainable_groups(groups: int, *, far: bool) -> str:
    """How many of the last groups of layers learn: a third, or all where the domain is far.

    First layers see edges and colours, which serve any photographs (Yosinski et al. 2014); what lies far from
    photographs needs other ones.
    """
    return "all" if far else str(max(1, round(groups / 3)))


def backbone_rates(images: int, *, far: bool) -> tuple[float, float]:
    """Learning rate of the backbone as a share of the head's, and its decay from group to group.

    A tenth, less towards the first layers (Howard & Ruder 2018), where images are few. A thousand and more teach the
    last layers at the rate of a planted head, which is low itself; in a far domain all layers have as far to go.
    """
    if far:
        return _FAR
    return _NEAR if images < _ENOUGH else _NEAR_AND_MANY
