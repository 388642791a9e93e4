"""Classifiers and ensembles that answer for image bytes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.core.classifier import AnyClassifier, Classifier, Ensemble
from topwork.images.augmentation import view_crops
from topwork.images.decode import RejectedError, decode_pixels
from topwork.images.transforms import Preprocessing, all_crops
from topwork.images.views import ViewPlan, draw_views
from topwork.inference.network_engine import engine_for_one, serving_engine
from topwork.models.backbones import Backbone
from topwork.models.engines import Engine
from topwork.models.graft import network_backbone
from topwork.scoring.metrics import softmax

_BATCH = 8
_NAMED = 5  # broken images that an error names
_MAX_PIXELS = 89_478_485
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Answers:
    """Answers for n images, one row per image.

    ``reasons`` say why an image is not usable, and are empty for usable images. ``probabilities`` ``[n, c]`` and the
    ``distances`` ``[n]`` from the training images are NaN for unusable images.
    """

    reasons: tuple[str, ...]
    probabilities: Floats
    distances: Floats


class Predictor(ABC):
    """Answers for image bytes, with the preprocessing, layers and engines of training."""

    @staticmethod
    def of(classifier: AnyClassifier, one_by_one: bool = False) -> Predictor:
        """The predictor of a classifier, with its network; ``one_by_one`` also prepares an engine for single images.

        Raises:
            InputError: a network of the classifier cannot be built here.

        """
        if isinstance(classifier, Ensemble):
            return EnsemblePredictor(classifier, one_by_one)
        return NetworkPredictor.of_network(classifier, one_by_one)

    @property
    @abstractmethod
    def classifier(self) -> AnyClassifier:
        """The classifier that answers."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Largest number of images in one call of `answer`."""

    @property
    @abstractmethod
    def streams(self) -> int:
        """Number of calls of `answer` that compute at the same time."""

    @property
    @abstractmethod
    def megabytes(self) -> float:
        """Size of all weights in float32, in megabytes."""

    @abstractmethod
    def answer(self, images: Sequence[bytes], max_pixels: int = _MAX_PIXELS) -> Answers:
        """Answers for at most `batch_size` images; an unusable image keeps its row, with the reason."""

    def predict(self, images: Sequence[bytes]) -> pd.DataFrame:
        """One row per image, in the given order.

        The columns are ``label``, its ``confidence`` (a probability), ``none_of_these`` (whether the distance from the
        training images exceeds the threshold), and the ``probabilities`` of the classes by name.

        Raises:
            RejectedError: an image is not usable; the message gives its number.

        """
        found = self._answers(images)
        names, best = self.classifier.class_names, self.classifier.called(found.probabilities)
        bound = self.classifier.rejection.threshold if self.classifier.rejection else np.inf
        return pd.DataFrame(
            {
                "label": np.asarray(names)[best],
                "confidence": found.probabilities[np.arange(len(best)), best],
                "none_of_these": found.distances > bound,
                "probabilities": [dict(zip(names, row, strict=True)) for row in found.probabilities.tolist()],
            }
        )

    def probabilities(self, images: Sequence[bytes]) -> Floats:
        """Probabilities ``[n, c]`` of the classes, one row per image.

        Raises:
            RejectedError: an image is not usable; the message gives its number.

        """
        return self._answers(images).probabilities

    def _answers(self, images: Sequence[bytes]) -> Answers:
        size = self.batch_size
        batches = [self.answer(images[start : start + size]) for start in range(0, len(images), size)]
        reasons = tuple(reason for batch in batches for reason in batch.reasons)
        if broken := [f"image {number}: {reason}" for number, reason in enumerate(reasons, 1) if reason]:
            raise RejectedError("; ".join(broken[:_NAMED]))
        probabilities = np.concatenate(
            [np.empty((0, len(self.classifier.class_names))), *(batch.probabilities for batch in batches)]
        )
        return Answers(reasons, probabilities, np.concatenate([np.empty(0), *(batch.distances for batch in batches)]))


