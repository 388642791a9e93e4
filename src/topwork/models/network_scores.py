"""What a classifier that brings its own network says of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from topwork.images.batches import Wanted, decode_batch, map_batches
from topwork.images.transforms import Preprocessing
from topwork.models.backbones import Backbone
from topwork.models.engines import REFERENCE, Engine, Recipe, build_engine
from topwork.models.graft import network_backbone
from topwork.progress import report
from topwork.schemas import Classifier, FeatureKey, Floats

_LARGEST = 2**31 - 1  # pixels: who comes here has been inspected


def classifier_engine(classifier: Classifier, batch_size: int | None = None) -> Engine:
    """The network that the classifier brings, on the engine and in the format that it serves with."""
    return serving_engine(classifier.key, lambda: network_backbone(classifier), batch_size)


def serving_engine(key: FeatureKey, backbone: Callable[[], Backbone], batch_size: int | None = None) -> Engine:
    """The reference engine for a key's features, whatever made those that a head was fitted on."""
    recipe = Recipe(
        *REFERENCE,
        layers=key.layers,
        pool=key.pool if key.pool != "own" else "average",
        preprocessing=Preprocessing(**key.preprocessing),
        backbone=backbone,
        batch_size=batch_size,
    )
    return build_engine(recipe)


def network_features(classifier: Classifier, images: Mapping[str, bytes], wanted: Wanted) -> Floats:
    """What the head sees, ``[len(wanted), d]``, of pairs of image id and SHA-256."""
    engine, preprocessing = classifier_engine(classifier), Preprocessing(**classifier.key.preprocessing)

    def features(batch: Wanted) -> Floats:
        return engine(decode_batch(images, batch, preprocessing, _LARGEST))

    found, task = [], f"{classifier.strategy}, predicting"
    for _, of_batch in map_batches(features, wanted, engine.batch_size, 2):
        found.append(of_batch)
        report(task, sum(map(len, found)), len(wanted), "images")
    return np.concatenate(found)
