"""Inspects images without labels, and computes the features from which the champion answers for them.

The network is imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from topwork.core.classifier import AnyClassifier, the_only
from topwork.core.columns import OK, REJECTED
from topwork.core.errors import InputError
from topwork.core.features import FeatureShard
from topwork.core.parameters import IngestionParameters
from topwork.core.stores import FeatureStore, ImageStore
from topwork.data.learnt import check_learnt
from topwork.data.manifest import Limits, inspect_new, with_inspection
from topwork.data.readable import check_names

_PURPOSE = "comparing features, for labelling and monitoring,"


def inspect_new_images(
    new_images: ImageStore,
    asked_classifier: AnyClassifier,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    known_new_files: pd.DataFrame,
    parameters: IngestionParameters,
) -> Iterator[pd.DataFrame]:
    """Inspections of the files that are new or changed, chunk by chunk.

    Args:
        new_images: the files.
        asked_classifier: the classifier that is asked; it must have learnt from the images of the manifest.
        manifest: manifest of the labelled images.
        splits: their splits.
        known_new_files: inspections that were made before.
        parameters: block `ingestion`.

    Raises:
        InputError: the classifier learnt from other images, or is an ensemble, which is known here, before the long
            work; or most files need a plugin that is not installed.

    """
    check_learnt(the_only(asked_classifier, _PURPOSE), manifest, splits)
    check_names(new_images.listing["path"], f"new_images={new_images.source}")
    known = known_new_files.head(0) if parameters.rehash else known_new_files
    yield from inspect_new(new_images.listing, new_images, known, _limits(parameters), parameters.threads)


def list_new_images(
    new_images: ImageStore, new_files: pd.DataFrame, manifest: pd.DataFrame, parameters: IngestionParameters
) -> pd.DataFrame:
    """One row per file: ``image_id``, ``path``, ``sha256``, ``status``, ``reason``, and whether it is ``known``.

    A file is known if the manifest has an image with the same bytes.

    Raises:
        InputError: a file came or changed since the inspection, or no file is a usable image.

    """
    table = with_inspection(new_images.listing, new_files, _limits(parameters), "run the same command again")
    table = table.sort_values("image_id", ignore_index=True)
    if (table["status"] == REJECTED).all():
        reason = f"{table['image_id'].iloc[0]} ({table['reason'].iloc[0]})"
        raise InputError(f"new_images={new_images.source}: none of {len(table):,} files is an image, as {reason}.")
    known = set(manifest.loc[manifest["status"] == OK, "sha256"])
    listed = table[["image_id", "path", "sha256", "status", "reason"]]
    return listed.assign(known=table["sha256"].isin(known))


def describe_new_images(
    new_images: ImageStore, new_manifest: pd.DataFrame, asked_classifier: AnyClassifier, known_features: FeatureStore
) -> Iterator[FeatureShard]:
    """Shards with the features of the usable files that the store does not have; equal files are computed once.

    Raises:
        InputError: the classifier is an ensemble, which has features of several networks.

    """
    from topwork.inference.description import describe_missing

    usable = new_manifest[new_manifest["status"] == OK].drop_duplicates("sha256")
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    yield from describe_missing(new_images, contents, known_features, the_only(asked_classifier, _PURPOSE))


def _limits(parameters: IngestionParameters) -> Limits:
    return Limits(parameters.max_pixels, parameters.max_bytes)
