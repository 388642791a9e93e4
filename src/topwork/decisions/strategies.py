"""The strategies to train a classifier, cheapest first: name, parameters, cost, and when it is not worth running.

Each strategy is a namespace of the pipelines and a row of the leaderboard. Evaluation, comparison and MLflow use the
list in this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from topwork.core import parameters as blocks
from topwork.core.fits import MULTICROP
from topwork.core.heads import Head, LinearHead
from topwork.core.parameters import (
    Block,
    DistilledParameters,
    EnsembleParameters,
    FinetuneParameters,
    HeadParameters,
    LinearParameters,
    ScratchParameters,
)
from topwork.core.results import Evidence, Expected
from topwork.training.defaults import FAR_DOMAIN

FEW, MANY = 1_000, 10_000
"""Numbers of images that the advice depends on.

Below ``FEW`` images the backbone stays frozen. This is a rule of thumb: 261 cut-outs gained nothing by fine-tuning, and
3,000 photographs of clothes gained a point (docs/decisions/0012-advice.md). From ``MANY`` images on, a network may
learn a far domain from scratch (He et al. 2019: 10,000 are enough, 1,000 are not)."""
SMALL_PICTURE = 64
"""Images with a shorter side below this number of pixels count as small.

Their enlarged pixels are mostly interpolated, so that a small network trained from scratch may be better than a
backbone for photographs (handwritten digits, docs/decisions/0012-advice.md)."""
_HEADS = "topwork.training.heads"
_SMALL_NETWORK = 150.0  # images a second that the small network of `scratch` learns from on two cores
_LAST_LAYERS, _ALL_LAYERS = 3.0, 25.0
"""Time of a training step as a factor of the engine's time for the features of its images.

EfficientNet-Lite0 on two cores with AMX: features at 224 px 400 images/s, the last third learns from 130; features at
128 px 1,200 images/s, all layers learn from 42."""
_ONE_CROP = "fit=multicrop averages features over several crops, and a network learns from one"
_FITS = 10.0  # time of a head as a factor of the probe's time: pairs of folds, several values of C


@dataclass(frozen=True)
class Strategy:
    """A way to train a classifier.

    ``parameters`` is the type of its parameter block, which has the same name. ``head`` is the module that fits a head
    on the cached features; it is empty if the strategy trains a network in its own pipeline. ``on_features`` says
    whether that network is the backbone of the features. ``trains_network`` says whether it trains layers, for which it
    needs minutes. ``combines`` says that it is made of the other strategies; it runs only if the user names it.
    ``why_not`` gives the
    reason why the strategy is not worth running on these images, or an empty text. ``expected`` gives the expected
    accuracy, and ``sure`` says how certain it is. ``seconds`` gives the cost, from the evidence and the minutes that
    the strategy may take (None: no limit besides its epochs). ``epoch`` estimates the seconds of an epoch of one model,
    from the images a second for which the engine computes features; 0 for a head.
    """

    name: str
    parameters: type[Block]
    head: str
    on_features: bool
    trains_network: bool
    combines: bool
    why_not: Callable[[Evidence], str]
    expected: Callable[[Evidence], Expected]
    sure: str
    seconds: Callable[[Evidence, float | None], float | None]
    epoch: Callable[[Evidence, float], float]

    @property
    def averages(self) -> bool:
        """Whether it is a mean of other strategies, which needs no training."""
        return self.combines and not self.trains_network


def is_far(evidence: Evidence) -> bool:
    """Whether the images are far from the pretraining domain, so that a linear head on the features is not good."""
    return evidence.above_chance < FAR_DOMAIN


def has_small_pictures(evidence: Evidence) -> bool:
    """Whether the images are far smaller than the images that the backbone was made for."""
    return evidence.median_side < SMALL_PICTURE


def head_types() -> Mapping[str, type[Head]]:
    """The class of each kind of head, by the name that is written into a classifier's file."""
    modules = (import_module(strategy.head) for strategy in REGISTRY if strategy.head)
    own = (value for module in modules for value in vars(module).values() if _is_head(value))
    return {head.kind: head for head in (LinearHead, *own)}


def _is_head(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Head) and value is not Head


def _never(_evidence: Evidence) -> str:
    return ""


