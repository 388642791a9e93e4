"""Take bottleneck features from the store, after computing those that it lacks.

The network is imported inside the functions: Kedro imports this module for every run, whatever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd

from topwork.core.columns import OK
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.data.splits import content_digest
from topwork.images.views import plan_views
from topwork.models.extraction import Extraction, extract_missing, view_keys
from topwork.models.feature_key import engine_for, resolved_key
from topwork.models.requested_features import requested_features


def resolve_key(engines: EngineStore, parameters: FeatureParameters) -> FeatureKey:
    """What the features depend on beside the image; it names the engine, which is measured once a machine."""
    return resolved_key(parameters, engines)


def extract_features(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    feature_key: FeatureKey,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features of the images and views that the store has none of; each distinct content once."""
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    engine = cache(lambda: engine_for(feature_key, parameters, engines))
    how = Extraction(parameters.shard_size, parameters.threads, parameters.max_pixels)
    plan = plan_views(augmentation)
    yield from extract_missing(images, contents, known_features, feature_key, engine, how, plan, augmentation.views)


def gather_features(
    feature_shards: FeatureStore,
    manifest: pd.DataFrame,
    feature_key: FeatureKey,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Features:
    """The features of this run's usable images and their views, in the order of the manifest."""
    usable = manifest[manifest["status"] == OK]
    sha256 = usable["sha256"].tolist()
    vectors = feature_shards.get(feature_key, sha256)
    views = np.empty((augmentation.views, *vectors.shape), np.float32)
    for view, of in view_keys(feature_key, plan_views(augmentation), augmentation.views).items():
        views[view - 1] = feature_shards.get(of, sha256)
    return Features(
        key=feature_key,
        requested=requested_features(parameters, augmentation),
        content=content_digest(usable),
        image_id=tuple(usable["image_id"]),
        vectors=vectors,
        views=views,
    )