class NetworkPredictor(Predictor):
    """Backbone and head together."""

    def __init__(self, classifier: Classifier, backbone: Backbone, one_by_one: bool = False) -> None:
        self._classifier = classifier
        self._engine: Engine = serving_engine(classifier, lambda: backbone, _BATCH)
        self._for_one = engine_for_one(classifier, lambda: backbone) if one_by_one else None
        weights = [*backbone.trunk.parameters(), *(backbone.neck.parameters() if backbone.neck else [])]
        self._weights = sum(value.numel() for value in weights) + _head_weights(classifier)

    @classmethod
    def of_network(cls, classifier: Classifier, one_by_one: bool = False) -> NetworkPredictor:
        """The predictor of a classifier that is no ensemble, with its network."""
        return cls(classifier, network_backbone(classifier), one_by_one)

    @property
    def classifier(self) -> Classifier:
        """The classifier that answers."""
        return self._classifier

    @property
    def batch_size(self) -> int:
        """Largest number of images in one call of `answer`."""
        return self._engine.batch_size

    @property
    def streams(self) -> int:
        """Number of calls of `answer` that compute at the same time."""
        return self._engine.streams

    @property
    def megabytes(self) -> float:
        """Size of all weights in float32, in megabytes."""
        return _FLOAT * self._weights / 1e6

    def answer(self, images: Sequence[bytes], max_pixels: int = _MAX_PIXELS) -> Answers:
        """Answers for at most `batch_size` images; an unusable image keeps its row, with the reason."""
        return _told(*self.describe(images, max_pixels), [self._classifier], [1.0])

    def describe(self, images: Sequence[bytes], max_pixels: int = _MAX_PIXELS) -> tuple[Floats, list[str]]:
        """Features ``[m, d]`` of the usable ones among at most `batch_size` images, and why each other one is not.

        The reason of a usable image is an empty text.
        """
        preprocessing = Preprocessing(**self._classifier.key.preprocessing)
        crops, canvases = dict[int, NDArray[np.uint8]](), dict[int, NDArray[np.uint8]]()
        reasons = [""] * len(images)
        for row, image in enumerate(images):
            try:  # one at a time: a decoded photograph is a thousand times as large as the input of the network
                decoded = decode_pixels(image, max_pixels, preprocessing.short_side, preprocessing.white)
            except RejectedError as reason:
                reasons[row] = str(reason)
                continue
            crops[row] = all_crops(decoded, preprocessing)
            if self._classifier.test_views:
                canvases[row] = all_crops(decoded, preprocessing.canvas)
        if not crops:
            return np.empty((0, 0)), reasons
        shown = [images[row] for row in crops]
        pixels = np.stack(list(crops.values()))
        return self._vectors(shown, pixels, list(canvases.values()), preprocessing.crop), reasons

    def _vectors(
        self, images: Sequence[bytes], crops: NDArray[np.uint8], canvases: Sequence[NDArray[np.uint8]], side: int
    ) -> Floats:
        """Feature vectors ``[n, d]`` for the head, of crops ``[n, k, side, side, 3]``."""
        engine = self._for_one if self._for_one and len(images) == 1 else self._engine
        vectors = engine.mean(crops)
        if not self._classifier.test_views:
            return vectors
        return np.asarray(np.mean([vectors, *self._views(engine, images, np.stack(canvases), side)], axis=0))

    def _views(
        self, engine: Engine, images: Sequence[bytes], canvases: NDArray[np.uint8], size: int
    ) -> Iterator[Floats]:
        plan = ViewPlan(**self._classifier.test_views["plan"])
        sha256 = [hashlib.sha256(image).hexdigest() for image in images]
        for view in range(1, self._classifier.test_views["count"] + 1):
            yield engine.mean(view_crops(canvases, draw_views(plan, sha256, [view]), plan.fill, size))


class EnsemblePredictor(Predictor):
    """The mean of several predictors; members on the same features share the network that computes them."""

    def __init__(self, classifier: Ensemble, one_by_one: bool = False) -> None:
        self._classifier = classifier
        of_features = dict[str, list[int]]()
        for place, member in enumerate(classifier.members):
            of_features.setdefault(f"{member.key} {member.test_views}", []).append(place)
        self._networks = [
            (NetworkPredictor.of_network(first, one_by_one), places)
            for places in of_features.values()
            for first in [classifier.members[places[0]]]
        ]

    @property
    def classifier(self) -> Ensemble:
        """The ensemble that answers."""
        return self._classifier

    @property
    def batch_size(self) -> int:
        """Largest number of images in one call of `answer`."""
        return min(network.batch_size for network, _ in self._networks)

    @property
    def streams(self) -> int:
        """Number of calls of `answer` that compute at the same time."""
        return min(network.streams for network, _ in self._networks)

    @property
    def megabytes(self) -> float:
        """Size of all weights in float32, in megabytes."""
        more = [self._classifier.members[place] for _, places in self._networks for place in places[1:]]
        heads = _FLOAT * sum(map(_head_weights, more)) / 1e6
        return heads + sum(network.megabytes for network, _ in self._networks)

    def answer(self, images: Sequence[bytes], max_pixels: int = _MAX_PIXELS) -> Answers:
        """Answers for at most `batch_size` images; an unusable image keeps its row, with the reason."""
        parts = []
        for network, places in self._networks:
            members = [self._classifier.members[place] for place in places]
            weights = [self._classifier.weights[place] for place in places]
            parts.append(_told(*network.describe(images, max_pixels), members, weights))
        # the first network is that of the first member, whose distances tell what is none of the classes
        return Answers(parts[0].reasons, np.asarray(sum(part.probabilities for part in parts)), parts[0].distances)


def _told(vectors: Floats, reasons: Sequence[str], members: Sequence[Classifier], weights: Sequence[float]) -> Answers:
    """Answers from features ``[m, d]`` of the images without a reason: weighted sums of the members' probabilities."""
    first = members[0]
    probabilities = np.full((len(reasons), len(first.class_names)), np.nan)
    distances = np.full(len(reasons), np.nan)
    if rows := [row for row, reason in enumerate(reasons) if not reason]:
        told = [softmax(member.head.scores(vectors), member.temperature) for member in members]
        probabilities[rows] = sum(weight * each for weight, each in zip(weights, told, strict=True))
        if first.rejection:
            distances[rows] = first.rejection.distances(vectors)
    return Answers(tuple(reasons), probabilities, distances)


def _head_weights(classifier: Classifier) -> int:
    return sum(value.size for value in classifier.head.tensors().values())