def _head(name: str, parameters: type[Block], why_not: Callable[[Evidence], str] = _never) -> Strategy:
    """A strategy with a head on frozen features, fitted by the module of the same name."""
    return Strategy(
        name=name,
        parameters=parameters,
        head=f"{_HEADS}.{name}",
        on_features=True,
        trains_network=False,
        combines=False,
        why_not=why_not,
        expected=lambda found: Expected(accuracy=found.probe_accuracy, low=found.probe_low, high=found.probe_high),
        sure="to expect is the score of the probe, within its interval; tuned classifiers differ from it a little",
        seconds=lambda found, _minutes: _FITS * found.probe_seconds,
        epoch=lambda _found, _speed: 0.0,
    )


def _network(
    name: str,
    parameters: type[Block],
    why_not: Callable[[Evidence], str],
    epoch: Callable[[Evidence, float], float],
    *,
    on_features: bool,
) -> Strategy:
    """A strategy that trains a network; the probe's lower bound is its lowest expected accuracy."""
    return Strategy(
        name=name,
        parameters=parameters,
        head="",
        on_features=on_features,
        trains_network=True,
        combines=False,
        why_not=why_not,
        expected=lambda found: Expected(accuracy=None, low=found.probe_low, high=1.0),
        sure="fairly sure of a gain of a point or two over the probe, no more; the leaderboard tells whether it is "
        "there",
        seconds=lambda _found, minutes: None if minutes is None else 60 * minutes,
        epoch=epoch,
    )


def _combination(
    name: str, parameters: type[Block], epoch: Callable[[Evidence, float], float] | None = None
) -> Strategy:
    """A strategy that is made of the other ones, which the advice leaves to the user; a network if it has ``epoch``."""
    return Strategy(
        name=name,
        parameters=parameters,
        head="",
        on_features=False,
        trains_network=epoch is not None,
        combines=True,
        why_not=_never,
        expected=lambda found: Expected(accuracy=None, low=found.probe_low, high=1.0),
        sure="",
        seconds=lambda _found, minutes: None if minutes is None else 60 * minutes,
        epoch=epoch or (lambda _found, _speed: 0.0),
    )


def _no_svm(evidence: Evidence) -> str:
    if evidence.images < FEW:
        return ""
    return f"a linear head like logistic regression, no better from {FEW:,} images on and slower"


def _no_scratch(evidence: Evidence) -> str:
    if evidence.fit == MULTICROP:
        return _ONE_CROP
    if has_small_pictures(evidence):
        return ""
    if not is_far(evidence):
        source = "pretrained" if evidence.has_layers else "extractor's"
        return f"the {source} features fit these images: random weights would have to learn them anew"
    return f"under {MANY:,} images are too few to learn a far domain from nothing" if evidence.images < MANY else ""


def _no_finetune(evidence: Evidence) -> str:
    if evidence.fit == MULTICROP:
        return _ONE_CROP
    if not evidence.has_layers:
        return "the features come from an extractor of your own, which has no layers to train"
    if evidence.images >= FEW or is_far(evidence) or has_small_pictures(evidence):
        return ""
    return f"under {FEW:,} images near the pretraining domain it gains less than its interval"


def _epoch_of_scratch(evidence: Evidence, _speed: float) -> float:
    return evidence.learnt / _SMALL_NETWORK


def _epoch_of_finetune(evidence: Evidence, speed: float) -> float:
    return evidence.learnt * (_ALL_LAYERS if is_far(evidence) else _LAST_LAYERS) / speed


def _epoch_of_distilled(evidence: Evidence, speed: float) -> float:
    return evidence.learnt * _LAST_LAYERS / speed


REGISTRY = (
    _head("logistic", LinearParameters),
    _head("lda", HeadParameters),
    _head("svm", LinearParameters, _no_svm),
    _network("scratch", ScratchParameters, _no_scratch, _epoch_of_scratch, on_features=False),
    _network("finetune", FinetuneParameters, _no_finetune, _epoch_of_finetune, on_features=True),
    _combination("ensemble", EnsembleParameters),
    _combination("distilled", DistilledParameters, _epoch_of_distilled),
)
"""All strategies, cheapest first."""

STRATEGIES = tuple(strategy.name for strategy in REGISTRY)
"""Names of all strategies, cheapest first."""

BASIC = tuple(strategy.name for strategy in REGISTRY if not strategy.combines)
"""Names of the strategies that `strategies=all` stands for; the others are made of these."""

STRATEGY = {strategy.name: strategy for strategy in REGISTRY}
"""Each strategy by its name."""

BLOCKS: Mapping[str, type[Block]] = {
    **blocks.BLOCKS,
    **{strategy.name: strategy.parameters for strategy in REGISTRY},
}
"""The type of each parameter block, by name of the block."""
