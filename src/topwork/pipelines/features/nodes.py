"""Take bottleneck features from the store, after computing those that it lacks.

The network is imported inside the functions: Kedro imports this module for every run, whatever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from topwork.images.views import plan_views
from topwork.models.request import requested_features
from topwork.parameters import AugmentationParameters, FeatureParameters
from topwork.schemas import OK, Features, FeatureShard, FeatureStore, ImageStore
from topwork.splits import content_digest

if TYPE_CHECKING:
    from topwork.models.backbones import BackboneSpec
    from topwork.models.extraction import Extraction


def extract_features(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features of the images and views that the store has none of; each distinct content once."""
    from topwork.models.extraction import extract_missing

    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    spec, extraction = _what(parameters)
    plan = plan_views(augmentation)
    yield from extract_missing(images, contents, known_features, spec, extraction, plan, augmentation.views)


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
