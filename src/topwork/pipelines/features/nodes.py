"""Take bottleneck features from the store, after computing those that it lacks.

The network is imported inside the functions: Kedro imports this module for every run, whatever it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from topwork.digests import file_digest
from topwork.parameters import FeatureParameters
from topwork.schemas import OK, Features, FeatureShard, FeatureStore, ImageStore
from topwork.splits import content_digest

if TYPE_CHECKING:
    from topwork.models.backbones import BackboneSpec
    from topwork.models.extraction import Extraction

_log = logging.getLogger(__name__)


def extract_features(
    images: ImageStore, manifest: pd.DataFrame, known_features: FeatureStore, parameters: FeatureParameters
) -> Iterator[FeatureShard]:
    """Shards with the features of the images that the store has none of; each distinct content once."""
    from topwork.models.extraction import extract_shards, feature_key

    spec, extraction = _what(parameters)
    key = feature_key(spec, extraction)
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256").set_index("sha256")["image_id"]
    missing = known_features.missing(key, usable.index.tolist())
    if missing:
        wanted = [(str(usable[sha256]), sha256) for sha256 in missing]
        yield from extract_shards(images, wanted, spec, key, extraction)
    _log.info(
        "features of %s: %d hits, %d misses; the store holds %.1f MB under this key",
        parameters.backbone,
        len(usable) - len(missing),
        len(missing),
        known_features.bytes_held(key) / 1e6,
    )


def gather_features(feature_shards: FeatureStore, manifest: pd.DataFrame, parameters: FeatureParameters) -> Features:
    """The features of this run's usable images, in the order of the manifest."""
    from topwork.models.extraction import feature_key

    key = feature_key(*_what(parameters))
    usable = manifest[manifest["status"] == OK]
    return Features(
        key=key,
        requested=requested(parameters),
        content=content_digest(usable),
        image_id=tuple(usable["image_id"]),
        vectors=feature_shards.get(key, usable["sha256"].tolist()),
    )


def requested(parameters: FeatureParameters) -> dict[str, object]:
    """Those parameters that the vectors depend on, a weight file by its content."""
    asked = parameters.model_dump(include={"backbone", "weights", "image_size", "layers", "pool", "number_format"})
    if parameters.weights == "none":
        asked["seed"] = parameters.seed
    elif parameters.weights != "default":
        asked["weights"] = file_digest(Path(parameters.weights))
    return asked


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
