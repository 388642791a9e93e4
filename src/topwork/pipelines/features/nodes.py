"""Computes missing bottleneck features, and reads all features from the store.

The network is imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.columns import OK
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.core.greys import settled
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.data.splits import content_digest
from topwork.images.views import plan_views
from topwork.models.extraction import extract_with, on_workers, view_keys
from topwork.models.feature_key import resolved_key
from topwork.models.requested_features import requested_features


def resolve_key(
    manifest: pd.DataFrame, engines: EngineStore, grey_range: dict[str, Any], parameters: FeatureParameters
) -> FeatureKey:
    """Everything that the features depend on besides the images; the engine is measured once per machine.

    Args:
        manifest: not read; images that cannot be used are refused before an engine is measured.
        engines: choices that were made before.
        grey_range: black and white, if `white=percentiles`.
        parameters: of the block `features`.

    """
    return resolved_key(settled(parameters, grey_range), engines)


def extract_features(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    feature_key: FeatureKey,
    parameters: FeatureParameters,
    augmentation: AugmentationParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features of images and views that are not in the store; equal files are computed once."""
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    plan, views = plan_views(augmentation), augmentation.views
    keys = [feature_key, *view_keys(feature_key, plan, views).values()]
    extract = partial(extract_with, feature_key, parameters, engines, plan, views)
    yield from on_workers(extract, keys, images, contents, known_features)


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
