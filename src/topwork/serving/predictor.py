"""A classifier that answers for image bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.images.augmentation import apply_views
from topwork.images.decode import decode_pixels
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.images.views import ViewPlan, draw_views
from topwork.metrics import softmax
from topwork.models.backbones import Backbone, describe_backbone, load_backbone
from topwork.models.engines import Engine
from topwork.models.graft import network_backbone
from topwork.models.network_scores import serving_engine
from topwork.schemas import Classifier, Floats, InputError

_BATCH = 8
_MAX_PIXELS = 89_478_485


class Predictor:
    """Backbone and head joined, with the preprocessing, layers and engine of training."""

    def __init__(self, classifier: Classifier, backbone: Backbone) -> None:
        self._classifier = classifier
        self._engine: Engine = serving_engine(classifier, lambda: backbone, _BATCH)
        weights = [*backbone.trunk.parameters(), *(backbone.neck.parameters() if backbone.neck else [])]
        self._weights = sum(value.numel() for value in weights) + classifier.head.weight.size

    @classmethod
    def of(cls, classifier: Classifier) -> Predictor:
        """The classifier on its backbone.

        Raises:
            InputError: the weights found here are not those of training.

        """
        if classifier.network:
            return cls(classifier, network_backbone(classifier))
        key = classifier.key
        spec = describe_backbone(key.backbone, "default", key.preprocessing["crop"])
        if spec.weights_digest != key.weights:
            raise InputError(
                f"{classifier.strategy} was trained on other weights of {key.backbone} than are installed here."
            )
        return cls(classifier, load_backbone(spec))

    @property
    def megabytes(self) -> float:
        """Of all weights, in float32."""
        return 4 * self._weights / 1e6

    def predict(self, images: Sequence[bytes]) -> pd.DataFrame:
        """``label``, ``confidence``, and the probability of each class, one row an image in the order given."""
        names = list(self._classifier.class_names)
        probabilities = self.probabilities(images)
        best = probabilities.argmax(axis=1)
        answers = pd.DataFrame({"label": np.asarray(names)[best], "confidence": probabilities.max(axis=1)})
        return pd.concat([answers, pd.DataFrame(probabilities, columns=pd.Index(names))], axis=1)

    def probabilities(self, images: Sequence[bytes]) -> Floats:
        """Of each class, ``[n, c]``, row by row."""
        batches = [self._probabilities(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
        return np.concatenate([np.empty((0, len(self._classifier.class_names))), *batches])

    def _probabilities(self, images: Sequence[bytes]) -> Floats:
        preprocessing = Preprocessing(**self._classifier.key.preprocessing)
        decoded = [decode_pixels(image, _MAX_PIXELS, preprocessing.resize) for image in images]
        vectors = self._engine(np.stack([resize_and_crop(image, preprocessing) for image in decoded]))
        if self._classifier.test_views:
            canvases = np.stack([resize_and_crop(image, preprocessing.canvas) for image in decoded])
            vectors = np.mean([vectors, *self._views(images, canvases, preprocessing.crop)], axis=0)
        return softmax(self._classifier.head.scores(vectors), self._classifier.temperature)

    def _views(self, images: Sequence[bytes], canvases: NDArray[np.uint8], size: int) -> Iterator[Floats]:
        plan = ViewPlan(**self._classifier.test_views["plan"])
        sha256 = [hashlib.sha256(image).hexdigest() for image in images]
        for view in range(1, self._classifier.test_views["count"] + 1):
            yield self._engine(apply_views(canvases, draw_views(plan, sha256, [view]), plan.fill, size))
