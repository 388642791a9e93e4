"""The classifier, which is the result of every strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.blocks import blocks
from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import Head

CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS = "spec.json", "weights.safetensors"  # the files of a classifier


@dataclass(frozen=True)
class Rejection:
    """Distance of features to the training images, with a threshold above which they belong to none of the classes.

    Features ``[n, d]`` minus the ``centre`` ``[d]`` are projected onto ``directions`` ``[k, d]``. The length of the
    remainder is one more coordinate. ``whitening`` ``[k + 1, k + 1]`` gives the classes the same spread in all
    directions. ``means`` ``[c, k + 1]`` are the class means in whitened coordinates.
    """

    centre: Floats
    directions: Floats
    whitening: Floats
    means: Floats
    threshold: float

    def distances(self, features: Floats, rows: Integers | None = None) -> Floats:
        """Distances ``[n]`` of features ``[n, d]``, or of these ``rows`` of them, to the nearest class mean."""

        def of_block(block: slice) -> Floats:
            some = features[block] if rows is None else features[rows[block]]
            places = self.coordinates(some) @ self.whitening.T
            squared = (places**2).sum(1)[:, None] - 2 * places @ self.means.T + (self.means**2).sum(1)
            return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), 0)))

        return np.concatenate([of_block(block) for block in blocks(len(features if rows is None else rows))])

    def coordinates(self, features: Floats) -> Floats:
        """Coordinates ``[n, k + 1]``: projections onto the directions, and the length of the remainder."""
        centred = np.asarray(features, np.float64) - self.centre
        along = centred @ self.directions.T
        outside = np.sqrt(np.maximum((centred**2).sum(1) - (along**2).sum(1), 0))
        return np.column_stack([along, outside])

    def rejecting_above(self, threshold: float) -> Rejection:
        """A copy with another threshold."""
        return replace(self, threshold=threshold)


@dataclass(frozen=True)
class Decision:
    """The answer of a classifier of two classes: ``positive`` from the probability ``threshold`` on, or else the other.

    ``wish`` says in words what the threshold was chosen for.
    """

    positive: str
    threshold: float
    wish: str

    @property
    def rule(self) -> str:
        """The rule in words, without the threshold: two models with the same rule answer to the same wish."""
        return f"{self.positive}, {self.wish}"


@dataclass(frozen=True)
class LeastCost:
    """The answer of a classifier whose mistakes have a price: the class of the least expected cost.

    ``costs`` ``[c][c]`` is the cost of each answer (column) for an image of each class (row).
    """

    costs: tuple[tuple[float, ...], ...]

    @property
    def rule(self) -> str:
        """The rule in words, with the start of a digest that tells one table of costs from another."""
        return f"the least expected cost (table {text_digest(str(self.costs))[:8]})"


@dataclass(frozen=True)
class Classifier:
    """A backbone with a head, which is all that is needed to predict; the result of every strategy.

    ``probabilities = softmax(scores / temperature)``, with columns in the order of ``class_names``. ``training`` holds
    numbers and words that the training reports. With ``test_views`` (``count`` and ``plan``), the scores of an image
    are the mean over the original and ``count`` augmented views. ``network`` holds the tensors of the trunk
    (``trunk.…``) and of the dense layers of ``hidden`` sizes before the head (``neck.…``). If ``frozen``, the head was
    fitted on the features of ``key``; otherwise the network was trained too. ``rejection`` detects images of none of
    the classes. ``data_digest`` is the digest of the images. Without a ``decision`` the most likely class
    is answered.
    """

    strategy: str
    key: FeatureKey
    head: Head
    class_names: tuple[str, ...]
    temperature: float
    split_digest: str
    training: Mapping[str, Any] = field(default_factory=dict)
    test_views: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Floats] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    frozen: bool = True
    data_digest: str = ""
    rejection: Rejection | None = None
    decision: Decision | LeastCost | None = None

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self.key.backbone

    @property
    def layers(self) -> str:
        """Names of the layers whose output is the input of the head, joined by ``+``."""
        return "+".join(self.key.layers)

    @property
    def image_size(self) -> int | None:
        """Side of the square that the network sees, in pixels."""
        side: int = self.key.preprocessing["crop"]
        return side

    def called(self, probabilities: Floats) -> Integers:
        """Number of the class that is answered for each row of probabilities ``[n, c]``."""
        return called(probabilities, self.class_names, self.decision)


@dataclass(frozen=True)
class Ensemble:
    """Several classifiers of the same classes and splits; the mean of their probabilities is what it predicts.

    ``weights`` are those of the mean, the largest first; they sum to 1. Whether an image belongs to none of the classes
    is told by the first member. ``training`` and ``decision`` are as in `Classifier`.
    """

    members: tuple[Classifier, ...]
    weights: tuple[float, ...]
    strategy: str = "ensemble"
    training: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | LeastCost | None = None
    temperature: float = 1.0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.members[0].class_names

    @property
    def split_digest(self) -> str:
        """Digest of the splits that all members were trained on."""
        return self.members[0].split_digest

    @property
    def data_digest(self) -> str:
        """Digest of the images."""
        return self.members[0].data_digest

    @property
    def rejection(self) -> Rejection | None:
        """How the first member detects images of none of the classes."""
        return self.members[0].rejection

    @property
    def backbone(self) -> str:
        """Names of the different backbones, joined by ``+``."""
        return "+".join(dict.fromkeys(member.backbone for member in self.members))

    @property
    def layers(self) -> str:
        """Names of the different layers of all members, joined by ``+``."""
        return "+".join(dict.fromkeys(name for member in self.members for name in member.key.layers))

    @property
    def image_size(self) -> int | None:
        """Side of the square that all networks see, in pixels; None if it is not the same for all."""
        sides = {member.image_size for member in self.members}
        return sides.pop() if len(sides) == 1 else None

    def called(self, probabilities: Floats) -> Integers:
        """Number of the class that is answered for each row of probabilities ``[n, c]``."""
        return called(probabilities, self.class_names, self.decision)


AnyClassifier = Classifier | Ensemble
"""What a strategy trains, and what predicts."""


def in_words(classifier: AnyClassifier) -> str:
    """Strategy, backbone and image size of a classifier, for people."""
    side = f", {classifier.image_size} px" if classifier.image_size else ""
    return f"{classifier.strategy} ({classifier.backbone}{side})"


def members_of(classifier: AnyClassifier) -> tuple[Classifier, ...]:
    """The members of an ensemble; a classifier is its own only member."""
    return classifier.members if isinstance(classifier, Ensemble) else (classifier,)


def the_only(classifier: AnyClassifier, purpose: str) -> Classifier:
    """The classifier, which must be no ensemble.

    Raises:
        InputError: it is an ensemble; the message names its first member instead.

    """
    if isinstance(classifier, Classifier):
        return classifier
    first = classifier.members[0].strategy
    raise InputError(
        f"{purpose} works on one network, and {classifier.strategy} is made of several classifiers: name one of them, "
        f"such as `model=data/06_models/{first}` (the folder of {first} in the data folder of the run)."
    )


def called(probabilities: Floats, class_names: Sequence[str], decision: Decision | LeastCost | None) -> Integers:
    """Number ``[n]`` of the class that is answered for probabilities ``[n, c]``; None: the most likely one."""
    if decision is None:
        return np.asarray(probabilities.argmax(axis=1))
    if isinstance(decision, LeastCost):
        return np.asarray((probabilities @ np.array(decision.costs)).argmin(axis=1))
    positive = list(class_names).index(decision.positive)
    return np.where(probabilities[:, positive] >= decision.threshold, positive, 1 - positive)
