"""The engine that serves a classifier, and the features that a classifier's own network gives of images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.classifier import Classifier
from topwork.core.features import FeatureKey
from topwork.core.progress import report_progress
from topwork.images.batches import Wanted, decode_batch, map_batches
from topwork.images.transforms import Preprocessing
from topwork.models.backbones import Backbone
from topwork.models.engines import REFERENCE, Engine, Recipe, available_engines, build_engine
from topwork.models.engines.hardware import accelerator, native_formats
from topwork.models.graft import network_backbone

_log = logging.getLogger(__name__)
_LARGEST = 2**31 - 1  # pixels: the images have been inspected before


def serving_engine(classifier: Classifier, backbone: Callable[[], Backbone], batch_size: int | None = None) -> Engine:
    """The engine that computed the features for the head in training, so that answers are the same.

    If it cannot run on this machine, the reference engine replaces it with a warning in the log, and answers may differ
    a little. A network that was trained (not ``frozen``) was trained in float32. OpenVINO, if available, runs it ten
    times as fast as the engine of its training.
    """
    key = classifier.key
    recipe = Recipe(
        key.engine,
        key.number_format,
        layers=key.layers,
        pool=key.pool if key.pool != "own" else "average",
        preprocessing=Preprocessing(**key.preprocessing),
        backbone=backbone,
        batch_size=batch_size,
    )
    if not runs_here(key):
        _log.warning(
            "%s in %s cannot run here; answers may differ a little from those in training",
            key.engine,
            key.number_format,
        )
        recipe = replace(recipe, engine=REFERENCE[0], number_format=REFERENCE[1])
    if not classifier.frozen and "openvino" in available_engines():
        try:
            return build_engine(replace(recipe, engine="openvino"))
        except Exception as error:  # converters raise various exceptions on unknown networks
            _log.info("OpenVINO cannot run this network (%s)", str(error).strip().split("\n")[0])
    return build_engine(recipe)


def engine_for_one(classifier: Classifier, backbone: Callable[[], Backbone]) -> Engine | None:
    """The same engine for single images, which are then not padded to a whole batch; None if it is not used.

    It is not used for the compiled engine, which would compile again for a minute, and outside a CPU, where answers may
    differ. On a CPU features are the same to the last bit, however many images are computed together.
    """
    if accelerator() != "cpu" or classifier.key.engine == "compiled":
        return None
    return serving_engine(classifier, backbone, 1)


def runs_here(key: FeatureKey) -> bool:
    """Whether this machine has the engine and the number format that ``key`` names."""
    return key.engine in available_engines() and key.number_format in {"float32", *native_formats()}


def network_features(classifier: Classifier, images: Mapping[str, bytes], wanted: Wanted) -> Floats:
    """Feature vectors ``[len(wanted), d]`` for the head, of pairs of image id and SHA-256."""
    engine = serving_engine(classifier, lambda: network_backbone(classifier))
    preprocessing = Preprocessing(**classifier.key.preprocessing)

    def features(batch: Wanted) -> Floats:
        return engine(decode_batch(images, batch, preprocessing, _LARGEST))

    found, task = [], f"{classifier.strategy}, predicting"
    for _, of_batch in map_batches(features, wanted, engine.batch_size, 2):
        found.append(of_batch)
        report_progress(task, sum(map(len, found)), len(wanted), "images")
    return np.concatenate(found)
