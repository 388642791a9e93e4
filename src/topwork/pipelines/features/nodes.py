"""Take bottleneck features from the store, after computing those that it lacks.

The network is imported inside the functions: Kedro imports this module for every run, whatever it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from topwork.images.views import plan_views
from topwork.models.request import requested_features
from topwork.parameters import AugmentationParameters, FeatureParameters
from topwork.schemas import OK, FeatureKey, Features, FeatureShard, FeatureStore, ImageStore
from topwork.splits import content_digest

if TYPE_CHECKING:
    from topwork.models.backbones import BackboneSpec
    from topwork.models.extraction import Extraction

_log = logging.getLogger(__name__)


def extract_features(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features of the images and views that the store has none of; each distinct content once."""
    from topwork.models.extraction import extract_shards, extract_view_shards, feature_key, view_keys

    spec, extraction = _what(parameters)
    key = feature_key(spec, extraction)
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256").set_index("sha256")["image_id"]

    def missing(of: FeatureKey) -> list[tuple[str, str]]:
        return [(str(usable[sha256]), sha256) for sha256 in known_features.missing(of, usable.index.tolist())]

    if originals := missing(key):
        yield from extract_shards(images, originals, spec, key, extraction)
    _tell(parameters.backbone, "images", len(usable), len(originals), known_features.bytes_held(key))

    plan, lacking = plan_views(augmentation), 0
    keys = view_keys(key, plan, augmentation.views)
    for wanted, views in _alike({view: missing(of) for view, of in keys.items()}):
        lacking += len(wanted) * len(views)
        of_these = {view: keys[view] for view in views}
        yield from extract_view_shards(images, wanted, spec, of_these, plan, extraction)
    if keys:
        held = sum(known_features.bytes_held(of) for of in keys.values())
        _tell(parameters.backbone, "views", len(usable) * len(keys), lacking, held)


def gather_features(
    feature_shards: FeatureStore,
    manifest: pd.DataFrame,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Features:
    """The features of this run's usable images and their views, in the order of the manifest."""
    from topwork.models.extraction import feature_key, view_keys

    key = feature_key(*_what(parameters))
    usable = manifest[manifest["status"] == OK]
    sha256 = usable["sha256"].tolist()
    vectors = feature_shards.get(key, sha256)
    views = np.empty((augmentation.views, *vectors.shape), np.float32)
    for view, of in view_keys(key, plan_views(augmentation), augmentation.views).items():
        views[view - 1] = feature_shards.get(of, sha256)
    return Features(
        key=key,
        requested=requested_features(parameters, augmentation),
        content=content_digest(usable),
        image_id=tuple(usable["image_id"]),
        vectors=vectors,
        views=views,
    )


def _alike(missing: Mapping[int, list[tuple[str, str]]]) -> Iterator[tuple[list[tuple[str, str]], list[int]]]:
    """Views that the same images lack, together with these: all of them, unless an earlier run was interrupted."""
    for wanted in {tuple(images): None for images in missing.values() if images}:
        yield list(wanted), [view for view, images in missing.items() if tuple(images) == wanted]


def _tell(backbone: str, what: str, wanted: int, misses: int, held: int) -> None:
    _log.info(
        "features of %s, %s: %d hits, %d misses; the store holds %.1f MB of them",
        *(backbone, what, wanted - misses, misses, held / 1e6),
    )


def _what(parameters: FeatureParameters) -> tuple[BackboneSpec, Extraction]:
    from topwork.models.backbones import describe_backbone
    from topwork.models.extraction import Extraction

    spec = describe_backbone(parameters.backbone, parameters.weights, parameters.image_size, parameters.seed)
    extraction = Extraction(
        layers=parameters.layers,
        pool=parameters.pool,
        number_format=parameters.number_format,
        batch_size=parameters.batch_size,
        shard_size=parameters.shard_size,
        decode_threads=parameters.decode_threads,
        max_pixels=parameters.max_pixels,
    )
    return spec, extraction
