"""Take bottleneck features from the store, after computing those that it lacks.

The network is imported inside the functions: Kedro imports this module for every run, whatever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd

from topwork.core.columns import OK
from topwork.core.features import Features, FeatureShard
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.data.splits import content_digest
from topwork.images.views import plan_views
from topwork.models.extraction import Extraction, extract_missing, view_keys
from topwork.models.feature_key import engine_for, feature_key
from topwork.models.requested_features import requested_features


def extract_features(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features of the images and views that the store has none of; each distinct content once."""
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    key = feature_key(parameters, engines)
    engine = cache(lambda: engine_for(key, parameters, engines))
    how = Extraction(parameters.shard_size, parameters.threads, parameters.max_pixels)
    plan = plan_views(augmentation)
    yield from extract_missing(images, contents, known_features, key, engine, how, plan, augmentation.views)


def gather_features(
    feature_shards: FeatureStore,
    manifest: pd.DataFrame,
    engines: EngineStore,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Features:
    """The features of this run's usable images and their views, in the order of the manifest."""
    key = feature_key(parameters, engines)
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
