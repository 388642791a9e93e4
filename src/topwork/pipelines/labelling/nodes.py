"""Chooses the images whose labels would teach most, and takes in the labels that the user has filled in."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from topwork.core.classifier import AnyClassifier, the_only
from topwork.core.columns import OK, REJECTED
from topwork.core.parameters import DuplicateParameters, LabellingParameters
from topwork.core.stores import FeatureStore, ImageStore
from topwork.core.words import counted
from topwork.data.filled_labels import new_classes
from topwork.data.manifest import SMALLEST_CLASS
from topwork.data.near_duplicates import near_copy_groups
from topwork.decisions.labelling import (
    choose_to_label,
    join_labels,
    list_requests,
    most_unsure,
    still_to_learn,
)
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.plots import plot_sheet
from topwork.scoring.metrics import softmax

_log = logging.getLogger(__name__)
_NAMED = 5  # files that are named in the log


def choose_images(
    new_images: ImageStore,
    new_manifest: pd.DataFrame,
    new_shards: FeatureStore,
    asked_classifier: AnyClassifier,
    manifest: pd.DataFrame,
    earlier_requests: pd.DataFrame,
    parameters: LabellingParameters,
    duplicates: DuplicateParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images to label (columns ``REQUEST_COLUMNS``), and the same rows with ``image_id`` for the sheet.

    Images that the user has labelled since the last training come first and keep their label. Images with the bytes of
    a labelled one are not asked for.
    """
    from topwork.inference.description import served_key

    classifier = the_only(asked_classifier, "labelling")
    labelled = still_to_learn(earlier_requests, manifest, new_manifest)
    pool = _unlabelled(new_manifest, labelled)
    _tell(new_manifest, pool)
    _tell_new_classes(labelled, set(classifier.class_names))
    vectors = new_shards.get(served_key(classifier), pool["sha256"].tolist())
    scores = classifier.head.scores(vectors) if len(pool) else np.empty((0, len(classifier.class_names)))
    probabilities = softmax(scores, classifier.temperature)
    looked_at = most_unsure(probabilities, 2 * parameters.budget * parameters.candidates)
    pool, vectors, probabilities = pool.iloc[looked_at], vectors[looked_at], probabilities[looked_at]
    limits = duplicates.least_cosine, duplicates.most_bits, parameters.max_pixels
    groups = near_copy_groups(new_images, pool, vectors, *limits)
    rows = choose_to_label(vectors, probabilities, groups, parameters.budget, parameters.candidates, parameters.seed)
    bound = classifier.rejection
    far = bound.distances(vectors, rows) > bound.threshold if bound and len(rows) else np.zeros(len(rows), bool)
    asked = list_requests(pool.iloc[rows], probabilities[rows], far, classifier.class_names)
    requests = asked.drop(columns="image_id")
    return pd.concat([labelled, requests], ignore_index=True).fillna("") if len(labelled) else requests, asked


def list_unusable(new_manifest: pd.DataFrame) -> pd.DataFrame:
    """The files that are no usable images, each with its reason."""
    return new_manifest.loc[new_manifest["status"] == REJECTED, ["path", "reason"]].reset_index(drop=True)


def join_labelled(
    manifest: pd.DataFrame, attributes: pd.DataFrame, splits: pd.DataFrame, label_these: pd.DataFrame
) -> pd.DataFrame:
    """A table of all labelled images for the next run: those of the manifest, and those that the user has labelled."""
    return join_labels(manifest, attributes, splits, label_these)


def draw_requests(new_images: ImageStore, asked_images: pd.DataFrame, parameters: LabellingParameters) -> Figure:
    """A contact sheet of the images to label, the most uncertain first."""
    shown = asked_images.head(parameters.sheet_images)
    pictures = [thumbnail(new_images, str(name), parameters.max_pixels) for name in shown["image_id"]]
    captions = [f"{row.suggested} {row.confidence:.2f}?\n{shortened(str(row.image_id))}" for row in shown.itertuples()]
    return plot_sheet(pictures, captions, f"{counted(len(asked_images), 'image')} to label, the most uncertain first")


def _tell_new_classes(labelled: pd.DataFrame, classes: set[str]) -> None:
    if new := new_classes(labelled, classes):
        told = ", ".join(f"{label} ({counted(count, 'image')})" for label, count in new.items())
        _log.info("new classes in label_these.csv: %s; a class needs at least %d images", told, SMALLEST_CLASS)


def _unlabelled(new_manifest: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    """The distinct usable images without a label."""
    given = set(new_manifest.loc[new_manifest["path"].isin(labelled["path"]), "sha256"])
    usable = new_manifest[(new_manifest["status"] == OK) & ~new_manifest["known"]]
    return usable[~usable["sha256"].isin(given)].drop_duplicates("sha256").reset_index(drop=True)


def _tell(new_manifest: pd.DataFrame, pool: pd.DataFrame) -> None:
    rejected = new_manifest[new_manifest["status"] == REJECTED]
    _log.info(
        "%s: %d are labelled already, %d are no usable images (not_usable.csv), %d different ones have no label",
        *(counted(len(new_manifest), "file"), int(new_manifest["known"].sum()), len(rejected), len(pool)),
    )
    for row in rejected.head(_NAMED).itertuples():
        _log.info("rejected: %s (%s)", row.image_id, row.reason)
